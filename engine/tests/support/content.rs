//! Records whose bytes follow from a seed, their partition and their ordinal, so that whoever
//! meets one later can tell whether it is whole without having kept a copy.

use std::ops::RangeInclusive;
use std::sync::Arc;

use pelton::time::wall_ms;

/// One record's content. `None` is Kafka's null.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'c> {
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<&'c [u8]>,
    pub(crate) headers: Vec<(&'static str, Option<Vec<u8>>)>,
}

/// The content of a topic. A record's ordinal counts its partition's records from 0; it travels as
/// the timestamp's distance from a start, because a timestamp is there even where key and value
/// are null.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    seed: u64,
    start_ms: i64,
    value_bytes: RangeInclusive<usize>,
    noise: Arc<[u8]>,
}

impl Content {
    /// Values of `value_bytes`, except that some are null or empty. The timestamps end in the past
    /// for up to an hour's worth of milliseconds, so that no retention takes the records.
    pub(crate) fn new(seed: u64, value_bytes: RangeInclusive<usize>) -> Self {
        let noise_bytes = value_bytes.end() + 64 * 1024;
        let noise = (0..noise_bytes as u64).map(|i| mix(seed ^ i).to_le_bytes()[0]).collect();
        Self { seed, start_ms: wall_ms() - 3_600_000, value_bytes, noise }
    }

    /// The record with this ordinal in this partition.
    pub(crate) fn record(&self, partition: i32, ordinal: u64) -> Record<'_> {
        let dice = mix(self.seed ^ mix(u64::from(partition.unsigned_abs()) << 40 ^ ordinal));
        let key = match dice % 16 {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some(format!("{partition}/{ordinal}").into_bytes()),
        };
        let value = match (dice >> 4) % 16 {
            0 => None,
            1 => Some(&self.noise[..0]),
            _ => {
                let spread = (self.value_bytes.end() - self.value_bytes.start() + 1) as u64;
                let bytes = self.value_bytes.start() + ((dice >> 8) % spread) as usize;
                let from = ((dice >> 32) % (64 * 1024)) as usize;
                Some(&self.noise[from..from + bytes])
            }
        };
        let headers = match (dice >> 60) % 4 {
            // Repeats, bytes above 127, an empty and a null value.
            0 => vec![
                ("trace", Some(dice.to_le_bytes().to_vec())),
                ("trace", Some(vec![0, 127, 128, 255])),
                ("empty", Some(Vec::new())),
                ("null", None),
            ],
            _ => Vec::new(),
        };
        let timestamp_ms = self.start_ms + i64::try_from(ordinal).expect("few enough records");
        Record { timestamp_ms, key, value, headers }
    }

    /// The ordinal that a timestamp stands for; `None` if it is before the start.
    pub(crate) fn ordinal(&self, timestamp_ms: i64) -> Option<u64> {
        u64::try_from(timestamp_ms - self.start_ms).ok()
    }

    /// When the record with this ordinal was made, in milliseconds since the Unix epoch.
    pub(crate) fn timestamp_ms(&self, ordinal: u64) -> i64 {
        self.start_ms + i64::try_from(ordinal).expect("few enough records")
    }
}

/// splitmix64: every bit of the result depends on every bit of `x`.
pub(crate) const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_the_same_each_time_and_differs_from_its_neighbours() {
        let content = Content::new(7, 100..=200);
        assert_eq!(content.record(3, 50), content.record(3, 50));
        assert_ne!(content.record(3, 50), content.record(3, 51));
        assert_ne!(content.record(3, 50), content.record(4, 50));
        assert_eq!(content.ordinal(content.record(3, 50).timestamp_ms), Some(50));
    }

    #[test]
    fn every_kind_of_record_occurs() {
        let content = Content::new(7, 100..=200);
        let records: Vec<_> = (0..1000).map(|ordinal| content.record(0, ordinal)).collect();
        for (what, found) in [
            ("null key", records.iter().any(|r| r.key.is_none())),
            ("empty key", records.iter().any(|r| r.key.as_ref().is_some_and(Vec::is_empty))),
            ("null value", records.iter().any(|r| r.value.is_none())),
            ("empty value", records.iter().any(|r| r.value.is_some_and(<[u8]>::is_empty))),
            ("shortest", records.iter().any(|r| r.value.is_some_and(|v| v.len() == 100))),
            ("longest", records.iter().any(|r| r.value.is_some_and(|v| v.len() == 200))),
            ("headers", records.iter().any(|r| r.headers.len() == 4)),
            ("no headers", records.iter().any(|r| r.headers.is_empty())),
        ] {
            assert!(found, "{what}");
        }
    }
}
