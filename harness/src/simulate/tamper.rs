//! The engine broken on purpose, through its seams: each of these the checker must catch.

use super::checker::Fate;
use super::universe::Universe;

/// What is broken. Each happens once, at the first occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tamper {
    /// A record is read from the log and never handed over.
    LoseRecord,
    /// The engine is told of a success, and the function answered with an error.
    FalseSuccess,
    /// A commit is moved forward by one.
    CommitAhead,
    /// The engine is told that the destination has what it refused.
    FalseKeeping,
    /// A partition is read from one record before its committed offset.
    ReadAgain,
    /// A partition that moves to another poller is read from one record further.
    MoveAhead,
    /// Two records change places.
    Reorder,
    /// A record's value is another.
    OtherBytes,
    /// An answer never comes, though the faults are over.
    LoseAnswer,
}

impl Tamper {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::LoseRecord,
        Self::FalseSuccess,
        Self::CommitAhead,
        Self::FalseKeeping,
        Self::ReadAgain,
        Self::MoveAhead,
        Self::Reorder,
        Self::OtherBytes,
        Self::LoseAnswer,
    ];
}

impl Universe {
    /// Whether to break this now. Only once.
    pub(super) fn breaks(&mut self, tamper: Tamper) -> bool {
        let now = self.tamper == Some(tamper);
        if now {
            self.tamper = None;
            self.tally.fault("tampered");
        }
        now
    }

    /// Whether there is a record at `offset` that the function has.
    pub(super) fn was_delivered(&self, partition: usize, offset: i64) -> bool {
        let log = &self.logs[partition];
        let place = log.find(offset).filter(|place| !log.records[*place].deleted);
        place.is_some_and(|place| self.checker.fate(partition, place) == Some(Fate::Delivered))
    }

    /// The offset that is committed instead of `offset`.
    pub(super) fn tampered(&mut self, partition: usize, offset: i64) -> i64 {
        let log = &self.logs[partition];
        // A record must be there to be passed.
        let passed = log.find(offset).filter(|place| !self.checker.is_exempt(log, partition, *place));
        offset + i64::from(passed.is_some() && self.breaks(Tamper::CommitAhead))
    }
}
