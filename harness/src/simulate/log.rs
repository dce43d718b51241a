//! The topic: records at offsets, with gaps.

use std::sync::LazyLock;

use pelton::ids::{Offset, Partition};
use pelton::record::{Header, RecordRef, TimestampType};

use super::random::Random;
use super::scenario::Scenario;

/// A value that records may have. Made once for the process: making bytes would cost more than all
/// the rest of a run.
#[derive(Debug)]
struct Value {
    bytes: Option<Vec<u8>>,
    /// Whether [`FILTER`] lets it pass.
    kept: bool,
}

/// The pattern of simulated mappings that filter.
pub(crate) const FILTER: &str = r#"{"value":{"keep":[true]}}"#;

const SMALL: std::ops::Range<usize> = 0..48;
const MEDIUM: std::ops::Range<usize> = 48..56;
/// Kibibytes of the values behind the medium ones.
const LARGE_KIB: [usize; 4] = [12, 48, 96, 150];

static VALUES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let mut random = Random::new(0x7065_6c74_6f6e);
    let mut values = Vec::new();
    for number in SMALL {
        values.push(match number {
            0 => Value { bytes: None, kept: true },
            1 => Value { bytes: Some(Vec::new()), kept: true },
            // Not text: no filter applies.
            2..=9 => Value { bytes: Some(noise(&mut random, number * 9)), kept: true },
            _ => json(number % 3 != 0, number * 5),
        });
    }
    for number in MEDIUM {
        values.push(json(number % 4 != 0, (number - 47) * 400));
    }
    values.extend(LARGE_KIB.map(|kib| json(true, kib << 10)));
    values
});

fn noise(random: &mut Random, bytes: usize) -> Vec<u8> {
    let mut noise: Vec<u8> = (0..bytes).map(|_| random.bits().to_le_bytes()[0]).collect();
    noise.push(0xff);
    noise
}

fn json(kept: bool, padding: usize) -> Value {
    Value { bytes: Some(format!(r#"{{"keep":{kept},"pad":"{}"}}"#, "x".repeat(padding)).into()), kept }
}

const KEYS: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"customer-17"), Some(&[0, 255, 128])];

const HEADERS: [&[Header<'static>]; 3] = [
    &[],
    &[Header { name: b"trace", value: Some(b"00-4bf92f3577b34da6") }],
    &[
        Header { name: b"a\"b", value: Some(&[0, 1, 127, 128, 255]) },
        Header { name: b"a\"b", value: None },
        Header { name: &[0xff, b'z'], value: Some(b"") },
    ],
];

/// One record of a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    /// Where it lies.
    pub(crate) offset: i64,
    /// By the wall clock of its time.
    pub(crate) timestamp_ms: i64,
    /// Deleted by compaction or retention.
    pub(crate) deleted: bool,
    /// The function fails on it every time.
    pub(crate) poisoned: bool,
    value: u16,
    key: u8,
    headers: u8,
}

impl Stored {
    /// The record that stands for it.
    #[must_use]
    pub(crate) fn record(&self, partition: usize) -> RecordRef<'static> {
        RecordRef {
            partition: number(partition),
            offset: Offset(self.offset),
            timestamp_ms: self.timestamp_ms,
            timestamp_type: TimestampType::CreateTime,
            key: KEYS[usize::from(self.key)],
            value: VALUES[usize::from(self.value)].bytes.as_deref(),
            headers: HEADERS[usize::from(self.headers)],
        }
    }

    /// Whether [`FILTER`] lets it pass.
    #[must_use]
    pub(crate) fn is_kept(&self) -> bool {
        VALUES[usize::from(self.value)].kept
    }

    /// Bytes of its value.
    #[must_use]
    pub(crate) fn value_bytes(&self) -> usize {
        VALUES[usize::from(self.value)].bytes.as_ref().map_or(0, Vec::len)
    }
}

/// A partition as the engine names it.
#[must_use]
pub(crate) fn number(partition: usize) -> Partition {
    Partition(i32::try_from(partition).unwrap_or(i32::MAX))
}

/// The log of one partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// Every record ever written, in order; those that were deleted say so.
    pub(crate) records: Vec<Stored>,
    /// The first offset that is kept.
    pub(crate) first: i64,
    /// The offset of the next record.
    pub(crate) end: i64,
}

impl Log {
    /// An empty log that begins at `first`.
    #[must_use]
    pub(crate) const fn new(first: i64) -> Self {
        Self { records: Vec::new(), first, end: first }
    }

    /// Writes a record, and sometimes what leaves a gap: a transaction's marker, records of an
    /// aborted one.
    pub(crate) fn append(&mut self, scenario: &Scenario, timestamp_ms: i64, random: &mut Random) {
        let value = if random.chance(scenario.large_permille) {
            MEDIUM.end + random.place(LARGE_KIB.len())
        } else if random.chance(scenario.medium_permille) {
            MEDIUM.start + random.place(MEDIUM.len())
        } else {
            random.place(SMALL.len())
        };
        self.records.push(Stored {
            offset: self.end,
            timestamp_ms,
            deleted: false,
            poisoned: random.chance(scenario.poison_permille),
            value: u16::try_from(value).unwrap_or(0),
            key: u8::try_from(random.place(KEYS.len())).unwrap_or(0),
            headers: u8::try_from(random.place(HEADERS.len())).unwrap_or(0),
        });
        self.end += 1;
        if random.chance(scenario.gap_permille) {
            self.end += i64::try_from(random.between(1, 5)).unwrap_or(1);
        }
    }

    /// The place of the first record at `offset` or behind it.
    #[must_use]
    pub(crate) fn place(&self, offset: i64) -> usize {
        self.records.partition_point(|record| record.offset < offset)
    }

    /// The place of the record at `offset`, if there ever was one.
    #[must_use]
    pub(crate) fn find(&self, offset: i64) -> Option<usize> {
        let place = self.place(offset);
        self.records.get(place).filter(|record| record.offset == offset).map(|_| place)
    }

    /// Deletes one record, if there is one there still.
    pub(crate) fn compact(&mut self, place: usize) {
        // The last record of a log is never compacted away.
        if place + 1 < self.records.len() {
            self.records[place].deleted = true;
        }
    }

    /// Deletes everything before the record at `place`.
    pub(crate) fn retain_from(&mut self, place: usize) {
        if let Some(record) = self.records.get(place) {
            self.first = self.first.max(record.offset);
            self.records[..place].iter_mut().for_each(|record| record.deleted = true);
        }
    }
}
