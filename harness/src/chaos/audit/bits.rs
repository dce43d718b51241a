//! A set of offsets that grows from 0: one bit each, so that ten million cost little more than a
//! megabyte.

/// The set.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    count: u64,
}

impl Bits {
    /// Adds `offset`; whether it is new.
    pub(super) fn insert(&mut self, offset: u64) -> bool {
        let (word, bit) = place(offset);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += u64::from(new);
        new
    }

    /// Takes `offset` out again.
    pub(super) fn remove(&mut self, offset: u64) {
        if self.contains(offset) {
            let (word, bit) = place(offset);
            self.words[word] &= !bit;
            self.count -= 1;
        }
    }

    /// Whether it is there.
    pub(super) fn contains(&self, offset: u64) -> bool {
        let (word, bit) = place(offset);
        self.words.get(word).is_some_and(|found| found & bit != 0)
    }

    /// How many there are.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }
}

fn place(offset: u64) -> (usize, u64) {
    // An offset of a test's topic is far below what memory holds.
    (usize::try_from(offset / 64).unwrap_or(usize::MAX), 1 << (offset % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_offset_is_counted_once() {
        let mut bits = Bits::default();
        for offset in [0, 63, 64, 1_000, 64] {
            bits.insert(offset);
        }
        assert_eq!(bits.count(), 4);
        assert!(bits.contains(1_000) && !bits.contains(1_001) && !bits.contains(1 << 40));
        bits.remove(63);
        bits.remove(62);
        assert_eq!(bits.count(), 3);
    }
}
