//! Which of a poller's pending records are delivered, each asked about once.

use std::sync::Arc;

use crate::filter::{Filters, Matcher};
use crate::ids::Topic;
use crate::record::Record;

/// What is known of the first pending records. A batch may take fewer of them than were judged, so
/// that is kept.
#[derive(Debug)]
pub(super) struct Sieve {
    matcher: Matcher,
    /// The verdict over the first `judged` pending records.
    keep: bool,
    judged: usize,
    /// The verdict over the record after those is known too, and is the other.
    turns: bool,
}

/// The verdict over records that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether they are delivered.
    pub(super) keep: bool,
    /// How many of them there are, from the first on. At least one.
    pub(super) records: usize,
}

impl Sieve {
    pub(super) fn new(filters: Arc<Filters>) -> Self {
        Self { matcher: Matcher::new(filters), keep: false, judged: 0, turns: false }
    }

    /// Judges the first pending records, which lie in one partition and are not none, up to where
    /// the verdict changes. Ask again after [`advance`](Self::advance).
    pub(super) fn judge<R: Record>(&mut self, topic: &Topic, run: &[R]) -> Verdict {
        while !self.turns
            && let Some(record) = run.get(self.judged)
        {
            let keep = self.matcher.keeps(topic, record);
            if self.judged > 0 && keep != self.keep {
                self.turns = true;
                break;
            }
            self.keep = keep;
            self.judged += 1;
        }
        Verdict { keep: self.keep, records: self.judged }
    }

    /// So many of the first pending records are gone.
    pub(super) fn advance(&mut self, records: usize) {
        debug_assert!(records <= self.judged || self.judged == 0, "gone before they were judged");
        self.judged = self.judged.saturating_sub(records);
        if self.judged == 0 && self.turns {
            (self.keep, self.judged, self.turns) = (!self.keep, 1, false);
        }
    }

    /// Pending records are gone, it is not known which.
    pub(super) fn forget(&mut self) {
        (self.judged, self.turns) = (0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Offset, Partition};
    use crate::record::{RecordRef, TimestampType};
    use proptest::prelude::*;

    fn records(kept: &[bool]) -> Vec<RecordRef<'static>> {
        let value = |keep: &bool| if *keep { &b"yes"[..] } else { b"no" };
        let record = |value| RecordRef {
            partition: Partition(0),
            offset: Offset(0),
            timestamp_ms: 0,
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(value),
            headers: &[],
        };
        kept.iter().map(|keep| record(value(keep))).collect()
    }

    proptest! {
        /// However many records are pending and however few are taken at a time.
        #[test]
        fn the_verdicts_in_order_are_those_of_each_record(
            kept in prop::collection::vec(any::<bool>(), 1..40), pending in 1..9_usize, takes in prop::collection::vec(1..9_usize, 1..9),
        ) {
            let mut sieve = Sieve::new(Arc::new(Filters::parse(&[r#"{"value":["yes"]}"#]).unwrap()));
            let records = records(&kept);
            let topic = Topic::new("t");
            let mut verdicts = Vec::new();
            for chunk in records.chunks(pending) {
                let mut rest = chunk;
                for take in takes.iter().cycle() {
                    if rest.is_empty() {
                        break;
                    }
                    let verdict = sieve.judge(&topic, rest);
                    prop_assert!((1..=rest.len()).contains(&verdict.records));
                    let taken = verdict.records.min(*take);
                    verdicts.extend(std::iter::repeat_n(verdict.keep, taken));
                    sieve.advance(taken);
                    rest = &rest[taken..];
                }
            }
            prop_assert_eq!(verdicts, kept);
        }
    }
}
