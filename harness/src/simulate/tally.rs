//! What runs came to, summed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::checker::Why;

/// Sums over runs.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Tally {
    /// Runs that ended.
    pub runs: u64,
    /// Turns of consumer threads.
    pub turns: u64,
    /// Virtual time, in seconds.
    pub virtual_s: f64,
    /// Records written.
    pub records: u64,
    /// Records handed over, each time counted.
    pub deliveries: u64,
    /// Invocations by how they ended.
    pub invocations: BTreeMap<&'static str, u64>,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Deliveries of records that had been delivered before, by what explains them.
    pub duplicates: BTreeMap<&'static str, u64>,
    /// Records that the destination has.
    pub kept: u64,
    /// Records that were given up without a destination.
    pub dropped: u64,
    /// Records that were not delivered again because a commit's metadata said so.
    pub resumed: u64,
    /// Partitions that moved to another poller of the same member.
    pub moves: u64,
    /// Batches by what closed them.
    pub batches: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// A fault was injected.
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// An invocation is to end so.
    pub fn invocation(&mut self, kind: &'static str) {
        *self.invocations.entry(kind).or_default() += 1;
    }

    /// Takes over what the checker counted.
    pub fn duplicates(&mut self, counts: &[u64; Why::ALL.len()]) {
        for (why, count) in Why::ALL.iter().zip(counts) {
            *self.duplicates.entry(why.label()).or_default() += count;
        }
    }

    /// Adds virtual time.
    pub fn time(&mut self, passed: Duration) {
        self.virtual_s += passed.as_secs_f64();
    }

    /// Adds another sum to this one.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.turns += other.turns;
        self.virtual_s += other.virtual_s;
        self.records += other.records;
        self.deliveries += other.deliveries;
        self.kept += other.kept;
        self.dropped += other.dropped;
        self.resumed += other.resumed;
        self.moves += other.moves;
        for (into, from) in [
            (&mut self.invocations, &other.invocations),
            (&mut self.faults, &other.faults),
            (&mut self.duplicates, &other.duplicates),
            (&mut self.batches, &other.batches),
        ] {
            for (kind, count) in from {
                *into.entry(kind).or_default() += count;
            }
        }
    }
}
