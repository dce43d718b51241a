//! The engine under test: started in this process, as `pelton run` would start it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use pelton::batch::{BatchLimits, Payload};
use pelton::deliver::{FailureRules, Outcome, RetryPolicy};
use pelton::filter::Filters;
use pelton::ids::Topic;
use pelton::invoke::{Invoker, LambdaInvoker, LambdaSettings, Signing, Stub};
use pelton::payload::Envelope;
use pelton::pipeline::{Engine, EngineHandle, EngineSettings, Observer, Oversized};
use pelton::source::consumer::KafkaSource;
use pelton::source::settings::{GroupProtocol, KafkaSettings};
use pelton::time::Clock;

use crate::memory::{Corpus, MemorySource};
use crate::workload::scenario::{FunctionSpec, MappingSpec};

/// What the engine reads from.
#[derive(Clone, Debug)]
pub enum Feed {
    /// Records in memory.
    Memory(Arc<Corpus>),
    /// A topic.
    Kafka(KafkaFeed),
}

/// A topic, and how to read it.
#[derive(Clone, Debug)]
pub struct KafkaFeed {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// The topic.
    pub topic: Topic,
    /// The consumer group.
    pub group: String,
    /// How its members share partitions.
    pub protocol: GroupProtocol,
    /// Further librdkafka properties.
    pub properties: Vec<(String, String)>,
}

impl KafkaFeed {
    /// The settings of one client with so many queues, of which each may fetch ahead so much.
    #[must_use]
    pub fn settings(&self, queues: usize, prefetch_bytes: usize) -> KafkaSettings {
        let mut settings = KafkaSettings::new(&self.brokers, &self.topic, &self.group);
        settings.group_protocol = self.protocol;
        settings.queues = queues;
        settings.prefetch_bytes = prefetch_bytes;
        settings.properties.clone_from(&self.properties);
        settings
    }
}

/// Starts an engine over `feed`, against `function`. `observer` sees every batch.
///
/// # Errors
/// If the engine, its source or its invoker refuse their settings.
pub fn start(
    mapping: &MappingSpec,
    feed: &Feed,
    function: &FunctionSpec,
    observer: &Arc<dyn Observer>,
    clock: Clock,
) -> anyhow::Result<Subject> {
    let outcomes = Arc::new(Outcomes::default());
    let counted = Arc::clone(&outcomes);
    let (engine, stub) = match function {
        FunctionSpec::Stub(law) => {
            let mut stub = Stub::new(law.law.clone()).context("the stub's law")?;
            if law.verify {
                stub = stub.with_verification();
            }
            let stub = Arc::new(stub);
            let counting = Arc::new(Counting { invoker: Arc::clone(&stub), outcomes: counted });
            (start_with(mapping, feed, &counting, observer, clock)?, Some(stub))
        }
        FunctionSpec::Endpoint { url, function } => {
            let mut settings = LambdaSettings::new(function);
            settings.endpoint = Some(url.clone());
            settings.idle_connections_max = mapping.pollers;
            let invoker = Arc::new(LambdaInvoker::new(&settings, Signing::Unsigned)?);
            let counting = Arc::new(Counting { invoker, outcomes: counted });
            (start_with(mapping, feed, &counting, observer, clock)?, None)
        }
    };
    Ok(Subject { engine, outcomes, stub })
}

/// An engine that runs.
#[derive(Debug)]
pub struct Subject {
    /// The engine.
    pub engine: EngineHandle,
    outcomes: Arc<Outcomes>,
    stub: Option<Arc<Stub>>,
}

impl Subject {
    /// Lets it drain. Returns the invocations by outcome and what went wrong.
    #[must_use]
    pub fn end(self) -> (BTreeMap<String, u64>, Vec<String>) {
        self.engine.drain();
        let report = self.engine.join();
        let mut remarks: Vec<String> =
            report.fatal.iter().map(|error| format!("the engine ended by itself: {error}")).collect();
        if let Some(stub) = &self.stub
            && let Some(mismatch) = stub.first_mismatch()
        {
            remarks.push(format!(
                "{} payloads differed from their records; the first: {mismatch}",
                stub.mismatches()
            ));
        }
        (self.outcomes.by_label(), remarks)
    }
}

fn start_with<I: Invoker>(
    mapping: &MappingSpec,
    feed: &Feed,
    invoker: &Arc<I>,
    observer: &Arc<dyn Observer>,
    clock: Clock,
) -> anyhow::Result<EngineHandle> {
    let prefetch_bytes = prefetch_bytes(mapping);
    let (topic, brokers) = match feed {
        Feed::Memory(_) => (Topic::new("memory"), "memory:9092"),
        Feed::Kafka(feed) => (feed.topic.clone(), feed.brokers.as_str()),
    };
    let settings = EngineSettings {
        name: "measured".into(),
        function_version: "$LATEST".into(),
        topic,
        envelope: Arc::new(Envelope::self_managed(brokers)),
        filters: filters(&mapping.filters)?,
        limits: BatchLimits {
            batch_size: mapping.batch_size,
            window: mapping.window,
            payload_bytes_max: mapping.payload_bytes_max,
        },
        threads: mapping.threads,
        pollers: mapping.pollers,
        scaling: None,
        arena_budget_bytes: half_of_budget(mapping) / mapping.threads,
        retry: RetryPolicy::default(),
        failures: FailureRules::default(),
        destination: None,
        oversized: Oversized::Skip,
        commit_interval: mapping.commit_interval,
        commit_metadata: true,
        drain_deadline: DRAIN_DEADLINE,
        invocation_threads: mapping.invocation_threads,
    };
    let engine = match feed {
        Feed::Memory(corpus) => Engine::start(
            settings,
            |plan| Ok(MemorySource::new(corpus, plan.thread, mapping.threads, plan.pollers)),
            invoker,
            Some(observer),
            clock,
        ),
        Feed::Kafka(feed) => Engine::start(
            settings,
            |plan| KafkaSource::new(feed.settings(plan.pollers, prefetch_bytes), plan.wake),
            invoker,
            Some(observer),
            clock,
        ),
    };
    engine.context("the engine did not start")
}

/// The filters of a mapping; `None` if it has none.
///
/// # Errors
/// If one is no pattern.
pub fn filters(patterns: &[String]) -> anyhow::Result<Option<Arc<Filters>>> {
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    Ok(if patterns.is_empty() { None } else { Some(Arc::new(Filters::parse(&patterns)?)) })
}

/// What each poller's queue may fetch ahead: half of the budget is for that, half for batches.
#[must_use]
pub fn prefetch_bytes(mapping: &MappingSpec) -> usize {
    const PREFETCH_BYTES_MIN: usize = 2 << 20;
    (half_of_budget(mapping) / mapping.pollers).max(PREFETCH_BYTES_MIN)
}

fn half_of_budget(mapping: &MappingSpec) -> usize {
    usize::try_from(mapping.memory_budget_bytes / 2).unwrap_or(usize::MAX)
}

/// How long the engine may take to end: longer than any stub's answer.
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// Invocations by outcome.
#[derive(Debug, Default)]
struct Outcomes([AtomicU64; LABELS.len()]);

/// [`Outcome::label`], in the order in which they are shown.
const LABELS: [&str; 8] = [
    "success",
    "function_error",
    "throttled",
    "refused",
    "service_fault",
    "unreachable",
    "timed_out",
    "other",
];

impl Outcomes {
    fn count(&self, outcome: &Outcome) {
        let at = LABELS.iter().position(|label| *label == outcome.label()).unwrap_or(LABELS.len() - 1);
        self.0[at].fetch_add(1, Ordering::Relaxed);
    }

    fn by_label(&self) -> BTreeMap<String, u64> {
        LABELS
            .iter()
            .zip(&self.0)
            .map(|(label, count)| ((*label).to_owned(), count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// Counts what another invoker answers.
#[derive(Debug)]
struct Counting<I> {
    invoker: Arc<I>,
    outcomes: Arc<Outcomes>,
}

impl<I: Invoker> Invoker for Counting<I> {
    async fn invoke(&self, payload: Payload) -> Outcome {
        let outcome = self.invoker.invoke(payload).await;
        self.outcomes.count(&outcome);
        outcome
    }
}
