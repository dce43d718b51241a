//! What is known of a record's conditions while it is read.

/// A set of conditions by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits(Box<[u64]>);

impl Bits {
    pub(super) fn none(words: usize) -> Self {
        Self(vec![0; words].into())
    }

    pub(super) fn set(&mut self, condition: u32) {
        self.0[condition as usize / 64] |= 1 << (condition % 64);
    }

    pub(super) fn contains(&self, condition: u32) -> bool {
        self.0[condition as usize / 64] & 1 << (condition % 64) != 0
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.0
    }
}

/// Which conditions are met, and of which ones the field was seen at all, in what is being read
/// now: the record, or one element of an array. Around an element lies what is known outside of it.
#[derive(Debug, Default)]
pub(super) struct Marks {
    met: Vec<u64>,
    seen: Vec<u64>,
    /// What is known outside of the elements being read, `met` then `seen` of each, outermost first.
    outside: Vec<u64>,
}

impl Marks {
    /// For a record of which nothing is known. `words` of 64 conditions each.
    #[inline]
    pub(super) fn clear(&mut self, words: usize) {
        self.met.clear();
        self.met.resize(words, 0);
        self.seen.clear();
        self.seen.resize(words, 0);
        self.outside.clear();
    }

    #[inline]
    pub(super) fn meet(&mut self, condition: u32) {
        self.met[condition as usize / 64] |= 1 << (condition % 64);
    }

    #[inline]
    pub(super) fn see(&mut self, condition: u32) {
        self.seen[condition as usize / 64] |= 1 << (condition % 64);
    }

    /// Takes all of these for met: they are not applied to this record.
    pub(super) fn meet_all(&mut self, conditions: &Bits) {
        self.met.iter_mut().zip(conditions.words()).for_each(|(met, all)| *met |= all);
    }

    pub(super) fn is_met(&self, condition: u32) -> bool {
        self.met[condition as usize / 64] & 1 << (condition % 64) != 0
    }

    /// Whether all of these are met, or may be absent and are. Those of `assumed` count as met.
    #[inline]
    pub(super) fn all_met(&self, conditions: &Bits, may_be_absent: &Bits, assumed: Option<&Bits>) -> bool {
        (0..self.met.len()).all(|at| {
            let absent = may_be_absent.words()[at] & !self.seen[at];
            let assumed = assumed.map_or(0, |bits| bits.words()[at]);
            conditions.words()[at] & !(self.met[at] | absent | assumed) == 0
        })
    }

    /// Begins to read an element of an array.
    #[inline]
    pub(super) fn enter_element(&mut self) {
        self.outside.extend_from_slice(&self.met);
        self.outside.extend_from_slice(&self.seen);
        self.met.fill(0);
        self.seen.fill(0);
    }

    /// Ends an element. What it met counts outside only where it met all that some alternative
    /// asks of it: two fields may not match from different elements of one array.
    #[inline]
    pub(super) fn leave_element(&mut self, groups: &[super::tree::Group], may_be_absent: &Bits) {
        let words = self.met.len();
        let start = self.outside.len() - 2 * words;
        for group in groups {
            let wanted = group.conditions.words();
            // A group that is only not contradicted is no match: what is absent must then be absent
            // from every element, which `seen` tells at the end.
            let anchored = (0..words).any(|at| wanted[at] & self.met[at] != 0);
            let whole = (0..words).all(|at| {
                let absent = may_be_absent.words()[at] & !self.seen[at];
                wanted[at] & !(self.met[at] | self.outside[start + at] | absent) == 0
            });
            if anchored && whole {
                (0..words).for_each(|at| self.outside[start + at] |= wanted[at]);
            }
        }
        for at in 0..words {
            self.met[at] = self.outside[start + at];
            self.seen[at] |= self.outside[start + words + at];
        }
        self.outside.truncate(start);
    }

    /// Leaves all elements at once: the text they stand in was no JSON. What was known outside of
    /// them is known again.
    #[cold]
    pub(super) fn leave_all(&mut self) {
        let words = self.met.len();
        if self.outside.len() >= 2 * words {
            self.met.copy_from_slice(&self.outside[..words]);
            self.seen.copy_from_slice(&self.outside[words..2 * words]);
        }
        self.outside.clear();
    }
}
