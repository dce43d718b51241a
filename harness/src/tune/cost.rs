//! What a setting costs, by prices from a file.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::workload::units::Bytes;

/// The prices that come with the harness.
const BUILT_IN: &str = include_str!("../../prices/aws-us-east-1.toml");

/// Invocations that one of AWS's event pollers may have under way: as many as so many pollers of ours
/// (<https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html>).
pub const INVOCATIONS_PER_EVENT_POLLER: usize = 5;

/// A month, as bills have it.
const MONTH_H: f64 = 720.0;

/// What is asked for what is used. `prices/` has an example with all the words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Of what, for people.
    pub name: String,
    /// Where they hold.
    pub region: String,
    /// Of all amounts.
    pub currency: String,
    /// When they were looked up.
    pub date: String,
    /// Invocations.
    pub request: RequestPrice,
    /// What functions take.
    pub duration: DurationPrice,
    /// Pollers of provisioned mode.
    pub event_poller_unit: PollerPrice,
    /// Bytes.
    pub transfer: TransferPrice,
}

/// The price of invocations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestPrice {
    /// For a million.
    pub per_million: f64,
    /// Who says so.
    pub source: String,
}

/// The price of memory over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DurationPrice {
    /// For 1,024 MiB over a second.
    pub per_gb_s: f64,
    /// Who says so.
    pub source: String,
}

/// The price of pollers in provisioned mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PollerPrice {
    /// For a unit over an hour.
    pub per_hour: f64,
    /// Pollers of a unit.
    pub pollers: u32,
    /// What a unit reads at most, in 10^6 bytes a second.
    pub megabytes_per_s: f64,
    /// Who says so.
    pub source: String,
}

/// The price of bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferPrice {
    /// For 10^9 bytes of payload.
    pub per_gb: f64,
    /// Who says so.
    pub source: String,
}

/// What the price of a setting depends on besides the setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Billing {
    /// The function's memory.
    pub memory: Bytes,
    /// AWS's provisioned mode: units of pollers are paid for.
    pub provisioned: bool,
}

/// What there is to be paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Records delivered.
    pub records: u64,
    /// Invocations that ran.
    pub invocations: f64,
    /// How long those ran, each rounded up to a millisecond.
    pub invocations_ms: f64,
    /// Bytes of their payloads.
    pub payload_bytes: f64,
}

/// What a setting costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// For a million records, all parts.
    pub per_million_records: f64,
    /// For 720 hours of this traffic, all parts.
    pub per_month: f64,
    /// Of that month, invocations.
    pub requests_per_month: f64,
    /// Of that month, what they take.
    pub duration_per_month: f64,
    /// Of that month, pollers of provisioned mode.
    pub pollers_per_month: f64,
    /// Of that month, bytes.
    pub transfer_per_month: f64,
}

impl Prices {
    /// The prices that come with the harness.
    ///
    /// # Panics
    /// Never: a test reads them.
    #[must_use]
    pub fn built_in() -> Self {
        Self::read(BUILT_IN, "the built-in prices").expect("they are tested")
    }

    /// Reads a file of prices.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, lacks a price, or has one that is none.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            anyhow::anyhow!("`prices`: {name}: {error}; copy harness/prices/aws-us-east-1.toml and change it")
        })?;
        Self::read(&text, &name)
    }

    fn read(text: &str, origin: &str) -> anyhow::Result<Self> {
        let prices: Self =
            toml::from_str(text).map_err(|error| anyhow::anyhow!("`prices`: {origin}: {error}"))?;
        for (name, value) in [
            ("request.per_million", prices.request.per_million),
            ("duration.per_gb_s", prices.duration.per_gb_s),
            ("event_poller_unit.per_hour", prices.event_poller_unit.per_hour),
            ("transfer.per_gb", prices.transfer.per_gb),
        ] {
            anyhow::ensure!(
                value.is_finite() && value >= 0.0,
                "`prices`: {origin}: {name} is {value}; give an amount, 0 if it is free"
            );
        }
        let unit = &prices.event_poller_unit;
        anyhow::ensure!(
            unit.pollers > 0 && unit.megabytes_per_s > 0.0,
            "`prices`: {origin}: event_poller_unit has {} pollers and {} MB/s; give more than 0 of both",
            unit.pollers,
            unit.megabytes_per_s
        );
        Ok(prices)
    }

    /// What a setting with so many pollers costs that came to `usage` in `elapsed`.
    #[must_use]
    pub fn of(&self, usage: &Usage, pollers: usize, elapsed: Duration, billing: &Billing) -> Cost {
        if usage.records == 0 || elapsed.is_zero() {
            return Cost::default();
        }
        let months = elapsed.as_secs_f64() / 3_600.0 / MONTH_H;
        let gb = billing.memory.0 as f64 / f64::from(1 << 30);
        let requests = usage.invocations / 1e6 * self.request.per_million;
        let duration = usage.invocations_ms / 1e3 * gb * self.duration.per_gb_s;
        let transfer = usage.payload_bytes / 1e9 * self.transfer.per_gb;
        let hours = elapsed.as_secs_f64() / 3_600.0;
        let poller_units = if billing.provisioned {
            let unit = &self.event_poller_unit;
            let bytes_per_s = usage.payload_bytes / elapsed.as_secs_f64();
            (event_pollers(pollers).div_ceil(unit.pollers as usize) as f64)
                .max((bytes_per_s / (unit.megabytes_per_s * 1e6)).ceil())
        } else {
            0.0
        };
        let units = poller_units * hours * self.event_poller_unit.per_hour;
        let all = requests + duration + units + transfer;
        Cost {
            per_million_records: all / usage.records as f64 * 1e6,
            per_month: all / months,
            requests_per_month: requests / months,
            duration_per_month: duration / months,
            pollers_per_month: units / months,
            transfer_per_month: transfer / months,
        }
    }
}

/// AWS's event pollers that have as many invocations under way as `pollers` of ours.
#[must_use]
pub const fn event_pollers(pollers: usize) -> usize {
    pollers.div_ceil(INVOCATIONS_PER_EVENT_POLLER)
}

#[cfg(test)]
mod tests {
    use pelton::batch::BatchLimits;
    use pelton::invoke::law::{Latency, Law};
    use pelton::time::Nanos;

    use super::super::model::Function;
    use super::super::sim::simulate_exactly;
    use super::*;
    use crate::explain::poller::Arrival;
    use crate::traffic::Traffic;

    /// An hour with an invocation of 100 ms every second.
    fn hour() -> Usage {
        let arrivals = (0..3_600)
            .map(|second| Arrival {
                at: Nanos::ZERO + Duration::from_secs(second),
                born: Nanos::ZERO + Duration::from_secs(second),
                partition: 0,
                bytes: 1_000,
                key_bytes: 10,
            })
            .collect();
        let traffic = Traffic { arrivals, partitions: 1, filtered: 0, oversized: 0 };
        let law = Law { latency: Latency::Fixed(Duration::from_millis(100)), ..Law::default() };
        let limits = BatchLimits { window: Duration::ZERO, ..BatchLimits::default() };
        simulate_exactly(&traffic, 1, &limits, 100, &Function::new(&law), Nanos::ZERO).usage()
    }

    #[test]
    fn requests_and_gigabyte_seconds_are_billed_as_aws_does() {
        let billing = Billing { memory: Bytes(512 << 20), provisioned: false };
        let cost = Prices::built_in().of(&hour(), 1, Duration::from_secs(3_600), &billing);
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-9;
        assert!(near(cost.requests_per_month, 3_600.0 * 720.0 / 1e6 * 0.20), "{cost:?}");
        assert!(near(cost.duration_per_month, 360.0 * 0.5 * 720.0 * 0.000_016_666_7), "{cost:?}");
        assert!(cost.pollers_per_month.abs() < 1e-12 && cost.transfer_per_month.abs() < 1e-12);
        assert!(near(cost.per_month, cost.requests_per_month + cost.duration_per_month));
        assert!(near(cost.per_million_records, cost.per_month / (3_600.0 * 720.0) * 1e6));
    }

    #[test]
    fn provisioned_mode_pays_for_units_of_pollers() {
        let billing = Billing { memory: Bytes(128 << 20), provisioned: true };
        let month = |pollers| {
            Prices::built_in().of(&hour(), pollers, Duration::from_secs(3_600), &billing).pollers_per_month
        };
        // The example of AWS's documentation is 10 units for 1,332 USD.
        for (pollers, units) in [(1, 1.0), (50, 1.0), (51, 2.0), (500, 10.0)] {
            assert!((month(pollers) - units * 133.2).abs() < 1e-6, "{pollers}: {}", month(pollers));
        }
    }

    #[test]
    fn prices_that_are_none_are_refused_by_name() {
        let text = BUILT_IN.replace("per_hour = 0.185", "per_hour = -1.0");
        let error = Prices::read(&text, "mine.toml").unwrap_err().to_string();
        assert!(error.contains("mine.toml: event_poller_unit.per_hour is -1"), "{error}");
        let error = Prices::read("name = 1", "mine.toml").unwrap_err().to_string();
        assert!(error.contains("mine.toml"), "{error}");
        let error = Prices::load(Path::new("/nowhere.toml")).unwrap_err().to_string();
        assert!(error.contains("copy harness/prices"), "{error}");
    }
}
