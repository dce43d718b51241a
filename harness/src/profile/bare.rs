//! The floor of polling: the same client over the same load, with nothing behind it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use pelton::record::Record as _;
use pelton::time::{Clock, Nanos};

use super::sample::Sample;
use super::sampler::cpu_time;
use crate::ledger::Ledger;
use crate::measure::cpu::{Role, Roles};
use crate::meter::Origin;
use crate::overhead::bare::{self, Fetched};
use crate::run::feed::Ground;
use crate::subject::{self, Feed, KafkaFeed};
use crate::workload::scenario::{MappingSpec, Scenario};

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// How long nothing may arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the client alone needs.
#[derive(Debug)]
pub struct Bare {
    /// CPU time of its threads per record, librdkafka's included.
    pub ns_per_record: f64,
    /// Records of the topic.
    pub sample: Sample,
}

/// Reads `scenario`'s load again for `duration`, after a warm-up. `None` if there is no client in
/// it.
///
/// # Errors
/// If the load cannot be made again, or does not arrive.
pub fn of_load(
    scenario: &Scenario,
    duration: Duration,
    interrupted: &AtomicBool,
) -> anyhow::Result<Option<Bare>> {
    let mut roles = Roles::new();
    roles.claim(Role::Harness);
    let clock = Clock::start();
    let mut ground = Ground::prepare(scenario, &mut roles, clock)?;
    let (Feed::Kafka(feed), Origin::Ledger(ledger)) = (ground.feed(), ground.origin()) else {
        return Ok(None);
    };
    let reader = Reader::start(feed, &scenario.mapping, Some(ledger))?;
    let primed = ground.prime()?;
    reader.wait(clock, interrupted, |reader| reader.records() >= primed)?;
    roles.claim(Role::Engine);
    let start = clock.now();
    let measure_from = start + (duration / 4).max(Duration::from_millis(300));
    let until = measure_from + duration;
    let load = ground.load(start, until, u64::MAX, measure_from)?;
    roles.claim(Role::Load);
    let bare = reader.measure(&roles, clock, measure_from, until, interrupted);
    if let Some(load) = load {
        load.stop();
        drop(load.join());
    }
    ground.stop();
    reader.end()?;
    ground.end()?;
    bare.map(Some)
}

/// Reads the topic of `feed` from its beginning, for `duration` at most.
///
/// # Errors
/// If nothing arrives.
pub fn of_topic(
    feed: KafkaFeed,
    mapping: &MappingSpec,
    records: u64,
    duration: Duration,
    interrupted: &AtomicBool,
) -> anyhow::Result<Bare> {
    let mut roles = Roles::new();
    roles.claim(Role::Harness);
    let clock = Clock::start();
    let reader = Reader::start(feed, mapping, None)?;
    // Joining the group is no part of it.
    reader.wait(clock, interrupted, |reader| reader.records() > 0)?;
    roles.claim(Role::Engine);
    let threads = roles.threads(Role::Engine);
    let until = clock.now() + duration;
    let before = (reader.records(), cpu_of(&threads));
    // The last records may not exist: a compacted topic has fewer than its offsets say.
    let mut moved = (clock.now(), before.0);
    let mut after = before;
    while clock.now() < until && after.0 < records && !interrupted.load(Ordering::Relaxed) {
        std::thread::park_timeout(Duration::from_millis(2));
        if reader.records() > after.0 {
            after = (reader.records(), cpu_of(&threads));
            moved = (clock.now(), after.0);
        }
        if clock.now() - moved.0 > Duration::from_secs(2) {
            break;
        }
    }
    let sample = reader.sample();
    reader.end()?;
    Ok(Bare { ns_per_record: per_record(before, after)?, sample })
}

/// A thread that reads and counts.
struct Reader {
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    records: AtomicU64,
    stop: AtomicBool,
    /// Records are copied only while this is set: not while they are measured.
    sampling: AtomicBool,
    sample: Mutex<Sample>,
}

impl Reader {
    fn start(feed: KafkaFeed, mapping: &MappingSpec, ledger: Option<Arc<Ledger>>) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared { sampling: AtomicBool::new(true), ..Shared::default() });
        let seen = Arc::clone(&shared);
        let (queues, prefetch_bytes) = (mapping.pollers, subject::prefetch_bytes(mapping));
        let thread = std::thread::Builder::new()
            .name("bare".into())
            .spawn(move || {
                let count = |records: &[Fetched]| seen.on_read(records, ledger.as_deref());
                bare::consume(&feed, queues, prefetch_bytes, count, &seen.stop).context("the bare consumer")
            })
            .context("cannot start the bare consumer's thread")?;
        Ok(Self { thread, shared })
    }

    fn records(&self) -> u64 {
        self.shared.records.load(Ordering::Relaxed)
    }

    fn wait(
        &self,
        clock: Clock,
        interrupted: &AtomicBool,
        is_there: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let since = clock.now();
        while !is_there(self) {
            std::thread::park_timeout(LOOK);
            if self.thread.is_finished() || interrupted.load(Ordering::Relaxed) {
                bail!("the bare consumer ended before it had read anything");
            }
            if clock.now() - since > PATIENCE {
                bail!("nothing arrived at the bare consumer in {} s", PATIENCE.as_secs());
            }
        }
        Ok(())
    }

    fn measure(
        &self,
        roles: &Roles,
        clock: Clock,
        from: Nanos,
        until: Nanos,
        interrupted: &AtomicBool,
    ) -> anyhow::Result<Bare> {
        let threads = roles.threads(Role::Engine);
        let wait_until = |at: Nanos| {
            while clock.now() < at && !interrupted.load(Ordering::Relaxed) && !self.thread.is_finished() {
                std::thread::park_timeout(LOOK);
            }
        };
        wait_until(from);
        let sample = self.sample();
        let before = (self.records(), cpu_of(&threads));
        wait_until(until);
        let after = (self.records(), cpu_of(&threads));
        Ok(Bare { ns_per_record: per_record(before, after)?, sample })
    }

    /// What was sampled; from now on nothing is.
    fn sample(&self) -> Sample {
        self.shared.sampling.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.shared.sample.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn end(self) -> anyhow::Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Shared {
    fn on_read(&self, records: &[Fetched], ledger: Option<&Ledger>) {
        if self.sampling.load(Ordering::Relaxed) {
            self.sample.lock().unwrap_or_else(PoisonError::into_inner).add(records);
        }
        if let Some(ledger) = ledger {
            for run in records.chunk_by(|one, other| one.partition() == other.partition()) {
                if let Some(last) = run.last() {
                    let partition = usize::try_from(last.partition().0).unwrap_or(usize::MAX);
                    ledger.on_committed(partition, last.offset().next().0);
                }
            }
        }
        self.records.fetch_add(records.len() as u64, Ordering::Relaxed);
    }
}

fn cpu_of(threads: &[u32]) -> Duration {
    threads.iter().filter_map(|thread| cpu_time(*thread)).sum()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn per_record(before: (u64, Duration), after: (u64, Duration)) -> anyhow::Result<f64> {
    let records = after.0 - before.0;
    if records == 0 {
        bail!("nothing arrived at the bare consumer while it was measured");
    }
    Ok(after.1.saturating_sub(before.1).as_nanos() as f64 / records as f64)
}
