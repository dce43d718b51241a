//! When a batch is full, and when it is due.

use crate::time::Nanos;
use std::fmt;
use std::time::Duration;

/// Why a batch was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlushCause {
    /// It holds `batch_size` records.
    Count,
    /// Its window has passed.
    Window,
    /// The next record would pass the payload limit.
    Bytes,
    /// The memory budget has no room for more.
    Memory,
    /// The engine is being stopped.
    Drain,
}

impl FlushCause {
    /// All causes, for tables of counters.
    pub const ALL: [Self; 5] = [Self::Count, Self::Window, Self::Bytes, Self::Memory, Self::Drain];

    /// The cause as a metric's label: one lower-case word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Window => "window",
            Self::Bytes => "bytes",
            Self::Memory => "memory",
            Self::Drain => "drain",
        }
    }
}

impl fmt::Display for FlushCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What a batch may hold, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most records in a batch. 1 to 10000, AWS's default 100.
    /// AWS: `BatchSize`.
    pub batch_size: u32,
    /// How long a batch may stay open, from its first record or from the completion of the
    /// poller's previous invocation, whichever is later. 0 s to 300 s, AWS's default 500 ms; 0
    /// means due as soon as there is a record.
    /// AWS: `MaximumBatchingWindowInSeconds` (whole seconds there).
    pub window: Duration,
    /// The largest payload, in bytes of the request's body. AWS refuses 6291456.
    pub payload_bytes_max: u32,
}

impl BatchLimits {
    /// The largest body that AWS accepts: its own message reads "must be smaller than 6291456
    /// bytes".
    pub const PAYLOAD_BYTES_MAX: u32 = 6_291_455;
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            batch_size: 100,
            window: Duration::from_millis(500),
            payload_bytes_max: Self::PAYLOAD_BYTES_MAX,
        }
    }
}

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Into this batch.
    Here,
    /// Into the next one: this one is full for the cause.
    NextBatch(FlushCause),
    /// Nowhere: alone it makes a payload of `needed` bytes, which is above the limit.
    Nowhere {
        /// Bytes of the payload with this record alone.
        needed: usize,
    },
}

/// The life of one batch, as far as its limits are concerned. It is told what happens and when,
/// and answers when the batch must go; it reads no clock.
#[derive(Clone, Debug)]
pub struct Policy {
    limits: BatchLimits,
    /// Bytes of the envelope, paid before the first record.
    envelope_bytes: usize,
    bytes: usize,
    records: u32,
    opened: Option<Nanos>,
    idle_at: Nanos,
    full: Option<FlushCause>,
}

impl Policy {
    /// An empty batch within `limits`, whose payload begins with `envelope_bytes`.
    #[must_use]
    pub fn new(limits: &BatchLimits, envelope_bytes: usize) -> Self {
        Self {
            limits: limits.clone(),
            envelope_bytes,
            bytes: envelope_bytes,
            records: 0,
            opened: None,
            idle_at: Nanos::ZERO,
            full: None,
        }
    }

    /// Where a record goes that makes the payload `bytes` longer, and which alone (with the
    /// envelope) would make it `bytes_alone` longer than an empty one.
    #[must_use]
    pub fn fit(&self, bytes: usize, bytes_alone: usize) -> Fit {
        let limit = self.limits.payload_bytes_max as usize;
        let needed = self.envelope_bytes + bytes_alone;
        if needed > limit {
            Fit::Nowhere { needed }
        } else if self.records >= self.limits.batch_size {
            Fit::NextBatch(FlushCause::Count)
        } else if self.bytes + bytes > limit {
            Fit::NextBatch(FlushCause::Bytes)
        } else {
            Fit::Here
        }
    }

    /// How many more records the batch takes.
    #[must_use]
    pub const fn records_left(&self) -> u32 {
        self.limits.batch_size.saturating_sub(self.records)
    }

    /// How many more bytes the payload takes.
    #[must_use]
    pub const fn bytes_left(&self) -> usize {
        (self.limits.payload_bytes_max as usize).saturating_sub(self.bytes)
    }

    /// `records` records were appended, and the payload grew by `bytes`. The first opens the batch.
    pub fn on_append(&mut self, records: u32, bytes: usize, now: Nanos) {
        debug_assert!(bytes <= self.bytes_left(), "a payload never passes its limit");
        if records == 0 {
            return;
        }
        self.opened.get_or_insert(now);
        self.records += records;
        self.bytes += bytes;
        if self.records >= self.limits.batch_size {
            self.full = Some(FlushCause::Count);
        }
    }

    /// The batch takes no more, for `cause`: it is due now. Ignored while it is empty.
    pub fn on_full(&mut self, cause: FlushCause) {
        if self.records > 0 {
            self.full.get_or_insert(cause);
        }
    }

    /// `records` records left the batch, and the payload shrank by `bytes`. An empty batch has not
    /// been opened.
    pub fn on_remove(&mut self, records: u32, bytes: usize) {
        self.records -= records;
        self.bytes -= bytes;
        self.full = None;
        if self.records == 0 {
            self.opened = None;
        }
    }

    /// The poller's previous invocation completed: the window does not begin before `now`.
    pub fn on_idle(&mut self, now: Nanos) {
        self.idle_at = now;
    }

    /// When the batch must go; `None` while it is empty. Changes with every call of an `on_`
    /// method. [`Nanos::ZERO`] if it is full.
    #[must_use]
    pub fn deadline(&self) -> Option<Nanos> {
        let opened = self.opened?;
        if self.full.is_some() {
            return Some(Nanos::ZERO);
        }
        // CONTRACT: current AWS docs start the window when the previous invocation completes,
        // older ones with the first record; the later of both satisfies either reading.
        Some(opened.max(self.idle_at) + self.limits.window)
    }

    /// Why the batch must go now, if it must. Meant to be asked while no invocation of the poller
    /// is under way; ask after every append and at the [`deadline`](Self::deadline).
    #[must_use]
    pub fn due(&self, now: Nanos) -> Option<FlushCause> {
        self.full.or_else(|| self.deadline().filter(|at| *at <= now).map(|_| FlushCause::Window))
    }

    /// Why the batch takes no more records, if it does not.
    #[must_use]
    pub const fn full(&self) -> Option<FlushCause> {
        self.full
    }

    /// Records in the batch.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Bytes of the payload over all records, envelope included.
    #[must_use]
    pub const fn payload_bytes(&self) -> usize {
        self.bytes
    }

    /// When the first record was appended; `None` while the batch is empty.
    #[must_use]
    pub const fn opened_at(&self) -> Option<Nanos> {
        self.opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn policy(batch_size: u32, window_ms: u64) -> Policy {
        let window = Duration::from_millis(window_ms);
        Policy::new(&BatchLimits { batch_size, window, payload_bytes_max: 1000 }, 100)
    }

    #[test]
    fn an_empty_batch_is_never_due() {
        let mut policy = policy(1, 0);
        policy.on_idle(Nanos(5));
        policy.on_full(FlushCause::Memory);
        assert_eq!((policy.deadline(), policy.due(Nanos::NEVER)), (None, None));
    }

    #[test]
    fn the_window_opens_with_the_first_record() {
        let mut policy = policy(10, 5);
        policy.on_append(1, 10, Nanos(MS));
        policy.on_append(1, 10, Nanos(3 * MS));
        assert_eq!(policy.deadline(), Some(Nanos(6 * MS)));
        assert_eq!(policy.due(Nanos(6 * MS - 1)), None);
        assert_eq!(policy.due(Nanos(6 * MS)), Some(FlushCause::Window));
    }

    #[test]
    fn the_window_does_not_begin_before_the_previous_invocation_completed() {
        let mut policy = policy(10, 5);
        policy.on_append(1, 10, Nanos(MS));
        policy.on_idle(Nanos(4 * MS));
        assert_eq!(policy.deadline(), Some(Nanos(9 * MS)));
    }

    #[test]
    fn an_idle_hour_before_the_first_record_does_not_count() {
        let mut policy = policy(10, 5);
        policy.on_idle(Nanos(MS));
        policy.on_append(1, 10, Nanos(3_600_000 * MS));
        assert_eq!(policy.deadline(), Some(Nanos(3_600_005 * MS)));
    }

    #[test]
    fn a_window_of_zero_is_due_with_the_first_record() {
        let mut policy = policy(10, 0);
        policy.on_append(1, 10, Nanos(7));
        assert_eq!(policy.due(Nanos(7)), Some(FlushCause::Window));
    }

    #[test]
    fn a_full_batch_is_due_whatever_the_time() {
        let mut policy = policy(3, 60_000);
        policy.on_append(3, 30, Nanos(9));
        assert_eq!(policy.due(Nanos::ZERO), Some(FlushCause::Count));
        assert_eq!(policy.deadline(), Some(Nanos::ZERO));
    }

    #[test]
    fn a_record_goes_here_to_the_next_batch_or_nowhere() {
        let mut policy = policy(2, 0);
        assert_eq!(policy.fit(900, 900), Fit::Here);
        assert_eq!(policy.fit(901, 901), Fit::Nowhere { needed: 1001 });
        policy.on_append(1, 400, Nanos(0));
        assert_eq!(policy.fit(500, 510), Fit::Here);
        assert_eq!(policy.fit(501, 511), Fit::NextBatch(FlushCause::Bytes));
        policy.on_append(1, 1, Nanos(0));
        assert_eq!(policy.fit(1, 1), Fit::NextBatch(FlushCause::Count));
    }

    #[test]
    fn a_batch_that_lost_all_records_has_not_been_opened() {
        let mut policy = policy(2, 5);
        policy.on_append(2, 20, Nanos(1));
        policy.on_remove(2, 20);
        assert_eq!((policy.opened_at(), policy.full(), policy.payload_bytes()), (None, None, 100));
    }
}
