//! The dry run: which batches would these settings have made of this traffic, and why.
//!
//! Nothing is invoked and nothing is committed. The engine's own batch policy decides over the
//! records' timestamps, in virtual time ([`poller`]); sizes are those of the events that the engine
//! would send, to the byte.

pub mod poller;

use std::collections::BTreeMap;
use std::time::Duration;

use pelton::batch::BatchLimits;
use pelton::ids::Topic;
use pelton::invoke::law::Law;
use pelton::payload::Envelope;
use pelton::time::Nanos;
use serde::{Deserialize, Serialize};

use crate::measure::histogram::{Latency, LatencySummary};
use crate::result::ratio;
use crate::traffic::Traffic;
use crate::workload::recording::Recording;
use crate::workload::scenario::MappingSpec;
use poller::{Arrival, Sent, poll};

/// The version of [`Explained`].
pub const VERSION: u32 = 1;

/// What is to be explained.
#[derive(Clone, Debug)]
pub struct ExplainPlan {
    /// The traffic.
    pub recording: &'static Recording,
    /// Its topic, for the length of the events.
    pub topic: Topic,
    /// As `bootstrapServers` in each event.
    pub bootstrap_servers: String,
    /// The settings.
    pub mapping: MappingSpec,
    /// How long the function takes.
    pub law: Law,
    /// All records are there at the beginning, instead of arriving by their timestamps.
    pub backlog: bool,
    /// How many batches to list one by one.
    pub listed_max: usize,
}

/// Which batches there would have been.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// [`VERSION`].
    pub version: u32,
    /// Where the traffic is from.
    pub traffic: String,
    /// Records per batch, at most.
    pub batch_size: u32,
    /// The batching window.
    pub window_ms: f64,
    /// The largest payload.
    pub payload_bytes_max: u32,
    /// Pollers that have partitions.
    pub pollers: usize,
    /// Records of the traffic.
    pub records: u64,
    /// From its first record to its last.
    pub span_s: f64,
    /// Records that the filters leave out.
    pub records_filtered: u64,
    /// Records that no event can hold.
    pub records_oversized: u64,
    /// Batches, each an invocation.
    pub batches: u64,
    /// Batches by why they were closed.
    pub causes: BTreeMap<String, u64>,
    /// Records of a batch.
    pub batch_records: Spread,
    /// Records of a batch on average, as a share of the batch size.
    pub fill_by_records_share: f64,
    /// Bytes of a batch's event.
    pub batch_payload_bytes: Spread,
    /// Bytes of a batch's event on average, as a share of the largest allowed.
    pub fill_by_bytes_share: f64,
    /// Of each batch, how long its oldest record had been there when it was sent.
    pub oldest_record_age_sent: LatencySummary,
    /// Of each record, how long it had been there when it was sent.
    pub record_age_sent: LatencySummary,
    /// Of each record, how long it had been there when the function had answered.
    pub record_age_done: LatencySummary,
    /// From the first record to the last answer.
    pub elapsed_s: f64,
    /// Invocations per second of that time.
    pub invocations_per_s: f64,
    /// Of that time, the share in which a poller's function was busy, averaged over pollers.
    pub busy_share: f64,
    /// What limits these settings with this traffic, in words; the weightiest first.
    pub binds: Vec<String>,
    /// The first batches, in the order in which they were sent.
    pub first: Vec<Listed>,
    /// What makes figures doubtful.
    pub remarks: Vec<String>,
}

/// A number of each batch, in a few figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The arithmetic mean.
    pub mean: f64,
    /// The smallest.
    pub min: u64,
    /// Half are not above.
    pub p50: u64,
    /// The largest.
    pub max: u64,
}

/// One batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// The poller that would have made it.
    pub poller: usize,
    /// After the first record.
    pub sent_at_s: f64,
    /// Why it was closed.
    pub cause: String,
    /// Its records.
    pub records: u32,
    /// Partitions that they are of.
    pub partitions: u32,
    /// Bytes of its event.
    pub payload_bytes: usize,
    /// How long its oldest record had been there.
    pub oldest_age_ms: f64,
    /// Of that, how long it waited, closed, for the function.
    pub waited_ms: f64,
}

/// Explains. Costs a look at each record, and memory for their sizes.
///
/// # Panics
/// If a filter of `plan` is no pattern: they are checked when a spec is resolved.
#[must_use]
pub fn explain(plan: &ExplainPlan) -> Explained {
    let limits = BatchLimits {
        batch_size: plan.mapping.batch_size,
        window: plan.mapping.window,
        payload_bytes_max: plan.mapping.payload_bytes_max,
    };
    let envelope = Envelope::self_managed(&plan.bootstrap_servers);
    let traffic = Traffic::captured(plan.recording, &plan.mapping.filters, &plan.topic, plan.backlog);
    let (pollers, filtered) = (traffic.split(plan.mapping.pollers), traffic.filtered);
    drop(traffic);
    let mut gathered = Gathered::default();
    let (mut oversized, mut busy, mut ended_at) = (0, Duration::ZERO, Nanos::ZERO);
    let mut invocation = 0;
    for (number, arrivals) in pollers.iter().enumerate() {
        let function = |records, bytes| {
            invocation += 1;
            plan.law.latency(invocation - 1, records, bytes)
        };
        let one = poll(arrivals, &limits, envelope.bytes(), function, |sent, records| {
            gathered.add(number, sent, records);
        });
        oversized += one.oversized;
        busy += one.busy;
        ended_at = ended_at.max(one.ended_at);
    }
    let span = plan.recording.sendings().last().map_or(0, |last| last.at_ms);
    let elapsed = ended_at - Nanos::ZERO;
    gathered.into_explained(plan, pollers.len(), elapsed, busy, |explained| {
        explained.records_filtered = filtered;
        explained.records_oversized = oversized;
        explained.span_s = span as f64 / 1e3;
    })
}

/// Batches on their way into figures.
#[derive(Default)]
struct Gathered {
    causes: BTreeMap<String, u64>,
    records: Vec<u64>,
    payload_bytes: Vec<u64>,
    oldest: Latency,
    sent: Latency,
    done: Latency,
    waited: u64,
    listed: Vec<Listed>,
}

impl Gathered {
    fn add(&mut self, poller: usize, sent: &Sent, records: &[Arrival]) {
        *self.causes.entry(sent.cause.label().to_owned()).or_default() += 1;
        self.records.push(u64::from(sent.records));
        self.payload_bytes.push(sent.payload_bytes as u64);
        let oldest = records.iter().map(|record| record.born).min().unwrap_or(sent.sent_at);
        self.oldest.record(sent.sent_at - oldest, 1);
        for record in records {
            self.sent.record(sent.sent_at - record.born, 1);
            self.done.record(sent.done_at - record.born, 1);
        }
        let waited = sent.sent_at - sent.closed_at;
        self.waited += u64::from(!waited.is_zero());
        self.listed.push(Listed {
            poller,
            sent_at_s: (sent.sent_at - Nanos::ZERO).as_secs_f64(),
            cause: sent.cause.label().to_owned(),
            records: sent.records,
            partitions: sent.partitions,
            payload_bytes: sent.payload_bytes,
            oldest_age_ms: (sent.sent_at - oldest).as_secs_f64() * 1e3,
            waited_ms: waited.as_secs_f64() * 1e3,
        });
    }

    fn into_explained(
        mut self,
        plan: &ExplainPlan,
        pollers: usize,
        elapsed: Duration,
        busy: Duration,
        more: impl FnOnce(&mut Explained),
    ) -> Explained {
        let batches = self.records.len() as u64;
        let (records, payload_bytes) = (Spread::of(&mut self.records), Spread::of(&mut self.payload_bytes));
        self.listed.sort_by(|one, other| one.sent_at_s.total_cmp(&other.sent_at_s));
        self.listed.truncate(plan.listed_max);
        let mut explained = Explained {
            version: VERSION,
            traffic: plan.recording.path().display().to_string(),
            batch_size: plan.mapping.batch_size,
            window_ms: plan.mapping.window.as_secs_f64() * 1e3,
            payload_bytes_max: plan.mapping.payload_bytes_max,
            pollers,
            records: plan.recording.totals().records,
            span_s: 0.0,
            records_filtered: 0,
            records_oversized: 0,
            batches,
            fill_by_records_share: ratio(records.mean, f64::from(plan.mapping.batch_size)),
            fill_by_bytes_share: ratio(payload_bytes.mean, f64::from(plan.mapping.payload_bytes_max)),
            batch_records: records,
            batch_payload_bytes: payload_bytes,
            causes: self.causes,
            oldest_record_age_sent: self.oldest.summary(),
            record_age_sent: self.sent.summary(),
            record_age_done: self.done.summary(),
            elapsed_s: elapsed.as_secs_f64(),
            invocations_per_s: ratio(batches as f64, elapsed.as_secs_f64()),
            busy_share: ratio(busy.as_secs_f64(), elapsed.as_secs_f64() * pollers as f64),
            binds: Vec::new(),
            first: self.listed,
            remarks: plan.recording.remarks().to_vec(),
        };
        more(&mut explained);
        explained.binds = binds(&explained, ratio(self.waited as f64, batches as f64));
        explained
    }
}

impl Spread {
    fn of(numbers: &mut [u64]) -> Self {
        numbers.sort_unstable();
        let Some((first, last)) = numbers.first().zip(numbers.last()) else { return Self::default() };
        let sum: u64 = numbers.iter().sum();
        Self {
            mean: sum as f64 / numbers.len() as f64,
            min: *first,
            p50: numbers[(numbers.len() - 1) / 2],
            max: *last,
        }
    }
}

/// What limits these settings, in words.
fn binds(explained: &Explained, waited_share: f64) -> Vec<String> {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mut causes: Vec<_> = explained.causes.iter().collect();
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut binds: Vec<String> = causes
        .into_iter()
        .filter_map(|(cause, count)| {
            let share = ratio(*count as f64, explained.batches as f64);
            let what = match cause.as_str() {
                "count" => "batch_size: a larger one would make fewer invocations",
                "window" => {
                    "the batching window: a longer one would fill batches more, a shorter one would send \
                     records younger"
                }
                "bytes" => "the payload limit: only smaller records would fit more of them",
                _ => return None,
            };
            Some(format!("{} of batches were closed by {what}", percent(share)))
        })
        .collect();
    if waited_share > 0.0 {
        binds.push(format!(
            "{} of batches were full and waited for the function: more pollers (never more than partitions), or a \
             faster function, would send them earlier",
            percent(waited_share)
        ));
    }
    binds
}
