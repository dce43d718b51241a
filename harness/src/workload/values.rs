//! Record values: sizes by a law, bytes from a seed.
//!
//! Values are made once, before the load starts, into a pool that the loader draws from: making
//! text costs more than sending it, and a loader that falls behind would measure itself.

use std::fmt;
use std::str::FromStr;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};

use super::grammar::{Call, LawError};
use super::units::{Bytes, text_serde};

/// The largest value a law may make: above every limit an event can hold, so that oversized
/// records can be tried too.
pub const VALUE_BYTES_MAX: u64 = 16 << 20;

/// The law of value sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SizeLaw {
    /// All the same.
    Fixed(Bytes),
    /// Any size from `min` to `max`, both included, equally likely.
    Uniform {
        /// The smallest.
        min: Bytes,
        /// The largest.
        max: Bytes,
    },
    /// Many small ones and a few large ones, as real topics have them; what lies outside `min` and
    /// `max` has that size instead.
    LogNormal {
        /// Half of the values are below this.
        median: Bytes,
        /// The spread: the standard deviation of the logarithm. 1.0 puts p99 at ten medians.
        sigma: f64,
        /// The smallest.
        min: Bytes,
        /// The largest.
        max: Bytes,
    },
}

impl SizeLaw {
    /// Draws a size in bytes.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes are below VALUE_BYTES_MAX"
    )]
    #[expect(clippy::cast_precision_loss, reason = "sizes are below VALUE_BYTES_MAX")]
    pub fn sample<R: Rng>(&self, random: &mut R) -> usize {
        match self {
            Self::Fixed(size) => size.0 as usize,
            Self::Uniform { min, max } => random.random_range(min.0..=max.0) as usize,
            Self::LogNormal { median, sigma, min, max } => {
                let law = LogNormal::new((median.0 as f64).ln(), *sigma)
                    .expect("sigma was checked when it was read");
                (law.sample(random).round() as u64).clamp(min.0, max.0) as usize
            }
        }
    }

    /// The largest size it makes.
    #[must_use]
    pub fn max(&self) -> Bytes {
        match self {
            Self::Fixed(size) => *size,
            Self::Uniform { max, .. } | Self::LogNormal { max, .. } => *max,
        }
    }

    /// The smallest size it makes.
    #[must_use]
    pub fn min(&self) -> Bytes {
        match self {
            Self::Fixed(size) => *size,
            Self::Uniform { min, .. } | Self::LogNormal { min, .. } => *min,
        }
    }

    /// Whether its numbers make sense.
    fn is_valid(&self) -> bool {
        self.max().0 <= VALUE_BYTES_MAX
            && match self {
                Self::Fixed(_) => true,
                Self::Uniform { min, max } => min <= max,
                Self::LogNormal { median, sigma, min, max } => {
                    median.0 >= 1 && min <= median && median <= max && (0.0..=4.0).contains(sigma)
                }
            }
    }
}

impl FromStr for SizeLaw {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let remedy = "write fixed(1KiB), uniform(100B, 2KiB) or log-normal(median=800B, sigma=1.0, max=64KiB), \
                      the latter with min=100B if none is to be smaller; up to 16MiB, min <= median <= max, sigma \
                      from 0 to 4";
        // A bare size is the commonest wish.
        if let Ok(size) = text.parse::<Bytes>() {
            let law = Self::Fixed(size);
            return if law.is_valid() { Ok(law) } else { Err(LawError::new("a size law", text, remedy)) };
        }
        let mut call = Call::parse(text, "a size law", remedy)?;
        let law = match call.name {
            "fixed" => Self::Fixed(call.take("bytes")?),
            "uniform" => Self::Uniform { min: call.take("min")?, max: call.take("max")? },
            "log-normal" => Self::LogNormal {
                median: call.take("median")?,
                sigma: call.take("sigma")?,
                min: call.take_named("min")?.unwrap_or(Bytes(0)),
                max: call.take("max")?,
            },
            _ => return Err(call.wrong()),
        };
        if law.is_valid() { call.finish(law) } else { Err(call.wrong()) }
    }
}

impl fmt::Display for SizeLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "fixed({size})"),
            Self::Uniform { min, max } => write!(f, "uniform(min={min}, max={max})"),
            Self::LogNormal { median, sigma, min, max } => {
                write!(f, "log-normal(median={median}, sigma={sigma}, ")?;
                if min.0 > 0 {
                    write!(f, "min={min}, ")?;
                }
                write!(f, "max={max})")
            }
        }
    }
}

/// What values are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// One JSON document per value, like an order or a click: compresses as text does.
    #[default]
    Json,
    /// Random bytes: do not compress.
    Random,
}

impl FromStr for Content {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        match text.trim() {
            "json" => Ok(Self::Json),
            "random" => Ok(Self::Random),
            _ => Err(LawError::new("a kind of value", text, "write json or random")),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Random => "random",
        })
    }
}

text_serde!(SizeLaw, Content);

/// The most values in a pool: enough that the p99.9 of a size law is met.
pub(crate) const POOL_VALUES_MAX: usize = 4096;
/// A pool stops growing here: larger than any cache, small beside the machine's memory.
const POOL_BYTES_MAX: usize = 64 << 20;
/// A pool holds at least this many values, whatever their size.
const POOL_VALUES_MIN: usize = 4;

/// Values made in advance, one after the other in one buffer.
#[derive(Debug)]
pub struct ValuePool {
    bytes: Vec<u8>,
    /// Where each value ends; it begins where the one before ends.
    ends: Vec<usize>,
}

impl ValuePool {
    /// Makes the pool of `size`, `content` and `seed`: up to 4096 values, up to 64 MiB.
    #[must_use]
    pub fn new(size: &SizeLaw, content: Content, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut pool = Self { bytes: Vec::new(), ends: Vec::new() };
        while pool.ends.len() < POOL_VALUES_MAX
            && (pool.bytes.len() < POOL_BYTES_MAX || pool.ends.len() < POOL_VALUES_MIN)
        {
            let len = size.sample(&mut random);
            match content {
                Content::Json => write_json(&mut pool.bytes, len, &mut random),
                Content::Random => {
                    let start = pool.bytes.len();
                    pool.bytes.resize(start + len, 0);
                    random.fill(&mut pool.bytes[start..]);
                }
            }
            pool.ends.push(pool.bytes.len());
        }
        pool
    }

    /// How many values there are. Never zero.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a pool is never empty")]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The value at `index`.
    ///
    /// # Panics
    /// If `index` is not below [`Self::len`].
    #[must_use]
    pub fn value(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// The mean size of its values, in bytes.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a pool holds less than 2^53 bytes")]
    pub fn mean_bytes(&self) -> f64 {
        self.bytes.len() as f64 / self.ends.len() as f64
    }
}

const WORDS: [&str; 24] = [
    "order",
    "basket",
    "customer",
    "north",
    "delivery",
    "express",
    "invoice",
    "paid",
    "blue",
    "window",
    "garden",
    "repeat",
    "summer",
    "station",
    "return",
    "warehouse",
    "priority",
    "standard",
    "gift",
    "river",
    "pending",
    "market",
    "silver",
    "home",
];

/// Appends exactly `len` bytes that are one JSON document (nothing, if `len` is zero).
pub(super) fn write_json<R: Rng>(out: &mut Vec<u8>, len: usize, random: &mut R) {
    let start = out.len();
    let head = format!(
        r#"{{"id":"{:016x}","customer":{},"amount":{:.2},"note":""#,
        random.random::<u64>(),
        random.random_range(1..1_000_000u32),
        random.random_range(0.5..900.0),
    );
    let tail = "\"}";
    let (head, tail) = match len {
        0 => ("", ""),
        1 => ("7", ""),
        len if len < head.len() + tail.len() => ("\"", "\""),
        _ => (head.as_str(), tail),
    };
    out.extend_from_slice(head.as_bytes());
    let text_end = start + len - tail.len();
    while out.len() < text_end {
        let word = WORDS[random.random_range(0..WORDS.len())].as_bytes();
        let room = text_end - out.len();
        out.extend_from_slice(&word[..word.len().min(room)]);
        if out.len() < text_end {
            out.push(b' ');
        }
    }
    out.extend_from_slice(tail.as_bytes());
    debug_assert_eq!(out.len(), start + len);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_law() -> impl Strategy<Value = SizeLaw> {
        prop_oneof![
            (0..5_000u64).prop_map(|size| SizeLaw::Fixed(Bytes(size))),
            (0..500u64, 0..5_000u64)
                .prop_map(|(min, more)| SizeLaw::Uniform { min: Bytes(min), max: Bytes(min + more) }),
            (0..500u64, 1..500u64, 0.0..3.0, 0..5_000u64).prop_map(|(min, above, sigma, more)| {
                SizeLaw::LogNormal {
                    median: Bytes(min + above),
                    sigma,
                    min: Bytes(min),
                    max: Bytes(min + above + more),
                }
            }),
        ]
    }

    #[test]
    fn a_log_normal_law_has_its_median() {
        let law: SizeLaw = "log-normal(median=800B, sigma=1.0, max=64KiB)".parse().unwrap();
        let mut random = SmallRng::seed_from_u64(1);
        let mut sizes: Vec<usize> = (0..20_001).map(|_| law.sample(&mut random)).collect();
        sizes.sort_unstable();
        assert!((760..840).contains(&sizes[10_000]), "median {}", sizes[10_000]);
        assert!((6_500..10_000).contains(&sizes[19_800]), "p99 {}", sizes[19_800]);
    }

    #[test]
    fn laws_that_make_no_sense_are_refused() {
        let above = "log-normal(1KiB, 1, min=2KiB, max=4KiB)";
        for text in
            ["uniform(2KiB, 1KiB)", "fixed(17MiB)", "17MiB", "log-normal(0B, 1, 1KiB)", "normal(3)", above]
        {
            assert!(text.parse::<SizeLaw>().is_err(), "{text}");
        }
        assert_eq!("1KiB".parse(), Ok(SizeLaw::Fixed(Bytes(1024))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_value_is_one_json_document_of_exactly_its_size(len in 0..600usize, seed: u64) {
            let mut out = b"before".to_vec();
            write_json(&mut out, len, &mut SmallRng::seed_from_u64(seed));
            prop_assert_eq!(out.len(), 6 + len);
            if len > 0 {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&out[6..]).is_ok());
            }
        }

        #[test]
        fn a_pool_repeats_with_its_seed_and_keeps_to_its_law(law in any_law(), seed: u64) {
            let pool = ValuePool::new(&law, Content::Random, seed);
            let again = ValuePool::new(&law, Content::Random, seed);
            prop_assert_eq!(pool.len(), again.len());
            for index in 0..pool.len() {
                prop_assert_eq!(pool.value(index), again.value(index));
                let len = pool.value(index).len() as u64;
                prop_assert!(law.min().0 <= len && len <= law.max().0);
            }
        }

        #[test]
        fn a_size_law_reads_back_as_printed(law in any_law()) {
            prop_assert_eq!(law.to_string().parse(), Ok(law));
        }
    }
}
