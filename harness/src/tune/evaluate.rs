//! One setting, measured in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use pelton::batch::BatchLimits;
use pelton::time::Nanos;
use serde::{Deserialize, Serialize};

use super::cost::{Billing, Cost, Prices};
use super::goal::{Goal, Optimise};
use super::model::Function;
use super::sim::{Extent, LaneSet, Room, Tally, simulate, simulate_exactly};
use super::space::Settings;
use crate::measure::histogram::LatencySummary;
use crate::result::ratio;
use crate::traffic::Traffic;

/// What a setting came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Which.
    pub settings: Settings,
    /// How it was measured.
    pub with: Fidelity,
    /// Records delivered.
    pub records: u64,
    /// From the first record to the last answer.
    pub elapsed_s: f64,
    /// Records delivered in a second of that.
    pub records_per_s: f64,
    /// What its pollers could bring through in a second, with batches as large as they may get.
    pub capacity_records_per_s: f64,
    /// Whether it kept up with the traffic.
    pub keeps_up: bool,
    /// From the intended send until the function had answered.
    pub age: LatencySummary,
    /// Batches.
    pub batches: u64,
    /// Records in one, on average.
    pub batch_records_mean: f64,
    /// That, as a share of the batch size.
    pub fill_by_records_share: f64,
    /// Bytes of an event, on average.
    pub payload_bytes_mean: f64,
    /// That, as a share of the largest allowed.
    pub fill_by_bytes_share: f64,
    /// Batches by why they were closed.
    pub causes: BTreeMap<String, u64>,
    /// Batches that were full and waited for the function, as a share.
    pub waited_share: f64,
    /// Time in which a poller's function was busy, as a share, averaged over pollers.
    pub busy_share: f64,
    /// Invocations, those that failed included.
    pub invocations: u64,
    /// Invocations per second.
    pub invocations_per_s: f64,
    /// Money.
    pub cost: Cost,
}

/// How a setting was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Which draws of traffic and function.
    pub seed: u64,
    /// From the beginning, so much of the traffic's time.
    pub traffic_share: f64,
    /// Record by record, by the engine's own policy, instead of batch by batch.
    pub exact: bool,
}

impl Fidelity {
    /// All of the traffic, batch by batch.
    pub const WHOLE: Self = Self { seed: 0, traffic_share: 1.0, exact: false };
}

/// How far a setting misses a goal, and how good it is. The smaller, the better.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Score {
    /// Zero if every limit is kept; else how far off it is.
    pub miss: f64,
    /// By what is optimised.
    pub value: f64,
    /// Between equals, the younger.
    pub age: f64,
}

impl Evaluation {
    /// How well it meets `goal`.
    #[must_use]
    pub fn score(&self, goal: &Goal) -> Score {
        let age = goal.quantile().of(&self.age) as f64;
        let over = goal
            .age
            .map_or(0.0, |limit| age / (limit.at_most.as_micros() as f64 * (1.0 - AGE_MARGIN_SHARE)) - 1.0);
        let over = over.max(0.0);
        // Not keeping up is worse than any age, and the less so the more comes through.
        let behind = if self.keeps_up { 0.0 } else { 1e6 / (1.0 + self.records_per_s) + 1e6 };
        let value = match goal.optimise {
            Optimise::Cost => self.cost.per_million_records,
            Optimise::Age => age,
            Optimise::Throughput => -self.capacity_records_per_s,
        };
        Score { miss: over + behind, value, age }
    }

    /// Whether it keeps all limits of `goal`.
    #[must_use]
    pub fn meets(&self, goal: &Goal) -> bool {
        self.score(goal).miss <= 0.0
    }

    /// Whether `other` is at least as good in age, cost and capacity, and better in one.
    fn is_dominated_by(&self, other: &Self) -> bool {
        let figures =
            |one: &Self| [one.age.p99_us as f64, one.cost.per_million_records, -one.capacity_records_per_s];
        let pairs = figures(self).into_iter().zip(figures(other));
        let (mut better, mut worse) = (false, false);
        for (own, other) in pairs {
            better |= own < other;
            worse |= own > other;
        }
        worse && !better
    }
}

/// Those that keep up and that no other is better than, in p99 age, cost and capacity together; by age.
#[must_use]
pub fn front(evaluations: &[Evaluation]) -> Vec<Evaluation> {
    let kept: Vec<&Evaluation> = evaluations.iter().filter(|one| one.keeps_up).collect();
    let mut front: Vec<Evaluation> = kept
        .iter()
        .filter(|one| !kept.iter().any(|other| one.is_dominated_by(other)))
        .map(|one| (*one).clone())
        .collect();
    front.sort_by_key(|one| (one.age.p99_us, one.settings));
    front.dedup_by(|one, other| one.settings == other.settings);
    front
}

/// How far a setting must stay below a limit of age, as a share of it: what one real run may be later
/// than another.
pub const AGE_MARGIN_SHARE: f64 = 0.04;

/// What does not change from setting to setting.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Bytes of an event without records.
    pub envelope_bytes: usize,
    /// The largest event.
    pub payload_bytes_max: u32,
    /// The function.
    pub function: Function,
    /// Prices.
    pub prices: Prices,
    /// What they depend on.
    pub billing: Billing,
    /// A setting is given up that is so far behind.
    pub patience: Duration,
}

/// The lanes of one traffic, by the number of pollers.
pub struct Lanes<'t> {
    traffic: &'t Traffic,
    room: Room,
    /// By pollers; what was used last is at the end.
    kept: Vec<(usize, LaneSet)>,
}

/// Records in lanes that are kept for the next setting with as many pollers: some 24 bytes each.
const KEPT_RECORDS_MAX: usize = 30_000_000;
/// And so many lanes of short traffics.
const KEPT_SETS_MAX: usize = 32;

impl<'t> Lanes<'t> {
    /// The lanes of `traffic`.
    #[must_use]
    pub fn new(traffic: &'t Traffic, bench: &Bench) -> Self {
        Self {
            traffic,
            room: Room { envelope_bytes: bench.envelope_bytes, payload_bytes_max: bench.payload_bytes_max },
            kept: Vec::new(),
        }
    }

    fn of(&mut self, pollers: usize) -> &LaneSet {
        if let Some(at) = self.kept.iter().position(|(of, _)| *of == pollers) {
            self.kept[at..].rotate_left(1);
        } else {
            let sets_max = (KEPT_RECORDS_MAX / self.traffic.arrivals.len().max(1)).clamp(1, KEPT_SETS_MAX);
            // The memory of what was not used for longest.
            let mut set = if self.kept.len() < sets_max { LaneSet::default() } else { self.kept.remove(0).1 };
            set.split(self.traffic, pollers, self.room);
            self.kept.push((pollers, set));
        }
        &self.kept[self.kept.len() - 1].1
    }
}

impl Bench {
    pub(super) fn limits(&self, settings: &Settings) -> BatchLimits {
        BatchLimits {
            batch_size: settings.batch_size,
            window: settings.window(),
            payload_bytes_max: self.payload_bytes_max,
        }
    }

    /// Measures a setting, batch by batch.
    #[must_use]
    pub fn evaluate(&self, lanes: &mut Lanes<'_>, settings: &Settings, with: Fidelity) -> Evaluation {
        let span = lanes.traffic.span();
        let until = if with.traffic_share < 1.0 {
            Nanos::ZERO + span.mul_f64(with.traffic_share)
        } else {
            Nanos::NEVER
        };
        let function = self.function.with_seed(with.seed);
        let extent = Extent { until, patience: self.patience };
        let limits = self.limits(settings);
        let tally = simulate(lanes.of(settings.pollers), &limits, self.envelope_bytes, &function, extent);
        self.evaluation(settings, with, &tally, span.mul_f64(with.traffic_share))
    }

    /// Measures a setting, record by record, with the engine's own policy.
    #[must_use]
    pub fn evaluate_exactly(&self, traffic: &Traffic, settings: &Settings, seed: u64) -> Evaluation {
        let function = self.function.with_seed(seed);
        let limits = self.limits(settings);
        let tally =
            simulate_exactly(traffic, settings.pollers, &limits, self.envelope_bytes, &function, Nanos::ZERO);
        let with = Fidelity { seed, traffic_share: 1.0, exact: true };
        self.evaluation(settings, with, &tally, traffic.span())
    }

    fn evaluation(&self, settings: &Settings, with: Fidelity, tally: &Tally, span: Duration) -> Evaluation {
        let elapsed = tally.ended_at - Nanos::ZERO;
        let elapsed_s = elapsed.as_secs_f64();
        let (records, batches) = (tally.records as f64, tally.batches as f64);
        let (batch_records_mean, payload_bytes_mean) =
            (ratio(records, batches), ratio(tally.payload_bytes as f64, batches));
        let invocation = Duration::from_secs_f64(ratio(tally.busy.as_secs_f64(), batches));
        // What was there at the end may take its window and some invocations, and no more.
        let late = elapsed.saturating_sub(span);
        let keeps_up = !tally.given_up && late <= settings.window() + invocation * 4 + span.mul_f64(0.05);
        Evaluation {
            settings: *settings,
            with,
            records: tally.records,
            elapsed_s,
            records_per_s: ratio(records, elapsed_s),
            capacity_records_per_s: self.capacity(settings, tally),
            keeps_up,
            age: tally.ages(),
            batches: tally.batches,
            batch_records_mean,
            fill_by_records_share: ratio(batch_records_mean, f64::from(settings.batch_size)),
            payload_bytes_mean,
            fill_by_bytes_share: ratio(payload_bytes_mean, f64::from(self.payload_bytes_max)),
            causes: ["count", "window", "bytes"]
                .into_iter()
                .zip(tally.causes)
                .filter(|(_, batches)| *batches > 0)
                .map(|(cause, batches)| (cause.to_owned(), batches))
                .collect(),
            waited_share: ratio(tally.waited as f64, batches),
            busy_share: ratio(tally.busy.as_secs_f64(), elapsed_s * settings.pollers as f64),
            invocations: tally.invocations,
            invocations_per_s: ratio(tally.invocations as f64, elapsed_s),
            cost: self.prices.of(&tally.usage(), settings.pollers, elapsed, &self.billing),
        }
    }

    /// Records a second that the pollers could bring through, with batches as full as limits allow.
    fn capacity(&self, settings: &Settings, tally: &Tally) -> f64 {
        let record_bytes = ratio(tally.payload_bytes as f64, tally.records as f64).max(1.0);
        let fit = (f64::from(self.payload_bytes_max) / record_bytes).max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most batch_size")]
        let records = (fit.min(f64::from(settings.batch_size)) as u32).max(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a payload")]
        let bytes = (f64::from(records) * record_bytes) as usize;
        self.function.records_per_s(records, bytes) * settings.pollers as f64
    }
}

#[cfg(test)]
pub(super) mod tests {
    use pelton::ids::Topic;
    use pelton::invoke::law::{Cost as LawCost, Latency, Law};

    use super::*;
    use crate::traffic::{Extent as TrafficExtent, Habit};
    use crate::workload::spec::Spec;
    use crate::workload::units::{Bytes, Span};

    pub(in super::super) fn traffic(text: &str, until_s: u64) -> Traffic {
        let scenario = Spec::from_toml(text, "test").unwrap().resolve().unwrap();
        let until = Duration::from_secs(until_s);
        let extent = TrafficExtent { until, records_max: u64::MAX, habit: Habit::AsIs };
        Traffic::made(&scenario.workload, &[], &Topic::new("orders"), extent).unwrap()
    }

    pub(in super::super) fn bench(function_ms: u64) -> Bench {
        let cost = LawCost { per_record: Duration::from_micros(20), per_byte_ns: 0.0 };
        let law = Law { latency: Latency::Fixed(Duration::from_millis(function_ms)), cost, ..Law::default() };
        Bench {
            envelope_bytes: 100,
            payload_bytes_max: BatchLimits::PAYLOAD_BYTES_MAX,
            function: Function::new(&law),
            prices: Prices::built_in(),
            billing: Billing { memory: Bytes(512 << 20), provisioned: false },
            patience: Duration::from_secs(60),
        }
    }

    pub(in super::super) fn settings(batch_size: u32, window_ms: u64, pollers: usize) -> Settings {
        let maximum_batching_window = Span(Duration::from_millis(window_ms));
        Settings { batch_size, maximum_batching_window, pollers }
    }

    fn goal(age: Option<&str>, optimise: Optimise) -> Goal {
        Goal { age: age.map(|text| text.parse().unwrap()), optimise, concurrency_max: None }
    }

    #[test]
    fn what_binds_shows_in_the_figures() {
        let (traffic, bench) = (traffic("arrival = \"poisson(1k/s)\"", 20), bench(10));
        let mut lanes = Lanes::new(&traffic, &bench);
        let slow = bench.evaluate(&mut lanes, &settings(1, 0, 1), Fidelity::WHOLE);
        assert!(!slow.keeps_up && slow.waited_share > 0.9, "100 a second of 1,000: {slow:?}");
        assert!((90.0..110.0).contains(&slow.capacity_records_per_s));
        let windowed = bench.evaluate(&mut lanes, &settings(5_000, 1_000, 2), Fidelity::WHOLE);
        assert!(windowed.keeps_up && windowed.causes["window"] == windowed.batches, "{windowed:?}");
        assert!((900_000..1_100_000).contains(&windowed.age.max_us), "{windowed:?}");
        let cheap = &windowed.cost;
        assert!(cheap.per_million_records < slow.cost.per_million_records / 10.0);
    }

    #[test]
    fn a_part_of_the_traffic_is_its_beginning() {
        let (traffic, bench) = (traffic("arrival = \"constant(1k/s)\"", 20), bench(1));
        let mut lanes = Lanes::new(&traffic, &bench);
        let with = Fidelity { traffic_share: 0.25, ..Fidelity::WHOLE };
        let quarter = bench.evaluate(&mut lanes, &settings(100, 100, 4), with);
        assert!((4_990..=5_010).contains(&quarter.records), "{}", quarter.records);
        assert!(quarter.keeps_up && quarter.elapsed_s < 5.2);
    }

    #[test]
    fn a_score_puts_limits_before_wishes() {
        let (traffic, bench) = (traffic("arrival = \"poisson(1k/s)\"", 20), bench(10));
        let mut lanes = Lanes::new(&traffic, &bench);
        let mut of = |batch, window, pollers| {
            bench.evaluate(&mut lanes, &settings(batch, window, pollers), Fidelity::WHOLE)
        };
        let (behind, young, cheap) = (of(1, 0, 1), of(100, 20, 4), of(10_000, 4_000, 1));
        let age = goal(Some("p99=1s"), Optimise::Cost);
        assert!(young.meets(&age) && !cheap.meets(&age) && !behind.meets(&age));
        assert!(young.score(&age) < cheap.score(&age) && cheap.score(&age) < behind.score(&age));
        let cost = goal(None, Optimise::Cost);
        assert!(cheap.score(&cost) < young.score(&cost) && young.score(&cost) < behind.score(&cost));
        let throughput = goal(None, Optimise::Throughput);
        assert!(cheap.capacity_records_per_s < young.capacity_records_per_s * 2.0);
        assert!(young.score(&throughput).value < 0.0);
    }

    #[test]
    fn a_front_has_what_nothing_is_better_than() {
        let (traffic, bench) = (traffic("arrival = \"poisson(1k/s)\"", 10), bench(10));
        let mut lanes = Lanes::new(&traffic, &bench);
        let all: Vec<Evaluation> = [(1, 0, 1), (100, 20, 4), (100, 400, 4), (3, 400, 4), (10_000, 4_000, 4)]
            .map(|(batch, window, pollers)| {
                bench.evaluate(&mut lanes, &settings(batch, window, pollers), Fidelity::WHOLE)
            })
            .to_vec();
        let front = front(&all);
        assert!(front.iter().all(|one| one.keeps_up) && front.is_sorted_by_key(|one| one.age.p99_us));
        for one in &front {
            assert!(!all.iter().any(|other| other.keeps_up && one.is_dominated_by(other)));
        }
        for one in all.iter().filter(|one| one.keeps_up && !front.contains(one)) {
            assert!(front.iter().any(|other| one.is_dominated_by(other)), "{one:?}");
        }
        assert!(front.len() >= 2 && front.len() < all.len());
    }

    #[test]
    fn exact_and_fast_agree() {
        let (traffic, bench) = (traffic("arrival = \"poisson(2k/s)\"", 20), bench(15));
        let mut lanes = Lanes::new(&traffic, &bench);
        for settings in [settings(50, 100, 4), settings(1_000, 300, 2), settings(400, 0, 8)] {
            let fast = bench.evaluate(&mut lanes, &settings, Fidelity::WHOLE);
            let exact = bench.evaluate_exactly(&traffic, &settings, 0);
            assert_eq!((fast.batches, &fast.causes), (exact.batches, &exact.causes));
            let near = |one: f64, other: f64| (one / other - 1.0).abs() < 0.05;
            assert!(near(fast.age.p99_us as f64, exact.age.p99_us as f64), "{fast:?}\n{exact:?}");
            assert!(near(fast.age.p50_us as f64, exact.age.p50_us as f64), "{fast:?}\n{exact:?}");
            assert!(near(fast.cost.per_month, exact.cost.per_month));
        }
    }
}
