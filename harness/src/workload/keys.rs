//! Record keys and headers.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt};

use super::grammar::{Call, LawError};
use super::units::{Bytes, text_serde};

/// The longest key or header value a law may make.
pub const KEY_BYTES_MAX: u64 = 64 << 10;

/// The law of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyLaw {
    /// No key (Kafka's null).
    #[default]
    None,
    /// So many different keys. A key always goes to the same partition, as with Kafka's own
    /// partitioner, so that order per key means something.
    Fixed {
        /// How many; at least one for each partition.
        cardinality: u64,
        /// The length of each.
        bytes: Bytes,
    },
    /// A new random key for every record.
    Random(Bytes),
}

/// The shortest key that still tells the keys of a law apart: a number in hexadecimal.
const KEY_DIGITS: usize = 16;

impl KeyLaw {
    /// Writes the key of a record for `partition` (of `partitions`) to `key`, which is as long as
    /// the law says. Returns whether there is one.
    pub fn write<R: Rng>(&self, partition: u32, partitions: u32, random: &mut R, key: &mut Vec<u8>) -> bool {
        key.clear();
        match self {
            Self::None => false,
            Self::Fixed { cardinality, bytes } => {
                let (partition, partitions) = (u64::from(partition), u64::from(partitions));
                let rounds = (*cardinality - partition).div_ceil(partitions);
                let number = partition + partitions * random.random_range(0..rounds.max(1));
                let digits = format_hex(number);
                let len = usize::try_from(bytes.0).unwrap_or(usize::MAX);
                // The low digits last, so that a short key keeps what tells keys apart.
                key.resize(len.saturating_sub(KEY_DIGITS), b'k');
                key.extend_from_slice(&digits[KEY_DIGITS.saturating_sub(len)..]);
                true
            }
            Self::Random(bytes) => {
                key.resize(usize::try_from(bytes.0).unwrap_or(usize::MAX), 0);
                random.fill(&mut key[..]);
                true
            }
        }
    }

    /// The length of a key in bytes; zero where there is none.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Fixed { bytes, .. } | Self::Random(bytes) => bytes.0,
        }
    }

    /// How many different keys there are, where that is fixed.
    #[must_use]
    pub fn cardinality(&self) -> Option<u64> {
        match self {
            Self::Fixed { cardinality, .. } => Some(*cardinality),
            Self::None | Self::Random(_) => None,
        }
    }
}

/// `number` in sixteen hexadecimal digits, without the formatting machinery: it runs per record.
fn format_hex(number: u64) -> [u8; KEY_DIGITS] {
    let mut digits = [0; KEY_DIGITS];
    for (at, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (60 - 4 * at)) as usize & 15];
    }
    digits
}

impl FromStr for KeyLaw {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let mut call = Call::parse(
            text,
            "a key law",
            "write none, fixed(cardinality=1000, bytes=16B) or random(16B); up to 64KiB, and a fixed key long \
             enough to tell the keys apart",
        )?;
        let default = Bytes(KEY_DIGITS as u64);
        let law = match call.name {
            "none" => Self::None,
            "fixed" => Self::Fixed {
                cardinality: call.take("cardinality")?,
                bytes: call.take_if_given("bytes")?.unwrap_or(default),
            },
            "random" => Self::Random(call.take_if_given("bytes")?.unwrap_or(default)),
            _ => return Err(call.wrong()),
        };
        let distinct = match law {
            Self::Fixed { cardinality: 0, .. } => false,
            Self::Fixed { cardinality, bytes } if bytes.0 < KEY_DIGITS as u64 => {
                cardinality - 1 < 1 << (4 * bytes.0)
            }
            _ => true,
        };
        if distinct && law.bytes() <= KEY_BYTES_MAX { call.finish(law) } else { Err(call.wrong()) }
    }
}

impl fmt::Display for KeyLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Fixed { cardinality, bytes } => {
                write!(f, "fixed(cardinality={cardinality}, bytes={bytes})")
            }
            Self::Random(bytes) => write!(f, "random({bytes})"),
        }
    }
}

/// A header on every record: its name, and random bytes of one size. Written `name:16B`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderLaw {
    /// The name.
    pub name: String,
    /// The length of the value.
    pub bytes: Bytes,
}

impl FromStr for HeaderLaw {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let wrong =
            || LawError::new("a header", text, "write its name and size, like trace-id:16B, up to 64KiB");
        let (name, bytes) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bytes: Bytes = bytes.parse().map_err(|_| wrong())?;
        // librdkafka takes header names as C strings.
        if name.is_empty() || name.contains('\0') || bytes.0 > KEY_BYTES_MAX {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), bytes })
    }
}

impl fmt::Display for HeaderLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.bytes)
    }
}

text_serde!(KeyLaw, HeaderLaw);

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn headers_are_named_and_sized() {
        assert_eq!("a:b:16B".parse(), Ok(HeaderLaw { name: "a:b".into(), bytes: Bytes(16) }));
        assert!("trace".parse::<HeaderLaw>().is_err());
        assert!(":16B".parse::<HeaderLaw>().is_err());
    }

    #[test]
    fn keys_too_short_to_tell_apart_are_refused() {
        assert!("fixed(256, 2B)".parse::<KeyLaw>().is_ok());
        assert!("fixed(257, 2B)".parse::<KeyLaw>().is_err());
        assert!("fixed(0)".parse::<KeyLaw>().is_err());
    }

    proptest! {
        #[test]
        fn a_key_stays_in_its_partition(
            partitions in 1..20u32, more in 0..200u64, bytes in 2..40u64, seed: u64,
        ) {
            let law = KeyLaw::Fixed { cardinality: u64::from(partitions) + more, bytes: Bytes(bytes) };
            let mut random = SmallRng::seed_from_u64(seed);
            let mut homes = HashMap::new();
            let mut key = Vec::new();
            for record in 0..2_000u32 {
                let partition = record % partitions;
                prop_assert!(law.write(partition, partitions, &mut random, &mut key));
                prop_assert_eq!(key.len() as u64, bytes);
                prop_assert_eq!(*homes.entry(key.clone()).or_insert(partition), partition);
            }
            prop_assert!(homes.len() as u64 <= law.cardinality().unwrap_or(0));
        }

        #[test]
        fn a_key_law_reads_back_as_printed(cardinality in 1..u64::MAX, bytes in 16..KEY_BYTES_MAX) {
            for law in [KeyLaw::None, KeyLaw::Random(Bytes(bytes)), KeyLaw::Fixed { cardinality, bytes: Bytes(bytes) }] {
                prop_assert_eq!(law.to_string().parse(), Ok(law));
            }
        }
    }
}
