//! Records of a batch that are delivered together.

use std::ops::Range;

/// Positions of a batch's records, ascending. One range is kept in place; only more allocate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    first: Range<u32>,
    more: Vec<Range<u32>>,
}

impl Records {
    /// All records of a batch of this many.
    #[must_use]
    pub const fn all(records: u32) -> Self {
        Self { first: 0..records, more: Vec::new() }
    }

    /// Single positions, ascending.
    #[must_use]
    pub fn of_positions(positions: impl IntoIterator<Item = u32>) -> Self {
        positions.into_iter().map(|position| position..position + 1).collect()
    }

    /// The ranges, ascending and apart from each other; none is empty.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        std::iter::once(&self.first).chain(&self.more).filter(|range| !range.is_empty()).cloned()
    }

    /// Adds a range that lies behind those that are there, if it is not empty.
    pub fn push(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        let last = self.more.last_mut().unwrap_or(&mut self.first);
        debug_assert!(last.end <= range.start || last.start == last.end, "{last:?} before {range:?}");
        if last.start == last.end {
            *last = range;
        } else if last.end == range.start {
            last.end = range.end;
        } else {
            self.more.push(range);
        }
    }

    /// Forgets all; keeps the memory.
    pub fn clear(&mut self) {
        self.first = 0..0;
        self.more.clear();
    }

    /// How many records.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.ranges().map(|range| range.end - range.start).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges().next().is_none()
    }

    /// Whether the record at `position` is one of them. Costs a binary search.
    #[must_use]
    pub fn contains(&self, position: u32) -> bool {
        let at = self.more.partition_point(|range| range.end <= position);
        self.first.contains(&position) || self.more.get(at).is_some_and(|range| range.contains(&position))
    }

    /// Takes out the later half; the earlier keeps the middle one of an odd number.
    #[must_use]
    pub fn split(&mut self) -> Self {
        let mut left = self.count().div_ceil(2);
        let (mut earlier, mut later) = (Self::default(), Self::default());
        for range in self.ranges() {
            let here = left.min(range.end - range.start);
            left -= here;
            earlier.push(range.start..range.start + here);
            later.push(range.start + here..range.end);
        }
        *self = earlier;
        later
    }

    /// Takes out those for which `wanted` says so.
    #[must_use]
    pub fn take(&mut self, wanted: impl Fn(u32) -> bool) -> Self {
        let (taken, left) = self.ranges().flatten().partition::<Vec<u32>, _>(|position| wanted(*position));
        *self = Self::of_positions(left);
        Self::of_positions(taken)
    }

    /// Those that are not in `others`.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        let others: Vec<_> = others.ranges().collect();
        let mut first = 0;
        let mut left = Self::default();
        for mut range in self.ranges() {
            first += others[first..].iter().take_while(|other| other.end <= range.start).count();
            for other in others[first..].iter().take_while(|other| other.start < range.end) {
                left.push(range.start..other.start.max(range.start));
                range.start = other.end.min(range.end);
            }
            left.push(range);
        }
        left
    }
}

impl Extend<Range<u32>> for Records {
    /// See [`Records::push`].
    fn extend<T: IntoIterator<Item = Range<u32>>>(&mut self, ranges: T) {
        ranges.into_iter().for_each(|range| self.push(range));
    }
}

impl FromIterator<Range<u32>> for Records {
    fn from_iter<T: IntoIterator<Item = Range<u32>>>(ranges: T) -> Self {
        let mut records = Self::default();
        records.extend(ranges);
        records
    }
}

/// Records of a batch that are delivered together, and what was tried with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub(super) records: Records,
    /// Attempts that count towards `retries_max`: those that were not followed by a split.
    pub(super) used: u32,
    /// Attempts that reached the function with these records, in whatever company.
    pub(super) invocations: u32,
}

impl Part {
    pub(super) const fn all(records: u32) -> Self {
        Self { records: Records::all(records), used: 0, invocations: 0 }
    }

    /// Others of the same past.
    pub(super) fn with(&self, records: Records) -> Self {
        Self { records, ..*self }
    }

    /// Which records.
    #[must_use]
    pub const fn records(&self) -> &Records {
        &self.records
    }

    /// Attempts that reached the function with these records. AWS: `approximateInvokeCount`.
    #[must_use]
    pub const fn invocations(&self) -> u32 {
        self.invocations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn positions(records: &Records) -> Vec<u32> {
        records.ranges().flatten().collect()
    }

    #[test]
    fn halves_are_cut_in_the_middle_and_keep_the_order() {
        let mut records: Records = [0..3, 10..14].into_iter().collect();
        let later = records.split();
        assert_eq!((positions(&records), positions(&later)), (vec![0, 1, 2, 10], vec![11, 12, 13]));
        let mut one = Records::all(1);
        assert!(one.split().is_empty());
        assert_eq!(one.count(), 1);
    }

    #[test]
    fn neighbours_are_one_range_and_one_range_needs_no_memory() {
        let records = Records::of_positions([3, 4, 5]);
        assert_eq!(records.ranges().count(), 1);
        assert_eq!(records.more.capacity(), 0);
    }

    proptest! {
        #[test]
        fn sets_of_positions_behave_as_sets(
            one in proptest::collection::btree_set(0_u32..60, 0..40),
            other in proptest::collection::btree_set(0_u32..60, 0..40),
        ) {
            let records = Records::of_positions(one.iter().copied());
            let others = Records::of_positions(other.iter().copied());
            prop_assert_eq!(records.count() as usize, one.len());
            let left: Vec<u32> = one.difference(&other).copied().collect();
            prop_assert_eq!(positions(&records.without(&others)), left.clone());
            for position in 0..62 {
                prop_assert_eq!(records.contains(position), one.contains(&position));
            }
            let mut kept = records.clone();
            let taken = kept.take(|position| other.contains(&position));
            prop_assert_eq!(positions(&kept), left);
            prop_assert_eq!(positions(&taken), one.intersection(&other).copied().collect::<Vec<_>>());
            let mut earlier = records.clone();
            let later = earlier.split();
            let joined: Vec<u32> = positions(&earlier).into_iter().chain(positions(&later)).collect();
            prop_assert_eq!(joined, positions(&records));
            prop_assert!(earlier.count() - later.count() <= 1);
        }
    }
}
