//! The two sides of the comparison.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use pelton::ids::{Offset, Partition};
use pelton::pipeline::{BatchTrace, Observer};
use pelton::time::{Clock, Nanos};

use super::{Reading, bare};
use crate::measure::cpu::{Role, Roles};
use crate::subject::{self, Feed, KafkaFeed};
use crate::workload::function::StubLaw;
use crate::workload::scenario::{FunctionSpec, MappingSpec};

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(2);
/// A side that reads nothing for this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Bare,
    Engine,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare consumer",
            Self::Engine => "engine",
        })
    }
}

impl Side {
    /// Reads `records` records. Every thread that does not exist yet belongs to this side.
    pub(super) fn read(
        self,
        mapping: &MappingSpec,
        feed: KafkaFeed,
        records: u64,
    ) -> anyhow::Result<Reading> {
        let mut roles = Roles::new();
        roles.claim(Role::Harness);
        let clock = Clock::start();
        match self {
            Self::Bare => read_bare(mapping, &feed, records, &mut roles, clock),
            Self::Engine => read_engine(mapping, feed, records, &mut roles, clock),
        }
    }
}

fn read_bare(
    mapping: &MappingSpec,
    feed: &KafkaFeed,
    records: u64,
    roles: &mut Roles,
    clock: Clock,
) -> anyhow::Result<Reading> {
    let (seen, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let consumer = std::thread::Builder::new()
            .name("bare".into())
            .spawn_scoped(scope, || {
                let count = |records: &[bare::Fetched]| {
                    seen.fetch_add(records.len() as u64, Ordering::Relaxed);
                };
                bare::consume(feed, mapping.pollers, subject::prefetch_bytes(mapping), count, &stop)
            })
            .context("cannot start the bare consumer's thread")?;
        let reading = wait_for(records, &seen, roles, clock, || !consumer.is_finished());
        stop.store(true, Ordering::Relaxed);
        consumer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        reading
    })
}

fn read_engine(
    mapping: &MappingSpec,
    feed: KafkaFeed,
    records: u64,
    roles: &mut Roles,
    clock: Clock,
) -> anyhow::Result<Reading> {
    let counter = Arc::new(Counter(AtomicU64::new(0)));
    let function = FunctionSpec::Stub(StubLaw::default());
    let observer = Arc::clone(&counter);
    let subject = subject::start(mapping, &Feed::Kafka(feed), &function, &(observer as _), clock)?;
    let reading = wait_for(records, &counter.0, roles, clock, || subject.engine.is_running());
    let (_, remarks) = subject.end();
    match remarks.into_iter().next() {
        Some(remark) => bail!(remark),
        None => reading,
    }
}

/// Waits until `records` were seen; the CPU time is read while the side's threads still live.
fn wait_for(
    records: u64,
    seen: &AtomicU64,
    roles: &mut Roles,
    clock: Clock,
    is_running: impl Fn() -> bool,
) -> anyhow::Result<Reading> {
    let mut moved = (clock.now(), 0);
    loop {
        let now_seen = seen.load(Ordering::Relaxed);
        let now = clock.now();
        if now_seen >= records {
            let cpu_s = roles.read(Role::Engine).engine.as_secs_f64();
            return Ok(Reading { cpu_s, elapsed_s: now.since(Nanos::ZERO).as_secs_f64() });
        }
        if now_seen > moved.1 {
            moved = (now, now_seen);
        }
        if !is_running() {
            bail!("ended after {now_seen} of {records} records");
        }
        if now - moved.0 > PATIENCE {
            bail!(
                "no record for {} s after {now_seen} of {records}; the embedded broker drops what exceeds 5 MiB of \
                 a partition, so fill it less (--bytes)",
                PATIENCE.as_secs()
            );
        }
        std::thread::park_timeout(LOOK);
    }
}

/// Counts delivered records.
#[derive(Debug)]
struct Counter(AtomicU64);

impl Observer for Counter {
    fn on_delivered(&self, trace: &BatchTrace<'_>) {
        self.0.fetch_add(u64::from(trace.batch.records()), Ordering::Relaxed);
    }

    fn on_committed(&self, _: Partition, _: Offset, _: Nanos) {}
}
