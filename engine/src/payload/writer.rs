//! Records to JSON, a run at a time.

use super::base64::base64_len;
use super::buffer::IndexEntry;
use super::decimal::decimal_len;
use super::escape::escaped_len;
use super::headers::numbers_len;
use super::template::Template;
use super::tier::Tier;
use crate::ids::Topic;
use crate::record::Record;

/// No record is shorter than this.
pub(crate) const RECORD_BYTES_MIN: usize =
    r#",{"topic":"","partition":0,"offset":0,"timestamp":0,"timestampType":"CREATE_TIME","headers":[]}"#
        .len();

/// Where a run is written.
#[derive(Debug)]
pub(crate) struct RunOut<'b> {
    /// The arena from the first free byte on, as far as it is granted; the last
    /// [`SLACK_BYTES`](super::arena::SLACK_BYTES) are for stores that spill.
    pub(crate) bytes: &'b mut [u8],
    /// At most so many bytes may become records.
    pub(crate) room: usize,
    /// The records were sized exactly and fit: write them all.
    pub(crate) exact: bool,
    /// One entry per record of the run, at least.
    pub(crate) index: &'b mut [IndexEntry],
    /// Where `bytes` begins in the arena.
    pub(crate) start: u32,
}

/// How much of a run was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// The exact number of bytes of `record`'s JSON, leading comma included.
pub fn encoded_len<R: Record>(template: &Template, record: &R) -> usize {
    let quoted = |name: &str, bytes: Option<&[u8]>| {
        bytes.map_or(0, |bytes| r#","":"""#.len() + name.len() + base64_len(bytes.len()))
    };
    let mut bytes = template.prefix().len()
        + decimal_len(record.offset().0)
        + r#","timestamp":"#.len()
        + decimal_len(record.timestamp_ms())
        + r#","timestampType":"""#.len()
        + record.timestamp_type().name().len()
        + quoted("key", record.key())
        + quoted("value", record.value())
        + r#","headers":[]}"#.len();
    let mut comma = 0;
    for header in record.headers() {
        bytes += comma + r#"{"":[]}"#.len() + escaped_len(header.name);
        bytes += header.value.map_or(0, numbers_len);
        comma = 1;
    }
    bytes
}

/// Writes records as long as they fit and returns how many did.
pub(crate) fn write_run<R: Record>(
    _tier: Tier,
    template: &Template,
    records: &[R],
    out: RunOut<'_>,
) -> Written {
    let mut written = Written::default();
    let prefix = std::str::from_utf8(template.prefix()).unwrap_or_default();
    let topic: String = prefix
        .strip_prefix(r#",{"topic":"#)
        .and_then(|rest| rest.rsplit_once(r#","partition""#))
        .and_then(|(topic, _)| serde_json::from_str(topic).ok())
        .unwrap_or_default();
    for record in records {
        let json = format!(",{}", super::reference::record_json(&Topic::new(&topic), record));
        if written.bytes + json.len() > out.room {
            break;
        }
        out.bytes[written.bytes..][..json.len()].copy_from_slice(json.as_bytes());
        out.index[written.records] = IndexEntry {
            offset: record.offset().0,
            timestamp_ms: record.timestamp_ms(),
            start: out.start + written.bytes as u32,
        };
        written.records += 1;
        written.bytes += json.len();
    }
    written
}
