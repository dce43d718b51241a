//! A mapping under chaos: its topic, which records rot, and its audit.

use std::sync::Mutex;

use pelton::time::Clock;

use super::audit::{Audit, Said, Terms, Ticket};
use super::content::{Content, mix};
use super::event::Event;
use super::function::lock;

/// Of this many records one is poisoned: it fails each time.
const POISONED_ONE_IN: u64 = 20_000;
/// Of this many records one fails once, and no more.
const MOODY_ONE_IN: u64 = 5_000;

/// One mapping, shared by the function, the producer and whoever does things to its engines.
#[derive(Debug)]
pub(super) struct Mapping {
    /// What its audit knows of it.
    pub(super) terms: Terms,
    /// Its topic.
    pub(super) topic: String,
    /// Its consumer group.
    pub(super) group: String,
    /// Where records go that it gives up.
    pub(super) on_failure: Option<String>,
    /// Whether the function reports which items failed.
    pub(super) partial: bool,
    /// What its records contain.
    pub(super) content: Content,
    seed: u64,
    clock: Clock,
    audit: Mutex<Audit>,
}

impl Mapping {
    /// A mapping whose records are `content`.
    pub(super) fn new(
        terms: Terms,
        run: &str,
        partial: bool,
        seed: u64,
        content: Content,
        clock: Clock,
    ) -> Self {
        let name = terms.name;
        Self {
            audit: Mutex::new(Audit::new(terms.clone())),
            topic: format!("{run}-{name}"),
            group: format!("{run}-{name}"),
            on_failure: partial.then(|| format!("{run}-{name}-failed")),
            terms,
            partial,
            content,
            seed,
            clock,
        }
    }

    /// Milliseconds since the run began.
    pub(super) fn now_ms(&self) -> u64 {
        now_ms(&self.clock)
    }

    /// Tells the audit, or asks it.
    pub(super) fn audit<T>(&self, act: impl FnOnce(&mut Audit, u64) -> T) -> T {
        let mut audit = lock(&self.audit);
        let now_ms = self.now_ms();
        act(&mut audit, now_ms)
    }

    /// Something about an event, a letter or an engine is not as it should be.
    pub(super) fn complain(&self, what: String) {
        self.audit(|audit, now_ms| audit.malformed(what, now_ms));
    }

    /// An event's offsets per partition; whatever differs from what was produced is a complaint.
    pub(super) fn read(&self, event: &Event<'_>) -> Vec<(u32, Vec<u64>)> {
        if event.event_source != "SelfManagedKafka" || event.bootstrap_servers.is_empty() {
            self.complain(format!("an event of {}", event.event_source));
        }
        let mut groups = Vec::with_capacity(event.records.len());
        for (key, records) in &event.records {
            let mut offsets = Vec::with_capacity(records.len());
            for record in records {
                let place = format_args!("{}[{}]@{}", record.topic, record.partition, record.offset);
                let named = key.strip_prefix(self.topic.as_str()).and_then(|rest| rest.strip_prefix('-'));
                if named != Some(record.partition.to_string().as_str()) || record.topic != self.topic {
                    self.complain(format!("{place} under {key}"));
                }
                // Offsets are ordinals: one idempotent producer, no transactions.
                let ordinal = self.content.ordinal(record.timestamp);
                let Some(ordinal) = ordinal.filter(|o| i64::try_from(*o) == Ok(record.offset)) else {
                    self.complain(format!("{place} with timestamp {}", record.timestamp));
                    continue;
                };
                if let Some(difference) = record.difference(&self.content.record(record.partition, ordinal)) {
                    self.complain(format!("{place}: {difference}"));
                }
                offsets.push(ordinal);
            }
            let Some(partition) = records.first().and_then(|record| u32::try_from(record.partition).ok())
            else {
                self.complain(format!("no records under {key}"));
                continue;
            };
            groups.push((partition, offsets));
        }
        groups
    }

    /// An invocation has arrived whole.
    pub(super) fn begin(&self, engine: u16, groups: Vec<(u32, Vec<u64>)>) -> Ticket {
        self.audit(|audit, now_ms| audit.begin(engine, groups, now_ms))
    }

    /// The function has decided.
    pub(super) fn finish(&self, ticket: &Ticket, said: Said<'_>) {
        self.audit(|audit, now_ms| audit.finish(ticket, said, now_ms));
    }

    /// Its answer could not be sent.
    pub(super) fn unsay(&self, ticket: &Ticket) {
        self.audit(|audit, now_ms| audit.unsay(ticket, now_ms));
    }

    /// Whether the function fails on this record each time.
    pub(super) fn is_poisoned(&self, partition: u32, offset: u64) -> bool {
        self.partial && self.dice(partition, offset).is_multiple_of(POISONED_ONE_IN)
    }

    /// The records that the function fails on, in order: the poisoned, and the moody that it has not
    /// failed on yet.
    pub(super) fn rotten(&self, ticket: &Ticket) -> Vec<(u32, u64)> {
        if !self.partial {
            return Vec::new();
        }
        let moody = |(partition, offset)| self.dice(partition, offset) % MOODY_ONE_IN == 1;
        let mut rotten: Vec<_> = ticket
            .records()
            .filter(|&(partition, offset)| {
                self.is_poisoned(partition, offset)
                    || moody((partition, offset))
                        && self.audit(|audit, _| audit.failures(partition, offset)) == 0
            })
            .collect();
        rotten.sort_unstable();
        rotten
    }

    fn dice(&self, partition: u32, offset: u64) -> u64 {
        mix(self.seed ^ mix(u64::from(partition) << 40 ^ offset))
    }
}

/// Milliseconds on a clock.
pub(super) fn now_ms(clock: &Clock) -> u64 {
    u64::try_from((clock.now() - pelton::time::Nanos::ZERO).as_millis()).unwrap_or(u64::MAX)
}
