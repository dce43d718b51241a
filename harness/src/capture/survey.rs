//! What a capture holds, in figures: gathered while it is written, or when it is read again.

use std::collections::BTreeMap;
use std::io::Read;

use hdrhistogram::Histogram;
use pelton::record::Record;
use pelton::source::replay::{
    CaptureError, CaptureReader, CapturedRecord, Header, Keep, Totals, VERSION as FILE_VERSION,
};
use serde::{Deserialize, Serialize};

use crate::result::ratio;

/// The version of [`CaptureSummary`].
const VERSION: u32 = 1;

/// What a capture holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptureSummary {
    /// The version of this format.
    pub version: u32,
    /// The file.
    pub file: String,
    /// The version of its format.
    pub file_version: u8,
    /// `whole` or `sizes`.
    pub keep: String,
    /// The topic; empty if that place of the file is damaged.
    pub topic: String,
    /// Partitions of the topic when it was captured.
    pub topic_partitions: u32,
    /// Where it comes from, in free words.
    pub origin: String,
    /// When the capture began, in milliseconds since the Unix epoch.
    pub captured_at_unix_ms: i64,
    /// Whether the file has its end, and all between.
    pub is_complete: bool,
    /// Somebody pressed Ctrl-C.
    pub interrupted: bool,
    /// Why the capture ended before it was to.
    pub failure: Option<String>,
    /// Records in it.
    pub records: u64,
    /// Bytes of their keys, values and headers.
    pub record_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Record bytes over file bytes.
    pub compression_ratio: f64,
    /// The earliest timestamp, in milliseconds since the Unix epoch; -1 if none has one.
    pub earliest_unix_ms: i64,
    /// The latest timestamp.
    pub latest_unix_ms: i64,
    /// Records per second between the two.
    pub records_per_s: f64,
    /// Keys.
    pub keys: SizeSummary,
    /// Values.
    pub values: SizeSummary,
    /// Headers: their names and values together, record by record.
    pub headers: SizeSummary,
    /// Partitions that have records.
    pub partitions: Vec<PartitionSummary>,
    /// Places of the file that are not whole.
    pub damages: Vec<String>,
    /// What else there is to know.
    pub remarks: Vec<String>,
}

/// A distribution of sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SizeSummary {
    /// Records that have one.
    pub count: u64,
    /// Records whose key or value is null, or that have no header.
    pub none_count: u64,
    /// The mean of those that are there.
    pub mean_bytes: f64,
    /// Half are not larger.
    pub p50_bytes: u64,
    /// Nine of ten are not larger.
    pub p90_bytes: u64,
    /// 99 of a hundred are not larger.
    pub p99_bytes: u64,
    /// The largest.
    pub max_bytes: u64,
}

/// What one partition has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionSummary {
    /// Its number.
    pub partition: i32,
    /// Records.
    pub records: u64,
    /// The first offset.
    pub first_offset: i64,
    /// The last offset.
    pub last_offset: i64,
}

/// Gathers figures, record by record.
#[derive(Debug)]
pub struct Survey {
    keep: Keep,
    keys: Sizes,
    values: Sizes,
    headers: Sizes,
    partitions: BTreeMap<i32, PartitionSummary>,
    earliest_ms: i64,
    latest_ms: i64,
    records: u64,
    left_out: u64,
    first_left_out: Option<String>,
}

#[derive(Debug)]
struct Sizes {
    some: Histogram<u64>,
    none: u64,
}

impl Sizes {
    fn new() -> Self {
        let some = Histogram::new_with_max(SIZE_MAX, 3);
        Self { some: some.expect("bounds and digits are constants within HDR's range"), none: 0 }
    }

    fn add(&mut self, bytes: Option<u64>) {
        match bytes {
            Some(bytes) => self.some.saturating_record(bytes),
            None => self.none += 1,
        }
    }

    fn summary(&self) -> SizeSummary {
        SizeSummary {
            count: self.some.len(),
            none_count: self.none,
            mean_bytes: if self.some.is_empty() { 0.0 } else { self.some.mean() },
            p50_bytes: self.some.value_at_quantile(0.5),
            p90_bytes: self.some.value_at_quantile(0.9),
            p99_bytes: self.some.value_at_quantile(0.99),
            max_bytes: self.some.max(),
        }
    }
}

/// Lengths in Kafka are signed 32-bit integers; headers have two each.
const SIZE_MAX: u64 = 1 << 32;

impl Survey {
    /// Nothing gathered yet.
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        Self {
            keep,
            keys: Sizes::new(),
            values: Sizes::new(),
            headers: Sizes::new(),
            partitions: BTreeMap::new(),
            earliest_ms: i64::MAX,
            latest_ms: i64::MIN,
            records: 0,
            left_out: 0,
            first_left_out: None,
        }
    }

    /// Records gathered.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Adds a live record.
    pub fn add_record<R: Record>(&mut self, record: &R) {
        let headers = record.headers().map(|one| one.name.len() + one.value.map_or(0, <[u8]>::len));
        let headers = headers.fold(None, |sum, bytes| Some(sum.unwrap_or(0) + bytes as u64));
        let len = |part: Option<&[u8]>| part.map(|part| part.len() as u64);
        let place = (record.partition().0, record.offset().0, record.timestamp_ms());
        self.add(place, len(record.key()), len(record.value()), headers);
    }

    /// Adds a captured record.
    pub fn add_captured(&mut self, record: &CapturedRecord<'_>) {
        let mut own = Totals::default();
        record.count(&mut own);
        let headers = (record.headers.len() > 0).then_some(own.header_bytes);
        let place = (record.partition.0, record.offset.0, record.timestamp_ms);
        self.add(place, record.key.map(|key| key.len()), record.value.map(|value| value.len()), headers);
    }

    fn add(&mut self, place: (i32, i64, i64), key: Option<u64>, value: Option<u64>, headers: Option<u64>) {
        let (partition, offset, timestamp_ms) = place;
        self.records += 1;
        self.keys.add(key);
        self.values.add(value);
        self.headers.add(headers);
        if timestamp_ms >= 0 {
            self.earliest_ms = self.earliest_ms.min(timestamp_ms);
            self.latest_ms = self.latest_ms.max(timestamp_ms);
        }
        let first = PartitionSummary { partition, records: 0, first_offset: offset, last_offset: offset };
        let summary = self.partitions.entry(partition).or_insert(first);
        summary.records += 1;
        summary.last_offset = summary.last_offset.max(offset);
        summary.first_offset = summary.first_offset.min(offset);
    }

    /// A record was too large to be captured.
    pub(super) fn leave_out(&mut self, error: &CaptureError) {
        self.left_out += 1;
        self.first_left_out.get_or_insert_with(|| error.to_string());
    }

    /// The figures.
    #[must_use]
    pub fn summary(
        &self,
        file: &str,
        header: Option<&Header>,
        totals: Totals,
        file_bytes: u64,
    ) -> CaptureSummary {
        let span_ms = self.latest_ms.saturating_sub(self.earliest_ms);
        let mut remarks = Vec::new();
        if let Some(first) = &self.first_left_out {
            remarks
                .push(format!("{} records were too large to be captured; the first: {first}", self.left_out));
        }
        CaptureSummary {
            version: VERSION,
            file: file.to_owned(),
            file_version: FILE_VERSION,
            keep: match self.keep {
                Keep::Whole => "whole".to_owned(),
                Keep::Sizes => "sizes".to_owned(),
            },
            topic: header.map_or(String::new(), |header| header.topic.clone()),
            topic_partitions: header.map_or(0, |header| header.partitions),
            origin: header.map_or(String::new(), |header| header.origin.clone()),
            captured_at_unix_ms: header.map_or(-1, |header| header.captured_at_ms),
            is_complete: false,
            interrupted: false,
            failure: None,
            records: totals.records,
            record_bytes: totals.bytes(),
            file_bytes,
            compression_ratio: ratio(totals.bytes() as f64, file_bytes as f64),
            earliest_unix_ms: if self.latest_ms >= 0 { self.earliest_ms } else { -1 },
            latest_unix_ms: self.latest_ms.max(-1),
            records_per_s: if self.latest_ms >= 0 {
                ratio(self.records.saturating_sub(1) as f64, span_ms as f64 / 1e3)
            } else {
                0.0
            },
            keys: self.keys.summary(),
            values: self.values.summary(),
            headers: self.headers.summary(),
            partitions: self.partitions.values().copied().collect(),
            damages: Vec::new(),
            remarks,
        }
    }
}

/// Reads a capture to its end and checks every byte of it.
///
/// # Errors
/// If it is no capture, of another version, or cannot be read. Damage is no error.
pub fn inspect(source: impl Read, name: &str) -> Result<CaptureSummary, CaptureError> {
    let mut reader = CaptureReader::open(source, name)?;
    let mut survey = Survey::new(Keep::Whole);
    while let Some(block) = reader.next_block()? {
        survey.keep = block.keep;
        for record in block.records() {
            survey.add_captured(&record);
        }
    }
    let mut summary = survey.summary(name, reader.header(), reader.totals(), reader.bytes());
    summary.damages = reader.damages().iter().map(|damage| format!("{name}, {damage}")).collect();
    if reader.damages_more() > 0 {
        summary.damages.push(format!("{name}: {} more damaged places", reader.damages_more()));
    }
    summary.is_complete = summary.damages.is_empty();
    Ok(summary)
}
