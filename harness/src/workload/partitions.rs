//! Which partition the next record goes to.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt};

use super::grammar::{Call, LawError};
use super::units::text_serde;

/// The law of partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PartitionLaw {
    /// One after the other.
    #[default]
    Uniform,
    /// Skewed: partition `n` gets a share proportional to `1 / (n + 1)^exponent`.
    Zipf {
        /// 0 is even; 1 gives the first of 16 partitions 30 % of the records.
        exponent: f64,
    },
}

impl FromStr for PartitionLaw {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let mut call = Call::parse(text, "a partition law", "write uniform or zipf(1.0), exponents 0 to 10")?;
        let law = match call.name {
            "uniform" => Self::Uniform,
            "zipf" => Self::Zipf { exponent: call.take("exponent")? },
            _ => return Err(call.wrong()),
        };
        match law {
            Self::Zipf { exponent } if !(0.0..=10.0).contains(&exponent) => Err(call.wrong()),
            law => call.finish(law),
        }
    }
}

impl fmt::Display for PartitionLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf { exponent } => write!(f, "zipf({exponent})"),
        }
    }
}

text_serde!(PartitionLaw);

/// Draws partitions by a law.
#[derive(Debug)]
pub struct Partitioner {
    partitions: u32,
    next: u32,
    /// Cumulative shares, the last one 1; empty where the law is even.
    shares: Vec<f64>,
}

impl Partitioner {
    /// A partitioner over `partitions` partitions.
    ///
    /// # Panics
    /// If `partitions` is zero.
    #[must_use]
    pub fn new(law: &PartitionLaw, partitions: u32) -> Self {
        assert!(partitions > 0, "a topic has at least one partition");
        let shares = match law {
            PartitionLaw::Uniform => Vec::new(),
            PartitionLaw::Zipf { exponent } => {
                let weights: Vec<f64> = (1..=partitions).map(|n| f64::from(n).powf(-exponent)).collect();
                let total: f64 = weights.iter().sum();
                weights
                    .iter()
                    .scan(0.0, |sum, weight| {
                        *sum += weight / total;
                        Some(*sum)
                    })
                    .collect()
            }
        };
        Self { partitions, next: 0, shares }
    }

    /// The next record's partition.
    #[expect(clippy::cast_possible_truncation, reason = "there are as many shares as partitions")]
    pub fn next<R: Rng>(&mut self, random: &mut R) -> u32 {
        if self.shares.is_empty() {
            let partition = self.next;
            self.next = (partition + 1) % self.partitions;
            return partition;
        }
        let point: f64 = random.random();
        let at = self.shares.partition_point(|share| *share <= point) as u32;
        at.min(self.partitions - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn a_zipf_law_gives_the_first_partition_the_most() {
        let mut partitioner = Partitioner::new(&PartitionLaw::Zipf { exponent: 1.0 }, 16);
        let mut random = SmallRng::seed_from_u64(3);
        let mut counts = [0u32; 16];
        for _ in 0..100_000 {
            counts[partitioner.next(&mut random) as usize] += 1;
        }
        assert!((28_500..30_500).contains(&counts[0]), "{counts:?}");
        assert!(counts[15] > 1_500 && counts[15] < 2_200, "{counts:?}");
    }

    proptest! {
        #[test]
        fn every_partition_exists(partitions in 1..300u32, exponent in 0.0..10.0, seed: u64) {
            let mut random = SmallRng::seed_from_u64(seed);
            for law in [PartitionLaw::Uniform, PartitionLaw::Zipf { exponent }] {
                let mut partitioner = Partitioner::new(&law, partitions);
                for _ in 0..400 {
                    prop_assert!(partitioner.next(&mut random) < partitions);
                }
            }
        }

        #[test]
        fn a_partition_law_reads_back_as_printed(exponent in 0.0..10.0) {
            for law in [PartitionLaw::Uniform, PartitionLaw::Zipf { exponent }] {
                prop_assert_eq!(law.to_string().parse(), Ok(law));
            }
        }
    }
}
