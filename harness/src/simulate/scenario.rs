//! What a seed stands for: a topic, a group, a mapping, and how much goes wrong.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pelton::batch::BatchLimits;
use pelton::deliver::{FailureRules, RetryPolicy};
use pelton::filter::Filters;
use pelton::ids::Topic;
use pelton::payload::Envelope;
use pelton::pipeline::{EngineSettings, Oversized};
use pelton::scale::ScalingRules;

use super::destination::NEVER_CALLED;
use super::log::FILTER;
use super::random::Random;

/// The topic's name.
pub(super) const TOPIC: &str = "orders";
/// What every event begins with, up to its records.
pub(super) const HEAD: &str =
    r#"{"eventSource":"SelfManagedKafka","bootstrapServers":"one:9092,two:9092","records":"#;
const SERVERS: &str = "one:9092,two:9092";

/// Everything that one run draws before it begins.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it was drawn from.
    pub seed: u64,
    /// Partitions at the end.
    pub partitions: usize,
    /// Partitions at the beginning; the others are added while the run lasts.
    pub partitions_at_first: usize,
    /// Records written, over all partitions.
    pub records: u64,
    /// How long they are written for.
    pub produce_for: Duration,
    /// When the faults end.
    pub calm_at: Duration,
    /// Members of the group, at most.
    pub members_max: usize,
    /// Members at the beginning.
    pub members_at_first: usize,
    /// Pollers of one member, at most.
    pub pollers_max: u64,
    /// Whether rebalances take only what moves.
    pub cooperative: bool,
    /// After how long without life a member is put out of the group.
    pub session_timeout: Duration,
    /// How long the invoker waits for an answer.
    pub function_timeout: Duration,
    /// Records that fail every time, in a thousand.
    pub poison_permille: u32,
    /// Records that are followed by a gap.
    pub gap_permille: u32,
    /// Records of some kilobytes.
    pub medium_permille: u32,
    /// Records of tens of kilobytes.
    pub large_permille: u32,
    /// Whether records that are given up have somewhere to go.
    pub destination: bool,
    /// Whether a filter drops records.
    pub filter: bool,
    /// When a batch is full or due.
    pub limits: BatchLimits,
    /// Bytes of a member's batches.
    pub budget_bytes: usize,
    /// How retries are spaced.
    pub retry: RetryPolicy,
    /// How often they are made.
    pub rules: FailureRules,
    /// How often offsets are committed.
    pub commit_interval: Duration,
    /// Whether commits carry what is finished beyond them.
    pub commit_metadata: bool,
    /// The most metadata that the broker takes, in bytes.
    pub metadata_bytes_max: usize,
    /// How long a release waits for what is in flight.
    pub drain_deadline: Duration,
    /// What goes wrong, until it is calm.
    pub faults: Faults,
    /// How many pollers of a member are in use; `None` for all.
    pub scaling: Option<ScalingRules>,
}

/// How often things go wrong, in a thousand times that they could.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Invocations.
    pub invocation: u32,
    /// Commits.
    pub commit: u32,
    /// Assignments that cannot be answered because offsets are not found.
    pub assign: u32,
    /// Failures given to the destination.
    pub destination: u32,
    /// Reads that bring nothing though there are records.
    pub read: u32,
    /// The mean time between two events of [`super::faults`]; zero for none.
    pub every: Duration,
}

impl Scenario {
    /// Draws one.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let random = &mut Random::new(seed ^ 0x5ce4_a210);
        let partitions = 1 + random.place(6);
        // A payload limit above an arena's first grant is what lets a batch end for want of memory.
        let payload_bytes_max = random.pick(&[2_000, 2_000, 4_096, 8_192, 16_384, 65_536, 65_536, 700_000]);
        let many = payload_bytes_max == 700_000;
        let records = random.between(0, if many { 150 } else { 400 });
        let produce_ms = random.between(0, 8_000);
        let members_max = 1 + random.place(4);
        let batch_size = random.pick(&[1, 2, 5, 10, 50, 100, 300]);
        Self {
            seed,
            partitions,
            partitions_at_first: if random.chance(150) { 1 + random.place(partitions) } else { partitions },
            records,
            produce_for: Duration::from_millis(produce_ms),
            calm_at: Duration::from_millis(produce_ms + random.between(0, 6_000)),
            members_max,
            members_at_first: 1 + random.place(members_max),
            pollers_max: random.between(1, 4),
            cooperative: random.chance(500),
            session_timeout: random.ms(1_000, 6_000),
            function_timeout: random.ms(500, 4_000),
            poison_permille: random.pick(&[0, 0, 5, 20, 60]),
            gap_permille: random.pick(&[0, 20, 300]),
            medium_permille: random.pick(&[0, 0, 50, 200]),
            large_permille: if many { 400 } else { random.pick(&[0, 0, 0, 20]) },
            destination: random.chance(500),
            filter: random.chance(250),
            limits: BatchLimits {
                batch_size,
                window: random.pick(&[Duration::ZERO, Duration::from_millis(20), Duration::from_millis(500)]),
                payload_bytes_max,
            },
            budget_bytes: payload_bytes_max as usize * usize::try_from(random.between(0, 6)).unwrap_or(0)
                + random.place(200_000),
            retry: RetryPolicy { backoff_base: random.ms(1, 300), backoff_max: random.ms(300, 2_000) },
            rules: FailureRules {
                retries_max: random.pick(&[None, None, Some(0), Some(1), Some(3)]),
                record_age_max: random
                    .pick(&[None, None, Some(1), Some(5), Some(20)])
                    .map(Duration::from_secs),
                bisect: random.chance(400),
                report_item_failures: random.chance(400),
            },
            commit_interval: Duration::from_millis(random.pick(&[0, 0, 5, 100, 1_000])),
            commit_metadata: random.chance(700),
            metadata_bytes_max: random.pick(&[4_096, 4_096, 4_096, 14]),
            drain_deadline: Duration::from_millis(random.pick(&[0, 200, 1_000, 5_000])),
            faults: Faults::draw(random),
            scaling: random.chance(600).then(|| draw_scaling(random)),
        }
    }

    /// The mapping's settings, as the engine is given them.
    #[must_use]
    pub fn settings(&self) -> EngineSettings {
        let filters = self.filter.then(|| Filters::parse(&[FILTER]).ok()).flatten();
        EngineSettings {
            name: "simulated".into(),
            topic: Topic::new(TOPIC),
            envelope: Arc::new(Envelope::self_managed(SERVERS)),
            filters: filters.map(Arc::new),
            limits: self.limits.clone(),
            threads: 1,
            pollers: 1,
            scaling: self.scaling.clone(),
            arena_budget_bytes: self.budget_bytes,
            retry: self.retry,
            failures: self.rules,
            function_version: "$LATEST".into(),
            destination: self.destination.then(|| NEVER_CALLED.clone()),
            oversized: Oversized::Skip,
            commit_interval: self.commit_interval,
            commit_metadata: self.commit_metadata,
            drain_deadline: self.drain_deadline,
            invocation_threads: 1,
        }
    }

    /// Whether a record that fails every time is ever done with. If not it is cured with the calm,
    /// or the run would not end.
    #[must_use]
    pub fn gives_up(&self) -> bool {
        self.rules.retries_max.is_some() || self.rules.record_age_max.is_some()
    }
}

/// Looks at every turn or two, and changes its mind at once: what takes minutes in production is to
/// happen often here.
fn draw_scaling(random: &mut Random) -> ScalingRules {
    let mut ms = |choices: &[u64]| Duration::from_millis(random.pick(choices));
    let (look_interval, delay) = (ms(&[10, 50, 300]), ms(&[0, 0, 0, 200]));
    let catch_up = ms(&[5, 100, 2_000]);
    ScalingRules {
        look_interval,
        delay,
        catch_up,
        looks_to_shrink: random.pick(&[1, 1, 2, 5]),
        growth_max: random.pick(&[2, 4]),
        ..ScalingRules::between(random.pick(&[1, 1, 2]), 4)
    }
}

impl Faults {
    fn draw(random: &mut Random) -> Self {
        if random.chance(50) {
            return Self::default();
        }
        let mut permille = || random.pick(&[0, 0, 20, 100, 400]);
        let (invocation, commit, assign) = (permille(), permille(), permille());
        let (destination, read) = (permille(), permille());
        // The shortest makes a storm: hardly a step without a rebalance.
        let every = random.pick(&[0, 50, 200, 800, 800, 2_000, 4_000]);
        Self { invocation, commit, assign, destination, read, every: Duration::from_millis(every) }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limits, rules, faults, .. } = self;
        writeln!(
            f,
            "{} records in {} partitions ({} at first) over {:?}, gaps {} ‰, poisoned {} ‰, large {} ‰{}",
            self.records,
            self.partitions,
            self.partitions_at_first,
            self.produce_for,
            self.gap_permille,
            self.poison_permille,
            self.large_permille,
            if self.filter { ", filtered" } else { "" },
        )?;
        writeln!(
            f,
            "{} members ({} at first) of up to {} pollers, {}, session {:?}, drain {:?}, commits every {:?}, metadata {}",
            self.members_max,
            self.members_at_first,
            self.pollers_max,
            if self.cooperative { "cooperative" } else { "eager" },
            self.session_timeout,
            self.drain_deadline,
            self.commit_interval,
            if self.commit_metadata { self.metadata_bytes_max } else { 0 },
        )?;
        writeln!(
            f,
            "batches of {} records or {} B, window {:?}, memory {} B",
            limits.batch_size, limits.payload_bytes_max, limits.window, self.budget_bytes,
        )?;
        writeln!(
            f,
            "retries {:?}, record age {:?}, bisect {}, item failures {}, backoff {:?} to {:?}, timeout {:?}, {}",
            rules.retries_max,
            rules.record_age_max,
            rules.bisect,
            rules.report_item_failures,
            self.retry.backoff_base,
            self.retry.backoff_max,
            self.function_timeout,
            if self.destination { "a destination" } else { "no destination" },
        )?;
        write!(
            f,
            "faults until {:?}: invocations {} ‰, commits {} ‰, assignments {} ‰, destination {} ‰, reads {} ‰, \
             others every {:?}",
            self.calm_at,
            faults.invocation,
            faults.commit,
            faults.assign,
            faults.destination,
            faults.read,
            faults.every,
        )?;
        match &self.scaling {
            None => write!(f, "\nall pollers in use"),
            Some(rules) => write!(
                f,
                "\nfrom {} pollers on, looked at every {:?}, done {:?} later, lag gone within {:?}, fewer after {} looks",
                rules.pollers_min, rules.look_interval, rules.delay, rules.catch_up, rules.looks_to_shrink,
            ),
        }
    }
}
