//! The engine's own settings.

use std::net::SocketAddr;
use std::time::Duration;

use super::Check;
use crate::mapping::limits::{self, BATCH_SIZE, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MIN, POLLERS, THREADS};
use crate::mapping::memory::Demand;
use crate::mapping::problem::Problem;
use crate::mapping::properties::check_overrides;
use crate::mapping::settings::EngineSettings;
use crate::mapping::value::{Size, Span, Text};
use crate::mapping::{EngineOptions, GroupProtocol, LogFormat, MemoryDivision, Oversized, Property, Signing};

impl Check<'_> {
    pub(super) fn engine(&mut self, given: &EngineSettings) -> EngineOptions {
        let threads = self.whole("engine.threads", given.threads, limits::THREADS_DEFAULT, &THREADS);
        let pollers = self.whole("engine.pollers", given.pollers, limits::POLLERS_DEFAULT, &POLLERS);
        if THREADS.contains(&threads.into()) && POLLERS.contains(&pollers.into()) && threads > pollers {
            let found = format!("{threads} with {pollers} pollers");
            self.wrong(
                "engine.threads",
                &found,
                "lower it, or raise engine.pollers: an idle thread gains nothing",
            );
        }
        let overrides = given.librdkafka.clone().unwrap_or_default();
        if overrides.0.len() > limits::LIBRDKAFKA_OVERRIDES_MAX {
            self.wrong("engine.librdkafka", &format!("{} properties", overrides.0.len()), "remove some");
        }
        check_overrides(&overrides, threads, &mut self.problems);
        let payload = PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX;
        let payload =
            self.size("engine.payload_bytes_max", given.payload_bytes_max, PAYLOAD_BYTES_MAX, &payload);
        let (retry_backoff, retry_backoff_max) = self.backoff(given);
        EngineOptions {
            threads,
            invocation_threads: self.whole(
                "engine.invocation_threads",
                given.invocation_threads,
                limits::INVOCATION_THREADS_DEFAULT,
                &limits::INVOCATION_THREADS,
            ),
            pollers,
            pollers_min: self.pollers_min(given, threads, pollers),
            memory_budget: self.size(
                "engine.memory_budget",
                given.memory_budget,
                limits::MEMORY_BUDGET_DEFAULT,
                &(0..=limits::MEMORY_BUDGET_MAX),
            ),
            drain_deadline: self.span(
                "engine.drain_deadline",
                given.drain_deadline,
                limits::DRAIN_DEADLINE_DEFAULT,
                &limits::DRAIN_DEADLINE,
            ),
            commit_interval: self.span(
                "engine.commit_interval",
                given.commit_interval,
                limits::COMMIT_INTERVAL_DEFAULT,
                &limits::COMMIT_INTERVAL,
            ),
            commit_metadata: given.commit_metadata.is_none_or(|on| on.0),
            payload_bytes_max: u32::try_from(payload).unwrap_or(0),
            oversized: self.word("engine.oversized", given.oversized.as_ref(), Oversized::Skip),
            function_timeout: self.span(
                "engine.function_timeout",
                given.function_timeout,
                limits::FUNCTION_TIMEOUT_DEFAULT,
                &limits::FUNCTION_TIMEOUT,
            ),
            connect_timeout: self.span(
                "engine.connect_timeout",
                given.connect_timeout,
                limits::CONNECT_TIMEOUT_DEFAULT,
                &limits::CONNECT_TIMEOUT,
            ),
            retry_backoff,
            retry_backoff_max,
            signing: self.word("engine.signing", given.signing.as_ref(), Signing::Auto),
            group_protocol: self.word(
                "engine.group_protocol",
                given.group_protocol.as_ref(),
                GroupProtocol::Classic,
            ),
            strict: given.strict.is_some_and(|on| on.0),
            tls: given.tls.is_some_and(|on| on.0),
            allow_plaintext_sasl: given.allow_plaintext_sasl.is_some_and(|on| on.0),
            librdkafka: overrides.0.iter().map(Property::from).collect(),
            metrics_address: self.metrics_address(given.metrics_address.as_ref()),
            metrics_address_given: given.metrics_address.is_some(),
            log_format: self.word("engine.log_format", given.log_format.as_ref(), LogFormat::Human),
            log_level: given.log_level.as_ref().map(|text| text.0.clone()),
        }
    }

    /// How many pollers are in use at least.
    fn pollers_min(&mut self, given: &EngineSettings, threads: u32, pollers: u32) -> u32 {
        const PATH: &str = "engine.pollers_min";
        if given.pollers_min.is_none() {
            return pollers;
        }
        let least = self.whole(PATH, given.pollers_min, pollers.into(), &POLLERS);
        let comparable = POLLERS.contains(&least.into())
            && POLLERS.contains(&pollers.into())
            && THREADS.contains(&threads.into());
        if comparable && least > pollers {
            let found = format!("{least} with {pollers} pollers");
            self.wrong(PATH, &found, "lower it, or raise engine.pollers, which is the most");
        } else if comparable && least < threads && threads <= pollers {
            let found = format!("{least} with {threads} threads");
            self.wrong(
                PATH,
                &found,
                "raise it, or lower engine.threads: each thread uses at least one poller",
            );
        }
        least
    }

    /// The longest first wait and the longest wait of all.
    fn backoff(&mut self, given: &EngineSettings) -> (Duration, Duration) {
        const PATH: &str = "engine.retry_backoff_max";
        let first = limits::RETRY_BACKOFF_DEFAULT;
        let first = self.span("engine.retry_backoff", given.retry_backoff, first, &limits::RETRY_BACKOFF);
        let range = *limits::RETRY_BACKOFF.start()..=limits::RETRY_BACKOFF_MAX_LIMIT;
        let last = self.span(PATH, given.retry_backoff_max, limits::RETRY_BACKOFF_MAX_DEFAULT, &range);
        if range.contains(&last) && limits::RETRY_BACKOFF.contains(&first) && last < first {
            let found = format!("{}, below engine.retry_backoff ({})", Span(last), Span(first));
            self.wrong(PATH, &found, "raise it, or lower engine.retry_backoff");
        }
        (first, last)
    }

    fn metrics_address(&mut self, given: Option<&Text>) -> Option<SocketAddr> {
        let text = given.map_or(limits::METRICS_ADDRESS_DEFAULT, |text| text.0.as_str());
        if text.eq_ignore_ascii_case("off") {
            return None;
        }
        let address = text.parse().ok();
        if address.is_none() {
            let remedy = "write an IP address and a port (0.0.0.0:9464 for all interfaces), or off";
            self.wrong("engine.metrics_address", &format!("\"{text}\""), remedy);
        }
        address
    }

    pub(super) fn division(&mut self, engine: &EngineOptions, batch_size: u32) -> Option<MemoryDivision> {
        let in_range = THREADS.contains(&engine.threads.into())
            && POLLERS.contains(&engine.pollers.into())
            && engine.threads <= engine.pollers
            && BATCH_SIZE.contains(&batch_size.into());
        if !in_range {
            return None; // Already complained about.
        }
        let demand = Demand {
            pollers: engine.pollers.into(),
            threads: engine.threads.into(),
            payload_bytes_max: engine.payload_bytes_max.into(),
            batch_size: batch_size.into(),
        };
        let division = demand.divide(engine.memory_budget);
        if division.is_none() {
            let found = Size(engine.memory_budget).to_string();
            let allowed = format!(
                "at least {} for {} in {} with events of up to {} bytes",
                Size(demand.budget_min()),
                counted(demand.pollers, "poller"),
                counted(demand.threads, "thread"),
                demand.payload_bytes_max
            );
            let remedy = match demand.pollers_max(engine.memory_budget) {
                0 => "raise it, or lower engine.threads or engine.payload_bytes_max".to_owned(),
                pollers => format!("raise it, or lower engine.pollers to {pollers}"),
            };
            self.problems.push(Problem::wrong("engine.memory_budget", &found, allowed, remedy));
        }
        division
    }
}

fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
