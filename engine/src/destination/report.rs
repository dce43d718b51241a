//! What a destination is told, in AWS's words.

use std::fmt;

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Condition, Failure};
use crate::ids::{Offset, Partition, Topic};

/// The largest message that SNS takes, in bytes, and that SQS took for most of its life: queues that
/// were made with it keep it.
pub const MESSAGE_BYTES_MAX: usize = 262_144;
/// Room for everything in a message but the partitions and the texts of the mapping.
const MESSAGE_REST_BYTES: usize = 1_024;
/// Bytes of one partition in a message, its key not counted: four texts, names and punctuation.
const PARTITION_BYTES_MAX: usize = 256;

/// Writes what happened. What it knows is the same for all failures of a mapping.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// As the mapping names it.
    pub function_arn: String,
    /// `None` for self-managed Kafka.
    pub event_source_arn: Option<String>,
    /// As events have it.
    pub bootstrap_servers: String,
    /// The topic that was read.
    pub topic: Topic,
    /// Stands for the mapping in the keys of objects.
    pub mapping: Uuid,
}

/// A record for a Kafka topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaRecord {
    /// Of the record that was given up.
    pub key: Option<Vec<u8>>,
    /// What happened, with the event over this record as `payload`.
    pub value: Vec<u8>,
}

impl Reporter {
    /// What a queue or a topic of AWS gets: one message; more if there are so many partitions that
    /// one would be larger than [`MESSAGE_BYTES_MAX`]. `batchSize` counts the records of a message's
    /// partitions, `payloadSize` the whole event.
    #[must_use]
    pub fn messages(&self, failure: &Failure) -> Vec<Vec<u8>> {
        let partitions = partitions(failure);
        let texts = [self.function_arn.len(), self.bootstrap_servers.len()];
        let arn = self.event_source_arn.as_ref().map_or(0, String::len);
        let rest = MESSAGE_REST_BYTES + texts.iter().sum::<usize>() + arn;
        let room = MESSAGE_BYTES_MAX.saturating_sub(rest);
        let each = self.topic.as_str().len() + PARTITION_BYTES_MAX;
        partitions
            .chunks((room / each).max(1))
            .map(|some| {
                to_json(&self.report(
                    failure,
                    failure.condition.name(),
                    Info::Records { topic: &self.topic, partitions: some },
                ))
            })
            .collect()
    }

    /// What a bucket gets: the same, and the event as a text. It is escaped straight from where it
    /// lies; nothing is parsed.
    #[must_use]
    pub fn object(&self, failure: &Failure) -> Vec<u8> {
        let partitions = partitions(failure);
        let info = Info::Records { topic: &self.topic, partitions: &partitions };
        let mut body = to_json(&self.report(failure, failure.condition.name(), info));
        body.pop();
        body.extend_from_slice(br#","payload":""#);
        body.reserve(failure.event.len() + failure.event.len() / 16);
        for frame in failure.event.frames() {
            escape(&frame, &mut body);
        }
        body.extend_from_slice(br#""}"#);
        body
    }

    /// Where in a bucket: `aws/lambda/<mapping>/<topic>-<partition>/YYYY/MM/DD/` and time and a random
    /// UUID, with the first partition of the event.
    #[must_use]
    pub fn object_key(&self, failure: &Failure) -> String {
        let partition = failure.event.entries().next().map_or(Partition(0), |entry| entry.partition);
        let Civil { year, month, day, hour, minute, second, .. } = Civil::of(failure.at_ms);
        format!(
            "aws/lambda/{}/{}-{partition}/{year:04}/{month:02}/{day:02}/\
             {year:04}-{month:02}-{day:02}T{hour:02}.{minute:02}.{second:02}-{}",
            self.mapping,
            self.topic,
            Uuid::new_v4()
        )
    }

    /// What a Kafka topic gets: each record by itself, in order.
    pub fn records<'f>(&'f self, failure: &'f Failure) -> impl Iterator<Item = KafkaRecord> + 'f {
        let batch = failure.event.batch();
        failure.event.entries().map(move |entry| {
            let event = batch.part(std::iter::once(entry.position..entry.position + 1));
            let mut payload = Vec::new();
            event.write_to(&mut payload);
            let info = Info::Record { offset: entry.offset, timestamp_ms: entry.timestamp_ms };
            let mut report = self.report(failure, failure.condition.name_in_kafka(), info);
            report.request_context.function_arn = qualified(&self.function_arn);
            report.kafka_batch_info.batch_size = 1;
            report.kafka_batch_info.payload_size = payload.len();
            let mut value = to_json(&report);
            value.pop();
            value.extend_from_slice(br#","payload":"#);
            value.extend_from_slice(&payload);
            value.push(b'}');
            KafkaRecord { key: key_of(&payload), value }
        })
    }

    fn report<'r>(&'r self, failure: &'r Failure, condition: &'static str, info: Info<'r>) -> Report<'r> {
        let batch_size = match &info {
            Info::Records { partitions, .. } => partitions.iter().map(|one| one.records).sum(),
            Info::Record { .. } => 1,
        };
        Report {
            request_context: RequestContext {
                request_id: Uuid::new_v4().to_string(),
                function_arn: self.function_arn.clone(),
                condition,
                approximate_invoke_count: failure.invocations,
            },
            response_context: match (&failure.response, failure.condition) {
                // As AWS's Kinesis mapping was seen to do.
                (_, Condition::RecordAgeExceeded) => Response::Absent,
                (None, _) => Response::Null,
                (Some(response), _) => Response::Given(ResponseContext {
                    status_code: response.status_code,
                    executed_version: &response.executed_version,
                    function_error: response.function_error.as_deref(),
                }),
            },
            version: "1.0",
            timestamp: utc(failure.at_ms),
            kafka_batch_info: BatchInfo {
                batch_size,
                event_source_arn: self.event_source_arn.as_deref(),
                bootstrap_servers: &self.bootstrap_servers,
                payload_size: failure.event.len(),
                info,
            },
        }
    }
}

/// A function's ARN with a version: AWS shows `$LATEST` where none is given, in Kafka's records.
fn qualified(function_arn: &str) -> String {
    let parts = function_arn.split(':').count();
    if parts == 7 { format!("{function_arn}:$LATEST") } else { function_arn.to_owned() }
}

/// One partition of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failed {
    partition: Partition,
    records: u32,
    first: (Offset, i64),
    last: (Offset, i64),
}

/// In the order of their first records.
fn partitions(failure: &Failure) -> Vec<Failed> {
    let mut all: Vec<Failed> = Vec::new();
    for entry in failure.event.entries() {
        let place = (entry.offset, entry.timestamp_ms);
        let last = all.last_mut().filter(|last| last.partition == entry.partition);
        let known = match last {
            Some(last) => Some(last),
            None => all.iter_mut().find(|one| one.partition == entry.partition),
        };
        match known {
            Some(one) => {
                one.records += 1;
                one.last = place;
            }
            None => all.push(Failed { partition: entry.partition, records: 1, first: place, last: place }),
        }
    }
    all
}

fn to_json(report: &Report<'_>) -> Vec<u8> {
    serde_json::to_vec(report).expect("texts and numbers, to memory")
}

/// Appends JSON as the inside of a JSON string. What an event holds is text without control
/// characters: only quotes and backslashes stand out.
fn escape(json: &[u8], out: &mut Vec<u8>) {
    let mut rest = json;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// The key of the only record of an event.
fn key_of(event: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Event<'e> {
        #[serde(borrow)]
        records: std::collections::HashMap<std::borrow::Cow<'e, str>, [Record<'e>; 1]>,
    }
    #[derive(Deserialize)]
    struct Record<'e> {
        key: Option<&'e str>,
    }
    let event: Event<'_> = serde_json::from_slice(event).expect("an event is JSON");
    let [record] = event.records.into_values().next()?;
    Some(base64_simd::STANDARD.decode_to_vec(record.key?).expect("a key is base64"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'r> {
    request_context: RequestContext,
    #[serde(skip_serializing_if = "Response::is_absent")]
    response_context: Response<'r>,
    version: &'static str,
    timestamp: String,
    #[serde(rename = "KafkaBatchInfo")]
    kafka_batch_info: BatchInfo<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    request_id: String,
    function_arn: String,
    condition: &'static str,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Response<'r> {
    Absent,
    Null,
    Given(ResponseContext<'r>),
}

impl Response<'_> {
    const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext<'r> {
    status_code: u16,
    executed_version: &'r str,
    function_error: Option<&'r str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchInfo<'r> {
    batch_size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_source_arn: Option<&'r str>,
    bootstrap_servers: &'r str,
    payload_size: usize,
    #[serde(flatten)]
    info: Info<'r>,
}

/// Offsets are texts, as AWS has them.
enum Info<'r> {
    Records { topic: &'r Topic, partitions: &'r [Failed] },
    Record { offset: Offset, timestamp_ms: i64 },
}

impl Serialize for Info<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct One {
            offset: String,
            timestamp: String,
        }
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Records { topic, partitions } => {
                map.serialize_entry("recordsInfo", &RecordsInfo { topic, partitions })?;
            }
            Self::Record { offset, timestamp_ms } => {
                let timestamp = utc(*timestamp_ms);
                map.serialize_entry("recordInfo", &One { offset: offset.0.to_string(), timestamp })?;
            }
        }
        map.end()
    }
}

struct RecordsInfo<'r> {
    topic: &'r Topic,
    partitions: &'r [Failed],
}

impl Serialize for RecordsInfo<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Range {
            first_record_offset: String,
            last_record_offset: String,
            first_record_timestamp: String,
            last_record_timestamp: String,
        }
        serializer.collect_map(self.partitions.iter().map(|one| {
            let range = Range {
                first_record_offset: one.first.0.0.to_string(),
                last_record_offset: one.last.0.0.to_string(),
                first_record_timestamp: utc(one.first.1),
                last_record_timestamp: utc(one.last.1),
            };
            (format!("{}-{}", self.topic, one.partition), range)
        }))
    }
}

/// `2019-11-14T00:38:06.021Z`, of milliseconds since the Unix epoch.
pub(super) fn utc(unix_ms: i64) -> String {
    Civil::of(unix_ms).to_string()
}

/// A moment in UTC, by the Gregorian calendar.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    ms: i64,
}

impl Civil {
    /// Of milliseconds since the Unix epoch. By Howard Hinnant's `civil_from_days`.
    fn of(unix_ms: i64) -> Self {
        let (days, ms) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
        let days = days + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: ms / 3_600_000,
            minute: ms / 60_000 % 60,
            second: ms / 1_000 % 60,
            ms: ms % 1_000,
        }
    }
}

impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, ms } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}
