//! Records for tests: owned, and any kind of them.

use crate::ids::{Offset, Partition};
use crate::record::{Header, RecordRef, TimestampType};
use proptest::collection::vec;
use proptest::prelude::*;

/// A record that owns its parts.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Sample {
    /// A record at `offset` whose value is so many bytes long.
    pub(crate) fn plain(offset: i64, value_bytes: usize) -> Self {
        Self {
            offset,
            timestamp_ms: 1_545_084_650_987,
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some((0..value_bytes).map(|at| (at * 7 + 13) as u8).collect()),
            headers: Vec::new(),
        }
    }

    /// Any record.
    pub(crate) fn any(bytes_max: usize) -> impl Strategy<Value = Self> {
        let bytes = move || proptest::option::weighted(0.9, vec(any::<u8>(), 0..bytes_max));
        let name =
            prop_oneof![3 => "[a-z-]{0,40}".prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..90)];
        let number = || prop_oneof![4 => 0..1_800_000_000_000_i64, 1 => any::<i64>(), 1 => -1..12_i64];
        let kind = prop_oneof![
            Just(TimestampType::None),
            Just(TimestampType::CreateTime),
            Just(TimestampType::LogAppendTime)
        ];
        (number(), number(), kind, bytes(), bytes(), vec((name, bytes()), 0..4)).prop_map(
            |(offset, timestamp_ms, timestamp_type, key, value, headers)| Self {
                offset,
                timestamp_ms,
                timestamp_type,
                key,
                value,
                headers,
            },
        )
    }

    pub(crate) fn headers(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(|(name, value)| Header { name, value: value.as_deref() }).collect()
    }
}

/// Lends `samples` to `f` as records of `partition`.
pub(crate) fn with_records<T>(
    partition: Partition,
    samples: &[Sample],
    f: impl FnOnce(&[RecordRef<'_>]) -> T,
) -> T {
    let headers: Vec<Vec<Header<'_>>> = samples.iter().map(Sample::headers).collect();
    let records: Vec<RecordRef<'_>> = samples
        .iter()
        .zip(&headers)
        .map(|(sample, headers)| RecordRef {
            partition,
            offset: Offset(sample.offset),
            timestamp_ms: sample.timestamp_ms,
            timestamp_type: sample.timestamp_type,
            key: sample.key.as_deref(),
            value: sample.value.as_deref(),
            headers,
        })
        .collect();
    f(&records)
}
