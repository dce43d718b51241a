//! A capture in memory, to be sent or handed out again and again.
//!
//! Partitions are numbered anew, from 0, in the order of their numbers; each keeps its records in
//! their order. There are two orders across partitions: that in which the records were read
//! (which is how a client hands them out, in runs), and that of their timestamps (which is how they
//! were produced).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use pelton::record::{Header, TimestampType};
use pelton::source::replay::{
    Block, CaptureError, CaptureReader, CapturedRecord, Header as CaptureHeader, Keep, Part, Totals,
};

use super::filling::Filler;
use super::values::Content;

/// What of a capture is kept in memory, bookkeeping included. What lies behind is left out, with a
/// remark.
pub const REPLAY_BYTES_MAX: u64 = 2 << 30;
/// What a record costs beside its own bytes.
const RECORD_OVERHEAD_BYTES: u64 = 128;
/// What a header costs beside its own bytes.
const HEADER_OVERHEAD_BYTES: u64 = 32;

/// Why a capture cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It cannot be opened.
    #[error("{path}: {reason}; give a file that `pelton-harness capture` wrote")]
    Open {
        /// The file.
        path: String,
        /// The system's words.
        reason: std::io::Error,
    },
    /// It cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// No record of it is whole.
    #[error("{path} has no record to replay{damage}; capture the topic again")]
    Empty {
        /// The file.
        path: String,
        /// What is wrong with it, if anything.
        damage: String,
    },
}

/// A record to be handed out. Its bytes live as long as the process.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// `None` for null.
    pub key: Option<&'static [u8]>,
    /// `None` for null.
    pub value: Option<&'static [u8]>,
    /// In order.
    pub headers: &'static [Header<'static>],
    /// In milliseconds since the Unix epoch, and who set it; `None`: whenever it is handed out.
    pub timestamp: Option<(i64, TimestampType)>,
}

impl Recorded {
    /// Bytes of key, value and headers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let headers: usize =
            self.headers.iter().map(|one| one.name.len() + one.value.map_or(0, <[u8]>::len)).sum();
        (self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + headers) as u64
    }
}

/// The records of one partition.
#[derive(Debug)]
pub struct RecordedPartition {
    /// Its number in the topic that was captured.
    pub captured_as: i32,
    /// The offset of its first record there.
    pub first_offset: i64,
    /// In order. Never empty.
    pub records: Vec<Recorded>,
}

/// Records in the order in which they were read: so many of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The place in [`Recording::partitions`].
    pub partition: u32,
    /// How many.
    pub records: u32,
}

/// The next record of a partition, by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Milliseconds after the first.
    pub at_ms: u64,
    /// The place in [`Recording::partitions`].
    pub partition: u32,
}

/// A capture in memory.
pub struct Recording {
    path: PathBuf,
    header: Option<CaptureHeader>,
    keep: Keep,
    partitions: Vec<RecordedPartition>,
    runs: Vec<Run>,
    sendings: Vec<Sending>,
    totals: Totals,
    remarks: Vec<String>,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording")
            .field("path", &self.path)
            .field("partitions", &self.partitions.len())
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}

/// One is only ever equal to itself: see [`Recording::load`].
impl PartialEq for Recording {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// What tells one recording from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
    content: Content,
    seed: u64,
}

/// What was loaded. Records must outlive the engine's threads, so their bytes are never freed; and
/// who resolves a spec many times over must not pay for them each time.
static LOADED: Mutex<Vec<(Identity, &'static Recording)>> = Mutex::new(Vec::new());

impl Recording {
    /// Loads the capture at `path`; a file that was loaded before and has not changed is not read
    /// again. Bytes that the capture has not kept are made of `content` and `seed`.
    ///
    /// # Errors
    /// If there is no record that can be replayed.
    pub fn load(path: &Path, content: Content, seed: u64) -> Result<&'static Self, RecordingError> {
        let open = |reason| RecordingError::Open { path: path.display().to_string(), reason };
        let file = File::open(path).map_err(open)?;
        let metadata = file.metadata().map_err(open)?;
        let identity = Identity {
            path: path.to_owned(),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            content,
            seed,
        };
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = loaded.iter().find(|(known, _)| *known == identity) {
            return Ok(*known);
        }
        let recording: &'static Self =
            Box::leak(Box::new(Self::read(file, path, content, seed, REPLAY_BYTES_MAX)?));
        loaded.push((identity, recording));
        Ok(recording)
    }

    fn read(
        source: impl Read,
        path: &Path,
        content: Content,
        seed: u64,
        bytes_max: u64,
    ) -> Result<Self, RecordingError> {
        let name = path.display().to_string();
        let mut reader = CaptureReader::open(source, &name)?;
        let mut gathering = Gathering::new(content, seed, bytes_max);
        let mut keep = Keep::Whole;
        while !gathering.is_full
            && let Some(block) = reader.next_block()?
        {
            keep = block.keep;
            gathering.add(&block);
        }
        let mut remarks: Vec<String> = reader
            .damages()
            .iter()
            .map(|damage| format!("{name}, {damage}; what is whole is replayed"))
            .collect();
        if reader.damages_more() > 0 {
            remarks.push(format!("{name}: {} more damaged places", reader.damages_more()));
        }
        if gathering.is_full {
            remarks.push(format!(
                "{name}: only its first {} records are replayed: those fill {} MiB of memory, the limit is {} MiB",
                gathering.totals.records,
                gathering.bytes >> 20,
                bytes_max >> 20
            ));
        }
        if gathering.totals.records == 0 {
            let damage = remarks.first().map_or(String::new(), |remark| format!(" ({remark})"));
            return Err(RecordingError::Empty { path: name, damage });
        }
        let header = reader.header().cloned();
        let (partitions, runs) = gathering.renumbered();
        Ok(Self {
            path: path.to_owned(),
            header,
            keep,
            sendings: by_time(&partitions),
            partitions,
            runs,
            totals: gathering.totals,
            remarks,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the capture says of itself, if that place is whole.
    #[must_use]
    pub fn header(&self) -> Option<&CaptureHeader> {
        self.header.as_ref()
    }

    /// What it has kept of each record.
    #[must_use]
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// The partitions that have records, at least one.
    #[must_use]
    pub fn partitions(&self) -> &[RecordedPartition] {
        &self.partitions
    }

    /// All records in the order in which they were read.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// All records in the order of their timestamps; in each partition in its own order.
    #[must_use]
    pub fn sendings(&self) -> &[Sending] {
        &self.sendings
    }

    /// How long one repetition takes at the captured rate: from the first record to the last, and a
    /// mean gap. Zero if the timestamps do not differ.
    #[must_use]
    pub fn period(&self) -> Duration {
        let (Some(last), gaps @ 1..) = (self.sendings.last(), self.sendings.len() as u64 - 1) else {
            return Duration::ZERO;
        };
        let span = Duration::from_millis(last.at_ms);
        span + Duration::from_secs_f64(span.as_secs_f64() / gaps as f64)
    }

    /// Sums over its records.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What is wrong with the file, for the person who reads the results.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }
}

/// Records on their way into memory.
struct Gathering {
    filler: Filler,
    partitions: BTreeMap<i32, RecordedPartition>,
    /// By captured number.
    runs: Vec<(i32, u32)>,
    totals: Totals,
    bytes: u64,
    bytes_max: u64,
    is_full: bool,
}

impl Gathering {
    fn new(content: Content, seed: u64, bytes_max: u64) -> Self {
        Self {
            filler: Filler::new(content, seed),
            partitions: BTreeMap::new(),
            runs: Vec::new(),
            totals: Totals::default(),
            bytes: 0,
            bytes_max,
            is_full: false,
        }
    }

    /// Takes the block's records, as far as there is room.
    fn add(&mut self, block: &Block<'_>) {
        let body: &'static [u8] = block.body().to_vec().leak();
        let block = block.over(body);
        // All headers of the block in one piece, and then slices of it.
        let (mut headers, mut records) = (Vec::new(), 0);
        for record in block.records() {
            let mut own = Totals::default();
            record.count(&mut own);
            let overhead = RECORD_OVERHEAD_BYTES + HEADER_OVERHEAD_BYTES * record.headers.len() as u64;
            if self.bytes.saturating_add(own.bytes()).saturating_add(overhead) > self.bytes_max {
                self.is_full = true;
                break;
            }
            self.bytes += own.bytes() + overhead;
            record.count(&mut self.totals);
            for header in record.headers {
                headers.push(Header {
                    name: self.filler.name(header.name),
                    value: header.value.map(|value| self.filler.header(value)),
                });
            }
            records += 1;
        }
        let mut headers: &'static [Header<'static>] = headers.leak();
        for record in block.records().take(records) {
            let (own, rest) = headers.split_at(record.headers.len());
            headers = rest;
            self.push(&record, own);
        }
    }

    fn push(&mut self, record: &CapturedRecord<'static>, headers: &'static [Header<'static>]) {
        let number = record.partition.0;
        let recorded = Recorded {
            key: record.key.map(|key| self.filler.key(key)),
            value: record.value.map(|value| self.filler.value(value)),
            headers,
            timestamp: Some((record.timestamp_ms, record.timestamp_type)),
        };
        let partition = self.partitions.entry(number).or_insert_with(|| RecordedPartition {
            captured_as: number,
            first_offset: record.offset.0,
            records: Vec::new(),
        });
        partition.records.push(recorded);
        match self.runs.last_mut() {
            Some((last, records)) if *last == number && *records < u32::MAX => *records += 1,
            _ => self.runs.push((number, 1)),
        }
    }

    fn renumbered(&mut self) -> (Vec<RecordedPartition>, Vec<Run>) {
        let numbers: BTreeMap<i32, u32> = self.partitions.keys().copied().zip(0..).collect();
        let runs =
            self.runs.iter().map(|(number, records)| Run { partition: numbers[number], records: *records });
        let runs = runs.collect();
        (std::mem::take(&mut self.partitions).into_values().collect(), runs)
    }
}

/// All records by time. A partition's records stay in their order: one with an earlier timestamp than
/// its predecessor (clocks differ between producers) is sent right after it.
fn by_time(partitions: &[RecordedPartition]) -> Vec<Sending> {
    let mut sendings = Vec::new();
    for (partition, records) in (0..).zip(partitions) {
        let mut latest = i64::MIN;
        for record in &records.records {
            latest = latest.max(record.timestamp.map_or(i64::MIN, |(ms, _)| ms));
            sendings.push((latest, partition));
        }
    }
    // Stable: in each partition times do not decrease.
    sendings.sort_by_key(|(ms, _)| *ms);
    let first = sendings.first().map_or(0, |(ms, _)| *ms);
    sendings
        .iter()
        .map(|(ms, partition)| Sending { at_ms: ms.abs_diff(first), partition: *partition })
        .collect()
}

/// The bytes of a part that were kept.
pub(super) fn kept(part: Part<'static>) -> Option<&'static [u8]> {
    match part {
        Part::Bytes(bytes) => Some(bytes),
        Part::Size(_) | Part::Hashed { .. } => None,
    }
}

/// Captures for tests.
#[cfg(test)]
pub(crate) mod samples {
    use pelton::ids::{Offset, Partition};
    use pelton::record::{RecordRef, TimestampType};
    use pelton::source::replay::{CaptureWriter, Header, Keep};

    use super::{Content, REPLAY_BYTES_MAX, Recording};

    /// A capture of records given as partition, offset, timestamp and value.
    pub(crate) fn capture(records: &[(i32, i64, i64, &str)], keep: Keep) -> Vec<u8> {
        let header = Header { topic: "t".into(), partitions: 9, captured_at_ms: 0, origin: String::new() };
        let mut writer = CaptureWriter::new(Vec::new(), "sample", &header, keep, 1).unwrap();
        for (partition, offset, timestamp_ms, value) in records {
            let record = RecordRef {
                partition: Partition(*partition),
                offset: Offset(*offset),
                timestamp_ms: *timestamp_ms,
                timestamp_type: TimestampType::CreateTime,
                key: Some(&value.as_bytes()[..1]),
                value: Some(value.as_bytes()),
                headers: &[],
            };
            writer.append(&record).unwrap();
        }
        writer.finish().unwrap().0
    }

    /// The same, loaded.
    pub(crate) fn recording(records: &[(i32, i64, i64, &str)]) -> &'static Recording {
        let bytes = capture(records, Keep::Whole);
        let read = Recording::read(&bytes[..], "sample".as_ref(), Content::Json, 1, REPLAY_BYTES_MAX);
        Box::leak(Box::new(read.unwrap()))
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{capture, recording};
    use super::*;
    use crate::workload::arrival::{Arrival, Schedule, Speed};
    use crate::workload::scenario::Workload;
    use crate::workload::spec::Spec;

    const MIXED: [(i32, i64, i64, &str); 6] = [
        (7, 100, 1_000, "a"),
        (7, 101, 1_010, "b"),
        (2, 50, 1_005, "c"),
        (7, 102, 1_008, "d"),
        (7, 105, 1_040, "e"),
        (2, 51, 1_020, "f"),
    ];

    fn values(records: &[Recorded]) -> Vec<&[u8]> {
        records.iter().map(|record| record.value.unwrap()).collect()
    }

    fn schedule(replay: &'static Recording, speed: f64) -> Schedule {
        let workload = Spec::default().resolve().unwrap().workload;
        let arrival = Arrival::Captured(Speed(speed));
        Schedule::of(&Workload { arrival, replay: Some(replay), ..workload }).unwrap()
    }

    #[test]
    fn partitions_are_numbered_anew_and_keep_their_records_in_order() {
        let recording = recording(&MIXED);
        let [two, seven] = recording.partitions() else { panic!("{recording:?}") };
        assert_eq!((two.captured_as, two.first_offset), (2, 50));
        assert_eq!((seven.captured_as, seven.first_offset), (7, 100));
        assert_eq!(values(&two.records), [b"c", b"f"]);
        assert_eq!(values(&seven.records), [b"a", b"b", b"d", b"e"]);
        assert_eq!(seven.records[1].timestamp, Some((1_010, TimestampType::CreateTime)));
        let runs: Vec<_> = recording.runs().iter().map(|run| (run.partition, run.records)).collect();
        assert_eq!(runs, [(1, 2), (0, 1), (1, 2), (0, 1)]);
        assert_eq!((recording.totals().records, recording.totals().value_bytes), (6, 6));
    }

    #[test]
    fn sendings_follow_the_timestamps_but_never_pass_an_earlier_record_of_their_partition() {
        let sendings: Vec<_> =
            recording(&MIXED).sendings().iter().map(|one| (one.at_ms, one.partition)).collect();
        // The record of 1008 follows that of 1010 in its partition, so it is sent with it.
        assert_eq!(sendings, [(0, 1), (5, 0), (10, 1), (10, 1), (20, 0), (40, 1)]);
    }

    #[test]
    fn captured_times_repeat_with_the_records_and_scale_with_the_speed() {
        let recording = recording(&MIXED);
        assert_eq!(recording.period(), Duration::from_millis(48));
        let times = |speed| {
            let mut schedule = schedule(recording, speed);
            (0..8).map(|_| schedule.next_send().as_micros()).collect::<Vec<_>>()
        };
        assert_eq!(times(1.0), [0, 5_000, 10_000, 10_000, 20_000, 40_000, 48_000, 53_000]);
        assert_eq!(times(2.0), [0, 2_500, 5_000, 5_000, 10_000, 20_000, 24_000, 26_500]);
    }

    #[test]
    fn without_differing_timestamps_there_are_no_times_to_follow() {
        assert_eq!(recording(&[(0, 0, -1, "a"), (0, 1, -1, "b")]).period(), Duration::ZERO);
        assert_eq!(recording(&[(0, 0, 5, "a")]).period(), Duration::ZERO);
    }

    #[test]
    fn what_exceeds_memory_is_left_out_with_a_remark() {
        let bytes = capture(&MIXED, Keep::Whole);
        let limit = 3 * (RECORD_OVERHEAD_BYTES + 2);
        let read = Recording::read(&bytes[..], "s".as_ref(), Content::Json, 1, limit).unwrap();
        assert_eq!(read.totals().records, 3);
        assert!(read.remarks()[0].contains("first 3 records"), "{:?}", read.remarks());
    }

    #[test]
    fn sizes_are_filled_with_bytes_that_repeat_with_the_seed_and_keys_that_stay_equal() {
        let records = [(0, 0, 1, "abc"), (0, 1, 2, "xyz uvw"), (0, 2, 3, "abcd")];
        let bytes = capture(&records, Keep::Sizes);
        let read = |seed| {
            Recording::read(&bytes[..], "s".as_ref(), Content::Random, seed, REPLAY_BYTES_MAX).unwrap()
        };
        let (first, again, other) = (read(1), read(1), read(2));
        let own = |recording: &Recording| -> Vec<(Vec<u8>, Vec<u8>)> {
            let records = &recording.partitions()[0].records;
            records.iter().map(|one| (one.key.unwrap().to_vec(), one.value.unwrap().to_vec())).collect()
        };
        assert_eq!(own(&first), own(&again));
        assert_ne!(own(&first), own(&other));
        let sizes: Vec<_> = own(&first).iter().map(|(key, value)| (key.len(), value.len())).collect();
        assert_eq!(sizes, [(1, 3), (1, 7), (1, 4)]);
        // "abc" and "abcd" have the same key.
        assert_eq!(own(&first)[0].0, own(&first)[2].0);
        let json = Recording::read(&bytes[..], "s".as_ref(), Content::Json, 1, REPLAY_BYTES_MAX).unwrap();
        for (_, value) in own(&json) {
            assert!(serde_json::from_slice::<serde_json::Value>(&value).is_ok(), "{value:?}");
        }
    }

    #[test]
    fn a_capture_without_records_cannot_be_replayed() {
        let bytes = capture(&[], Keep::Whole);
        let error = Recording::read(&bytes[..], "empty.capture".as_ref(), Content::Json, 1, REPLAY_BYTES_MAX);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("empty.capture") && error.contains("capture the topic again"), "{error}");
    }

    #[test]
    fn a_file_is_loaded_once_as_long_as_it_stays_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.capture");
        std::fs::write(&path, capture(&MIXED, Keep::Whole)).unwrap();
        let load = || Recording::load(&path, Content::Json, 1).unwrap();
        let first = load();
        assert_eq!(first, load());
        assert_ne!(first, Recording::load(&path, Content::Json, 2).unwrap());
        std::fs::write(&path, capture(&MIXED[..3], Keep::Whole)).unwrap();
        assert_eq!(load().totals().records, 3);
    }
}
