//! `expected.json`: records, what their events must decode to, and what single peers make of them.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectations {
    #[serde(rename = "about")]
    _about: Vec<String>,
    pub(crate) cases: Vec<Case>,
    pub(crate) exceptions: Vec<Exception>,
}

/// One event.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(rename = "about")]
    _about: String,
    pub(crate) bootstrap_servers: String,
    /// Makes it an event of Amazon MSK.
    pub(crate) event_source_arn: Option<String>,
    pub(crate) topic: String,
    /// Which records the event holds, as ranges; all if absent.
    pub(crate) part: Option<Vec<[u32; 2]>>,
    pub(crate) records: Vec<CaseRecord>,
}

/// One record that goes into the engine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseRecord {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) timestamp_type: String,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<CaseHeader>,
}

/// One header. `wire` is the name's bytes where `name` is only what a reader sees of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseHeader {
    pub(crate) name: String,
    wire: Option<String>,
    pub(crate) value: Option<Bytes>,
}

/// Bytes as one likes to read them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Bytes {
    Text(String),
    Hex { hex: String },
    Repeated { text: String, times: usize },
}

/// What a peer makes of some events, other than what is expected of all.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    pub(crate) peer: String,
    pub(crate) cases: Vec<String>,
    /// Part of the message with which it refuses the event.
    pub(crate) rejects: Option<String>,
    /// What it reads instead, by JSON pointer into the normal form.
    #[serde(default)]
    pub(crate) reads: Map<String, Value>,
    /// Which bytes it reads as UTF-8 text, U+FFFD for what is not; pointers as above.
    #[serde(default)]
    pub(crate) reads_as_text: Vec<String>,
    pub(crate) because: String,
}

impl Expectations {
    /// The expectations of this directory.
    pub(crate) fn load() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/expected.json");
        let text = std::fs::read(&path).expect("expected.json is readable");
        let mut deserializer = serde_json::Deserializer::from_slice(&text);
        Self::deserialize(&mut deserializer).expect("expected.json has the form that cases.rs states")
    }

    /// The case of an event.
    pub(crate) fn case(&self, event: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.name == event)
    }
}

impl Bytes {
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Hex { hex } => from_hex(hex),
            Self::Repeated { text, times } => text.repeat(*times).into_bytes(),
        }
    }
}

impl CaseHeader {
    /// The name's bytes as the producer wrote them.
    pub(crate) fn wire_name(&self) -> Vec<u8> {
        self.wire.as_deref().map_or_else(|| self.name.clone().into_bytes(), from_hex)
    }
}

impl Case {
    /// The records that are in the event.
    fn selected(&self) -> Vec<&CaseRecord> {
        match &self.part {
            None => self.records.iter().collect(),
            Some(ranges) => {
                ranges.iter().flat_map(|[from, to]| &self.records[*from as usize..*to as usize]).collect()
            }
        }
    }

    /// The normal form that every peer must arrive at (see README.md): what was put in, but that a
    /// null header value reads as an empty one.
    pub(crate) fn expected(&self) -> Value {
        let mut records: Map<String, Value> = Map::new();
        for record in self.selected() {
            let headers: Vec<Value> = record
                .headers
                .iter()
                .map(|header| {
                    json!([
                        header.name,
                        header.value.as_ref().map_or_else(String::new, |value| hex(&value.to_vec()))
                    ])
                })
                .collect();
            let list = records
                .entry(format!("{}-{}", self.topic, record.partition))
                .or_insert_with(|| Value::Array(Vec::new()));
            list.as_array_mut().expect("made above").push(json!({
                "topic": self.topic,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp_ms": record.timestamp_ms,
                "timestamp_type": record.timestamp_type,
                "key": record.key.as_ref().map(|key| hex(&key.to_vec())),
                "value": record.value.as_ref().map(|value| hex(&value.to_vec())),
                "headers": headers,
            }));
        }
        json!({
            "event_source": if self.event_source_arn.is_some() { "aws:kafka" } else { "SelfManagedKafka" },
            "event_source_arn": self.event_source_arn,
            "bootstrap_servers": self.bootstrap_servers,
            "records": records,
        })
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four_bits: u8| char::from(DIGITS[usize::from(four_bits)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "hex of half a byte: {text}");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits"))
        .collect()
}

/// Every peer, by the name that `expected.json` and the dumps use.
pub(crate) const PEERS: [&str; 7] = [
    "rust/aws_lambda_events",
    "python/data_class",
    "python/parser",
    "typescript/types",
    "typescript/parser",
    "go/aws-lambda-go",
    "java/serialization",
];

/// The events in `directory`, by name.
pub(crate) fn read_events(directory: &Path) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let mut events = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy();
        let name = name.strip_suffix(".json").expect("only events lie in the directory");
        events.insert(name.to_owned(), std::fs::read(&path)?);
    }
    Ok(events)
}
