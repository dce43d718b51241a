//! The one source of chance in a simulation.

use std::time::Duration;

/// Steele, Lea and Flood's `SplitMix64`: eight bytes of state, well mixed from any seed. Everything
/// that a run decides is drawn from one of these, in the order of virtual time.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `least..=most`; `least` if that is empty.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        let width = u128::from(most.saturating_sub(least)) + 1;
        // The product of two numbers below 2^64 and 2^64 + 1, shifted by 64 bits, fits in 64.
        least + u64::try_from((u128::from(self.bits()) * width) >> 64).unwrap_or(0)
    }

    /// A position in a list of `length`; 0 if it is empty.
    pub fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.between(0, (length as u64).saturating_sub(1))).unwrap_or(0)
    }

    /// Whether something happens that happens so often in a thousand times.
    pub fn chance(&mut self, permille: u32) -> bool {
        self.between(0, 999) < u64::from(permille)
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.place(choices.len())]
    }

    /// Uniform in `least..=most` milliseconds, to the microsecond.
    pub fn ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_micros(self.between(least * 1_000, most * 1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_draw_equally() {
        let draws = |seed| {
            let mut random = Random::new(seed);
            [(); 8].map(|()| random.bits())
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
    }

    #[test]
    fn draws_stay_within_their_range_and_reach_its_ends() {
        let mut random = Random::new(1);
        let drawn: Vec<u64> = (0..1_000).map(|_| random.between(3, 7)).collect();
        assert!(drawn.iter().all(|draw| (3..=7).contains(draw)));
        assert!(drawn.contains(&3) && drawn.contains(&7));
        assert_eq!(random.between(5, 4), 5);
        assert_eq!(random.place(0), 0);
    }

    #[test]
    fn what_never_happens_does_not_and_what_always_happens_does() {
        let mut random = Random::new(2);
        assert!((0..1_000).all(|_| !random.chance(0)));
        assert!((0..1_000).all(|_| random.chance(1_000)));
    }
}
