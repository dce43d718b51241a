//! Offsets that are finished though others before them are not.

use std::collections::VecDeque;

use crate::ids::Offset;

/// Offsets `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: Offset,
    /// The last, not before the first.
    pub last: Offset,
}

impl Span {
    /// How many offsets it has, those without records included.
    #[must_use]
    pub const fn offsets(self) -> u64 {
        self.last.0.saturating_sub(self.first.0).saturating_add(1).cast_unsigned()
    }
}

/// Finished offsets of one partition, as spans: ascending, and apart from each other.
///
/// 16 bytes a span; without any, nothing is allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    spans: VecDeque<Span>,
}

impl Finished {
    /// No offset.
    #[must_use]
    pub const fn none() -> Self {
        Self { spans: VecDeque::new() }
    }

    /// Adds `span`, unless it begins below what is there or is none. Touching spans become one.
    /// Returns whether it was added.
    pub fn push(&mut self, span: Span) -> bool {
        // Of the last offset there is, nothing could come after.
        if span.last < span.first || span.last == Offset(i64::MAX) {
            return false;
        }
        match self.spans.back_mut() {
            Some(back) if span.first <= back.last => return false,
            Some(back) if span.first == back.last.next() => back.last = span.last,
            _ => self.spans.push_back(span),
        }
        true
    }

    /// The spans, ascending.
    pub fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        self.spans.iter().copied()
    }

    /// The first span.
    #[must_use]
    pub fn first(&self) -> Option<Span> {
        self.spans.front().copied()
    }

    /// Whether there is no offset.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many offsets there are, those without records included.
    #[must_use]
    pub fn offsets(&self) -> u64 {
        self.spans().fold(0, |sum, span| sum.saturating_add(span.offsets()))
    }

    /// Forgets everything, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.spans.clear();
    }

    /// Takes out all below `end`. Returns one past the last of these, if there were any.
    pub(super) fn take_below(&mut self, end: Offset) -> Option<Offset> {
        let mut taken = None;
        while let Some(front) = self.spans.front_mut()
            && front.first < end
        {
            if front.last < end {
                taken = Some(front.last.next());
                self.spans.pop_front();
            } else {
                front.first = end;
                taken = Some(end);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in crate::commit) fn span(first: i64, last: i64) -> Span {
        Span { first: Offset(first), last: Offset(last) }
    }

    #[test]
    fn spans_ascend_and_those_that_touch_are_one() {
        let mut finished = Finished::none();
        assert!(finished.push(span(5, 6)) && finished.push(span(7, 9)) && finished.push(span(11, 11)));
        assert!(!finished.push(span(11, 12)) && !finished.push(span(14, 13)) && !finished.push(span(0, 1)));
        assert!(!finished.push(span(20, i64::MAX)), "nothing could come after");
        assert_eq!(finished.spans().collect::<Vec<_>>(), [span(5, 9), span(11, 11)]);
        assert_eq!(finished.offsets(), 6);
    }

    #[test]
    fn what_lies_below_an_offset_is_taken_out_and_a_span_is_cut_there() {
        let mut finished = Finished::none();
        assert!(finished.push(span(5, 9)) && finished.push(span(12, 20)));
        assert_eq!(finished.take_below(Offset(5)), None);
        assert_eq!(finished.take_below(Offset(11)), Some(Offset(10)));
        assert_eq!(finished.take_below(Offset(15)), Some(Offset(15)));
        assert_eq!(finished.first(), Some(span(15, 20)));
        assert_eq!(finished.take_below(Offset(30)), Some(Offset(21)));
        assert!(finished.is_empty());
    }
}
