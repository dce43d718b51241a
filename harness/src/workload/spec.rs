//! A scenario: what is loaded, how, into which engine, against which function.
//!
//! [`Spec`] is what files and flags say, every part of it optional; the names are the same in
//! both. [`Spec::resolve`] fills in the defaults and refuses what cannot be run.

use std::path::PathBuf;
use std::time::Duration;

use pelton::filter::Pattern;
use pelton::source::replay::Keep;

use super::arrival::{Arrival, Speed};
use super::function::StubLaw;
use super::keys::{HeaderLaw, KeyLaw};
use super::partitions::PartitionLaw;
use super::recording::Recording;
use super::scenario::{Compression, End, FunctionSpec, MappingSpec, Scenario, SourceSpec, Workload};
use super::units::{Bytes, Share, Span};
use super::values::{Content, SizeLaw};

/// A scenario as written, in a file or in flags.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// What the scenario teaches, in one line.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,

    /// Where records come from without a broker of your own: `embedded` (librdkafka's mock
    /// cluster, in process) or `memory` (no broker at all, for the engine's own limit).
    #[arg(long, value_name = "SOURCE", help_heading = "Source")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<BuiltIn>,
    /// Load a real cluster instead: `host:port`, comma-separated.
    #[arg(long, value_name = "HOST:PORT,..", help_heading = "Source", conflicts_with = "source")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brokers: Option<String>,
    /// The topic on that cluster, which nobody else may write to meanwhile. Without it, one is
    /// created for the run and deleted afterwards.
    #[arg(long, value_name = "NAME", help_heading = "Source", requires = "brokers")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,

    /// Replay a capture (see `pelton-harness capture`) instead of making records: with its keys,
    /// values, headers and partitions, from the beginning again when it ends. A path in a file is
    /// relative to that file.
    #[arg(long, value_name = "FILE", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<PathBuf>,
    /// Stop after so many records.
    #[arg(long, value_name = "N", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Stop after this time, warm-up not included [default: 15s, if `records` is not given].
    #[arg(long, value_name = "TIME", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// Load for this time before anything is measured (the audit covers it) [default: 2s; 0s with a
    /// backlog, which would pass in it].
    #[arg(long, value_name = "TIME", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<Span>,
    /// When records are meant to be sent: fast, constant(50k/s), poisson(50k/s),
    /// bursts(rate=50k/s, burst=10000), with base=5k/s for a part of the rate that flows between the
    /// bursts; in a replay also captured, or captured(x2) for twice as fast [default: fast; in a replay
    /// through a broker, captured].
    #[arg(long, value_name = "LAW", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival: Option<Arrival>,
    /// So many records at once before the schedule of `arrival` begins, as after an outage; the
    /// embedded broker keeps 4 MiB of each partition, and beyond that the loader waits for the engine
    /// [default: 0].
    #[arg(long, value_name = "N", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u64>,
    /// Value sizes: 1KiB, uniform(100B, 2KiB), log-normal(median=800B, sigma=1.0, max=64KiB), with
    /// min=100B if none is to be smaller [default: 1KiB].
    #[arg(long, value_name = "LAW", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_size: Option<SizeLaw>,
    /// What values are made of, in a replay those of which only sizes were captured: json or random
    /// [default: json].
    #[arg(long, value_name = "KIND", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_content: Option<Content>,
    /// The share of records with a key and no value, which delete the row of that key: 5% or 0.05
    /// [default: 0%].
    #[arg(long, value_name = "SHARE", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tombstones: Option<Share>,
    /// Keys: none, fixed(cardinality=1000, bytes=16B), random(16B) [default: none].
    #[arg(long, value_name = "LAW", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyLaw>,
    /// A header on every record, as `name:16B`; may be repeated.
    #[arg(long = "header", value_name = "NAME:SIZE", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<HeaderLaw>>,
    /// How many partitions [default: 16]. A `topic` that exists has its own number, and all of them
    /// are loaded.
    #[arg(long, value_name = "N", help_heading = "Load", conflicts_with = "topic")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// How records spread over them: uniform or zipf(1.0) [default: uniform].
    #[arg(long, value_name = "LAW", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitioning: Option<PartitionLaw>,
    /// The producer's codec: none, gzip, snappy, lz4 or zstd [default: none].
    #[arg(long, value_name = "CODEC", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// How long the producer waits for company; part of the broker wait [default: 5ms].
    #[arg(long, value_name = "TIME", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linger: Option<Span>,
    /// Makes values, keys and schedules; the same seed, the same load [default: 1].
    #[arg(long, value_name = "N", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,

    /// Records per batch, 1 to 10000 [default: 100].
    #[arg(long, value_name = "N", help_heading = "Mapping")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// How long a batch gathers records, up to 300s [default: 500ms].
    #[arg(long, value_name = "TIME", help_heading = "Mapping")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_batching_window: Option<Span>,
    /// The largest payload [default: 6291455B, as AWS].
    #[arg(long, value_name = "SIZE", help_heading = "Mapping")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_bytes_max: Option<Bytes>,
    /// Pollers, over all threads [default: 4].
    #[arg(long, value_name = "N", help_heading = "Mapping")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pollers: Option<usize>,
    /// Consumer threads, each a member of the group [default: 1].
    #[arg(long, value_name = "N", help_heading = "Mapping")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Worker threads of the invocation side [default: 1].
    #[arg(long, value_name = "N", help_heading = "Mapping")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocation_threads: Option<usize>,
    /// Bytes of prefetch, open batches and batches in flight [default: 256MiB].
    #[arg(long, value_name = "SIZE", help_heading = "Mapping")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_budget: Option<Bytes>,
    /// Deliver only records that match this pattern, such as {"value":{"status":["shipped"]}}; may be
    /// repeated.
    #[arg(long = "filter", value_name = "PATTERN", help_heading = "Mapping")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<String>>,
    /// How often finished offsets are committed [default: 100ms on the embedded broker, whose
    /// retention the loader must stay within; 1s elsewhere].
    #[arg(long, value_name = "TIME", help_heading = "Mapping")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_interval: Option<Span>,

    /// The function in process: null, fixed(50ms), log-normal(median=20ms, sigma=0.5); any of them
    /// with verify=true, error-rate=0.01, throttle-rate=0.01, fault-rate=0.01, reset-rate=0.01,
    /// record-cost=2us, concurrency=8 [default: null].
    #[arg(long, value_name = "LAW", help_heading = "Function", conflicts_with = "endpoint")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stub: Option<StubLaw>,
    /// A Lambda-compatible endpoint instead, `http://host:port`.
    #[arg(long, value_name = "URL", help_heading = "Function")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The function's name there [default: function].
    #[arg(long, value_name = "NAME", help_heading = "Function")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
}

/// A source that the harness brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuiltIn {
    /// librdkafka's mock cluster.
    Embedded,
    /// Preallocated records.
    Memory,
}

/// Why a scenario cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A number outside its range.
    #[error("`{setting}` is {found}; it must be {allowed}")]
    Range {
        /// Its name, as in a file.
        setting: &'static str,
        /// What was given.
        found: String,
        /// What would do.
        allowed: &'static str,
    },
    /// Two settings that exclude each other.
    #[error("`{one}` and `{other}` exclude each other; {remedy}")]
    Conflict {
        /// One.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A filter that is no pattern.
    #[error("`filters` has {pattern}: {reason}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A capture that cannot be replayed.
    #[error("`replay`: {reason}")]
    Replay {
        /// Which, and why.
        reason: String,
    },
    /// Not TOML, or a name that does not exist.
    #[error("{origin}: {reason}")]
    File {
        /// The file or the scenario's name.
        origin: String,
        /// The parser's words.
        reason: String,
    },
}

/// The largest payload that AWS takes from an event source mapping is just below 6 MiB.
const PAYLOAD_BYTES_MAX: u64 = 6_291_455;
/// The most records at once: the ledger remembers each until it is committed.
const BACKLOG_RECORDS_MAX: u64 = 10_000_000;
/// The most partitions a load spreads over.
const PARTITIONS_MAX: u32 = 10_000;

impl Spec {
    /// Reads a scenario file. `origin` names it in errors.
    ///
    /// # Errors
    /// If it is not TOML, has a name that does not exist, or a value that cannot be read.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, SpecError> {
        toml::from_str(text)
            .map_err(|error| SpecError::File { origin: origin.to_owned(), reason: error.to_string() })
    }

    /// This spec where it says something, `base` elsewhere: flags over a file. What excludes a
    /// setting of `base` replaces it (a duration replaces a number of records).
    #[must_use]
    pub fn over(self, mut base: Self) -> Self {
        if self.brokers.is_some() {
            // What a scenario says of itself is of its own broker.
            (base.source, base.about) = (None, None);
        }
        if self.topic.is_some() {
            base.partitions = None;
        }
        if self.source.is_some() {
            (base.brokers, base.topic) = (None, None);
        }
        if self.replay.is_some() {
            // The capture brings all that with it, and what the scenario says of its load is wrong.
            base.about = None;
            (base.value_size, base.value_content, base.key, base.headers) = (None, None, None, None);
            (base.partitions, base.partitioning, base.tombstones) = (None, None, None);
            (base.arrival, base.backlog) = (None, None);
        }
        if self.records.is_some() || self.duration.is_some() {
            (base.records, base.duration) = (None, None);
        }
        if self.stub.is_some() {
            base.endpoint = None;
        }
        if self.endpoint.is_some() {
            base.stub = None;
        }
        macro_rules! overlay {
            ($($field:ident)+) => { Self { $($field: self.$field.or(base.$field)),+ } };
        }
        overlay! {
            about source brokers topic replay records duration warm_up arrival backlog value_size value_content
            tombstones key headers partitions partitioning compression linger seed batch_size maximum_batching_window payload_bytes_max
            pollers threads invocation_threads memory_budget filters commit_interval stub endpoint function
        }
    }

    /// Fills in the defaults.
    ///
    /// # Errors
    /// If settings contradict each other or leave their ranges.
    pub fn resolve(&self) -> Result<Scenario, SpecError> {
        let source = self.resolve_source()?;
        let workload = self.resolve_workload(&source)?;
        if source == SourceSpec::Memory && workload.arrival != Arrival::Fast {
            return Err(SpecError::Conflict {
                one: "source = memory",
                other: "arrival",
                remedy: "records in memory are there at once: leave out `arrival`, or use the embedded broker",
            });
        }
        let end = match (self.records, self.duration) {
            (Some(_), Some(_)) => {
                return Err(SpecError::Conflict {
                    one: "records",
                    other: "duration",
                    remedy: "give one of them",
                });
            }
            (Some(records), None) => End::Records(in_range("records", records, 1..=1 << 40, "1 to 2^40")?),
            (None, duration) => End::After(duration.map_or(Duration::from_secs(15), |span| span.0)),
        };
        let warm_up = Duration::from_secs(if workload.backlog > 0 { 0 } else { 2 });
        Ok(Scenario {
            mapping: self.resolve_mapping(&source)?,
            source,
            workload,
            end,
            warm_up: self.warm_up.map_or(warm_up, |span| span.0),
            function: self.resolve_function()?,
        })
    }

    fn resolve_source(&self) -> Result<SourceSpec, SpecError> {
        match (&self.brokers, self.source) {
            (Some(_), Some(_)) => {
                Err(SpecError::Conflict { one: "brokers", other: "source", remedy: "give one of them" })
            }
            (Some(_), None) if self.topic.is_some() && self.partitions.is_some() => {
                Err(SpecError::Conflict {
                    one: "topic",
                    other: "partitions",
                    remedy: "a topic that exists has its own number; leave out `partitions`",
                })
            }
            (Some(brokers), None) => {
                Ok(SourceSpec::Kafka { brokers: brokers.clone(), topic: self.topic.clone() })
            }
            (None, _) if self.topic.is_some() => Err(SpecError::Conflict {
                one: "topic",
                other: "source",
                remedy: "built-in sources name their topic themselves; add `brokers` or leave it out",
            }),
            (None, Some(BuiltIn::Memory)) => Ok(SourceSpec::Memory),
            (None, Some(BuiltIn::Embedded) | None) => Ok(SourceSpec::Embedded),
        }
    }

    fn resolve_workload(&self, source: &SourceSpec) -> Result<Workload, SpecError> {
        let replay = self.resolve_replay()?;
        let partitions = match replay {
            None => self.partitions.unwrap_or(16),
            Some(recording) => u32::try_from(recording.partitions().len()).unwrap_or(u32::MAX),
        };
        let partitions = in_range("partitions", partitions, 1..=PARTITIONS_MAX, "1 to 10000")?;
        let key = self.key.unwrap_or_default();
        if key.cardinality().is_some_and(|cardinality| cardinality < u64::from(partitions)) {
            return Err(SpecError::Range {
                setting: "key",
                found: key.to_string(),
                allowed: "at least one key for each partition, so that a key stays in one partition",
            });
        }
        let tombstones = self.tombstones.unwrap_or_default();
        if tombstones.get() > 0.0 && key == KeyLaw::None && replay.is_none() {
            return Err(SpecError::Range {
                setting: "tombstones",
                found: tombstones.to_string(),
                allowed: "0%, or given together with `key`, such as fixed(1000): a record without value deletes \
                          the row of its key",
            });
        }
        let arrival = self.resolve_arrival(source, replay)?;
        Ok(Workload {
            backlog: self.resolve_backlog(&arrival)?,
            arrival,
            value_size: self.value_size.unwrap_or(SizeLaw::Fixed(Bytes(1024))),
            value_content: self.value_content.unwrap_or_default(),
            tombstones,
            key,
            headers: self.headers.clone().unwrap_or_default(),
            partitions,
            partitioning: self.partitioning.unwrap_or_default(),
            compression: self.compression.unwrap_or_default(),
            linger: self.linger.map_or(Duration::from_millis(5), |span| span.0),
            seed: self.seed.unwrap_or(1),
            replay,
        })
    }

    fn resolve_replay(&self) -> Result<Option<&'static Recording>, SpecError> {
        let Some(path) = &self.replay else { return Ok(None) };
        let laws = [
            ("value_size", self.value_size.is_some()),
            ("tombstones", self.tombstones.is_some()),
            ("key", self.key.is_some()),
            ("header", self.headers.is_some()),
            ("partitions", self.partitions.is_some()),
            ("partitioning", self.partitioning.is_some()),
        ];
        let conflict = |other, remedy| SpecError::Conflict { one: "replay", other, remedy };
        if let Some((other, _)) = laws.into_iter().find(|(_, is_given)| *is_given) {
            return Err(conflict(other, "the capture's records have their own; leave out one of the two"));
        }
        let content = self.value_content.unwrap_or_default();
        let recording = Recording::load(path, content, self.seed.unwrap_or(1))
            .map_err(|error| SpecError::Replay { reason: error.to_string() })?;
        if recording.keep() == Keep::Whole && self.value_content.is_some() {
            return Err(conflict("value_content", "this capture has the values; leave it out"));
        }
        Ok(Some(recording))
    }

    fn resolve_arrival(
        &self,
        source: &SourceSpec,
        replay: Option<&'static Recording>,
    ) -> Result<Arrival, SpecError> {
        let has_times = replay.is_some_and(|recording| !recording.period().is_zero());
        match self.arrival {
            Some(arrival @ Arrival::Captured(_)) if !has_times => Err(SpecError::Range {
                setting: "arrival",
                found: arrival.to_string(),
                allowed: if replay.is_none() {
                    "given together with `replay`, the capture whose times it follows"
                } else {
                    "another law: the capture's records all have the same timestamp, or none"
                },
            }),
            Some(arrival) => Ok(arrival),
            None if has_times && *source != SourceSpec::Memory => Ok(Arrival::Captured(Speed(1.0))),
            None => Ok(Arrival::Fast),
        }
    }

    fn resolve_backlog(&self, arrival: &Arrival) -> Result<u64, SpecError> {
        let backlog =
            in_range("backlog", self.backlog.unwrap_or(0), 0..=BACKLOG_RECORDS_MAX, "0 to 10000000")?;
        if backlog > 0 && arrival.records_per_s().is_none() {
            return Err(SpecError::Range {
                setting: "backlog",
                found: backlog.to_string(),
                allowed: "0, or given together with an `arrival` of its own rate, such as constant(1k/s): fast is \
                          all backlog, and a capture has its own times",
            });
        }
        Ok(backlog)
    }

    fn resolve_mapping(&self, source: &SourceSpec) -> Result<MappingSpec, SpecError> {
        let window = self.maximum_batching_window.map_or(Duration::from_millis(500), |span| span.0);
        let threads = in_range("threads", self.threads.unwrap_or(1), 1..=64, "1 to 64")?;
        let pollers = in_range("pollers", self.pollers.unwrap_or(4.max(threads)), 1..=1000, "1 to 1000")?;
        if pollers < threads {
            return Err(SpecError::Range {
                setting: "pollers",
                found: pollers.to_string(),
                allowed: "at least as many as `threads`",
            });
        }
        let payload_bytes_max = self.payload_bytes_max.unwrap_or(Bytes(PAYLOAD_BYTES_MAX)).0;
        let payload_bytes_max =
            in_range("payload_bytes_max", payload_bytes_max, 1024..=PAYLOAD_BYTES_MAX, "1KiB to 6291455B")?;
        let commit_interval_ms = if *source == SourceSpec::Embedded { 100 } else { 1_000 };
        Ok(MappingSpec {
            batch_size: in_range("batch_size", self.batch_size.unwrap_or(100), 1..=10_000, "1 to 10000")?,
            window: in_range("maximum_batching_window", window, Duration::ZERO..=WINDOW_MAX, "0s to 300s")?,
            payload_bytes_max: u32::try_from(payload_bytes_max).unwrap_or(u32::MAX),
            pollers,
            threads,
            invocation_threads: in_range(
                "invocation_threads",
                self.invocation_threads.unwrap_or(1),
                1..=64,
                "1 to 64",
            )?,
            memory_budget_bytes: self.memory_budget.unwrap_or(Bytes(256 << 20)).0,
            filters: self.resolve_filters()?,
            commit_interval: self
                .commit_interval
                .map_or(Duration::from_millis(commit_interval_ms), |span| span.0),
        })
    }

    fn resolve_filters(&self) -> Result<Vec<String>, SpecError> {
        let patterns = self.filters.clone().unwrap_or_default();
        for pattern in &patterns {
            Pattern::parse(pattern, false).map_err(|error| SpecError::Pattern {
                pattern: pattern.clone(),
                reason: error.to_string(),
            })?;
        }
        Ok(patterns)
    }

    fn resolve_function(&self) -> Result<FunctionSpec, SpecError> {
        match (&self.stub, &self.endpoint) {
            (Some(_), Some(_)) => {
                Err(SpecError::Conflict { one: "stub", other: "endpoint", remedy: "give one of them" })
            }
            (None, Some(url)) => Ok(FunctionSpec::Endpoint {
                url: url.clone(),
                function: self.function.clone().unwrap_or_else(|| "function".to_owned()),
            }),
            (stub, None) => Ok(FunctionSpec::Stub(stub.clone().unwrap_or_default())),
        }
    }
}

/// The longest batching window that AWS allows.
const WINDOW_MAX: Duration = Duration::from_secs(300);

fn in_range<T: PartialOrd + std::fmt::Debug>(
    setting: &'static str,
    found: T,
    range: std::ops::RangeInclusive<T>,
    allowed: &'static str,
) -> Result<T, SpecError> {
    if range.contains(&found) {
        Ok(found)
    } else {
        Err(SpecError::Range { setting, found: format!("{found:?}"), allowed })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::workload::recording::samples::capture;

    fn spec(text: &str) -> Spec {
        Spec::from_toml(text, "test").unwrap()
    }

    #[test]
    fn an_empty_file_is_a_scenario() {
        let scenario = spec("").resolve().unwrap();
        assert_eq!(scenario.source, SourceSpec::Embedded);
        assert_eq!(scenario.end, End::After(Duration::from_secs(15)));
        assert_eq!(scenario.mapping.batch_size, 100);
        assert_eq!(scenario.function, FunctionSpec::Stub(StubLaw::default()));
    }

    #[test]
    fn flags_stand_above_the_file() {
        let file = spec("records = 1000\nvalue_size = \"1KiB\"\nkey = \"random(8B)\"\nsource = \"memory\"");
        let flags = spec("duration = \"3s\"\nvalue_size = 100\nbrokers = \"a:1\"");
        let scenario = flags.over(file).resolve().unwrap();
        assert_eq!(scenario.end, End::After(Duration::from_secs(3)));
        assert_eq!(scenario.workload.value_size, SizeLaw::Fixed(Bytes(100)));
        assert_eq!(scenario.workload.key, KeyLaw::Random(Bytes(8)));
        assert_eq!(scenario.source, SourceSpec::Kafka { brokers: "a:1".into(), topic: None });
    }

    #[test]
    fn a_backlog_is_measured_unless_somebody_wants_a_warm_up() {
        let warm_up = |text: &str| spec(text).resolve().unwrap().warm_up;
        assert_eq!(warm_up("arrival = \"constant(1k/s)\""), Duration::from_secs(2));
        assert_eq!(warm_up("arrival = \"constant(1k/s)\"\nbacklog = 9"), Duration::ZERO);
        let given = "arrival = \"constant(1k/s)\"\nbacklog = 9\nwarm_up = \"1s\"";
        assert_eq!(warm_up(given), Duration::from_secs(1));
    }

    #[test]
    fn what_cannot_be_run_says_why() {
        for (text, word) in [
            ("batch_size = 10001", "1 to 10000"),
            ("maximum_batching_window = \"301s\"", "300s"),
            ("records = 1\nduration = \"1s\"", "exclude"),
            ("source = \"memory\"\narrival = \"constant(1k/s)\"", "embedded"),
            ("topic = \"t\"", "brokers"),
            ("topic = \"t\"\nbrokers = \"a:1\"\npartitions = 3", "its own number"),
            ("threads = 4\npollers = 2", "threads"),
            ("key = \"fixed(4)\"", "partition"),
            ("backlog = 9", "`backlog` is 9; it must be 0, or given together with an `arrival`"),
            ("backlog = 9\nsource = \"memory\"", "constant(1k/s)"),
            ("backlog = 10000001\narrival = \"constant(1k/s)\"", "0 to 10000000"),
            ("tombstones = \"5%\"", "`tombstones` is 5%; it must be 0%, or given together with `key`"),
            ("replay = \"a.capture\"\ntombstones = 0.1", "`tombstones` exclude each other"),
            ("payload_bytes_max = \"7MiB\"", "6291455B"),
            ("arrival = \"captured(x2)\"", "together with `replay`"),
            ("replay = \"a.capture\"\npartitions = 3", "have their own"),
            ("replay = \"/nowhere/a.capture\"", "pelton-harness capture"),
        ] {
            let error = spec(text).resolve().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_replay_brings_its_partitions_and_its_times_and_replaces_the_laws_below_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.capture");
        let records = [(4, 0, 1_000, "a"), (2, 0, 1_010, "b"), (4, 1, 1_020, "c")];
        std::fs::write(&path, capture(&records, Keep::Whole)).unwrap();
        let laws = "arrival = \"poisson(1k/s)\"\nvalue_size = 100\nkey = \"fixed(9)\"\npartitions = 9";
        let file = spec(&format!("about = \"made\"\nheaders = [\"a:1B\"]\n{laws}"));
        let replay = Spec { replay: Some(path.clone()), ..Spec::default() };
        let over = replay.clone().over(file);
        assert_eq!(over.about, None);
        let workload = over.resolve().unwrap().workload;
        assert_eq!((workload.partitions, workload.arrival), (2, Arrival::Captured(Speed(1.0))));
        assert_eq!(workload.replay.map(Recording::path), Some(path.as_path()));
        let fast = Spec { source: Some(BuiltIn::Memory), ..replay.clone() };
        assert_eq!(fast.resolve().unwrap().workload.arrival, Arrival::Fast);
        // Content is for those captures that have none.
        let error = Spec { value_content: Some(Content::Json), ..replay }.resolve().unwrap_err().to_string();
        assert!(error.contains("leave it out"), "{error}");
    }

    #[test]
    fn a_name_that_does_not_exist_is_refused() {
        let error = Spec::from_toml("batchsize = 3", "mine.toml").unwrap_err().to_string();
        assert!(error.contains("mine.toml") && error.contains("batchsize"), "{error}");
        let error = Spec::from_toml("arrival = \"quick\"", "mine.toml").unwrap_err().to_string();
        assert!(error.contains("write fast"), "{error}");
    }

    proptest! {
        #[test]
        fn a_spec_reads_back_as_written(
            records: Option<u32>, rate in 1.0..1e6, batch_size in 1..=10_000u32, partitions in 1..64u32, seed: u32,
            percent in 0..=100u32, backlog in prop::option::of(0..=BACKLOG_RECORDS_MAX),
        ) {
            let written = Spec {
                records: records.map(u64::from),
                arrival: Some(Arrival::Poisson(super::super::units::Rate(rate))),
                backlog,
                batch_size: Some(batch_size),
                partitions: Some(partitions),
                headers: Some(vec!["trace:16B".parse().unwrap()]),
                tombstones: Some(format!("{percent}%").parse().unwrap()),
                seed: Some(u64::from(seed)),
                compression: Some(Compression::Zstd),
                source: Some(BuiltIn::Embedded),
                ..Spec::default()
            };
            let text = toml::to_string(&written).unwrap();
            prop_assert_eq!(&Spec::from_toml(&text, "test").unwrap(), &written);
            prop_assert_eq!(&written.clone().over(Spec::default()), &written);
            prop_assert_eq!(&Spec::default().over(written.clone()), &written);
        }

        #[test]
        fn no_text_makes_a_spec_panic(text in "(?s).{0,200}") {
            if let Ok(spec) = Spec::from_toml(&text, "test") {
                let _ = spec.resolve();
            }
        }
    }
}
