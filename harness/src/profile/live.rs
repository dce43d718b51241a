//! A topic that is there: read from its beginning, by a group of its own that is removed
//! afterwards. Nothing is produced, and nobody else's offsets are touched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use pelton::ids::{Offset, Partition, Topic};
use pelton::pipeline::{BatchTrace, Observer};
use pelton::source::settings::GroupProtocol;
use pelton::time::{Clock, Nanos, wall_ms};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode;

use super::session::{Delivered, Session};
use crate::measure::cpu::{Role, Roles};
use crate::run::{Phase, Probe, Tick, View};
use crate::subject::{self, Feed, KafkaFeed, Subject};
use crate::workload::scenario::{FunctionSpec, MappingSpec};

/// How long a cluster may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long it may take to remove a group.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the engine is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// With nothing more delivered for this long, the end of the topic is reached.
const IDLE: Duration = Duration::from_secs(1);
/// How long an engine may take until it delivers its first record.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many passes that were over at once show that all will be.
const TOO_SHORT_MAX: usize = 3;
/// So many passes of which no slice with samples saw a record show that none will.
const UNSEEN_MAX: u32 = 12;
/// How often to try to remove a group that its members are still leaving.
const REMOVE_TRIES_MAX: usize = 40;

/// A topic to be read.
#[derive(Clone, Debug)]
pub struct LiveTopic {
    brokers: String,
    topic: Topic,
    /// Records that it holds, or more if it is compacted.
    records: u64,
    /// Further librdkafka properties.
    properties: Vec<(String, String)>,
    protocol: GroupProtocol,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct LiveReport {
    /// How often the topic was read from its beginning.
    pub passes: u32,
    /// What went wrong, or makes figures doubtful.
    pub remarks: Vec<String>,
}

impl LiveTopic {
    /// Looks at the topic.
    ///
    /// # Errors
    /// If no broker answers, or the topic is not there or empty.
    pub fn find(brokers: &str, topic: &str, properties: &[(String, String)]) -> anyhow::Result<Self> {
        let mut config = client(brokers);
        for (name, value) in properties {
            config.set(name, value);
        }
        // The binding wants one to take a consumer down in order; nobody joins it.
        let consumer: BaseConsumer = config.set("group.id", "pelton-harness-look").create()?;
        let metadata = consumer
            .fetch_metadata(Some(topic), TIMEOUT)
            .with_context(|| format!("no answer from {brokers} about topic {topic}"))?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        if partitions == 0 {
            bail!("topic {topic} does not exist on {brokers}");
        }
        let mut records = 0;
        for partition in 0..i32::try_from(partitions)? {
            let (first, end) = consumer
                .fetch_watermarks(topic, partition, TIMEOUT)
                .with_context(|| format!("where {topic}[{partition}] begins and ends"))?;
            records += u64::try_from(end - first).unwrap_or(0);
        }
        if records == 0 {
            bail!("topic {topic} on {brokers} is empty; profile a workload instead, or wait for records");
        }
        Ok(Self {
            brokers: brokers.to_owned(),
            topic: Topic::new(topic),
            records,
            properties: properties.to_vec(),
            protocol: GroupProtocol::Classic,
        })
    }

    /// For the embedded broker, which knows the newer protocol better.
    #[must_use]
    pub fn with_protocol(mut self, protocol: GroupProtocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Records that it holds, or more if it is compacted.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Its name.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// A way to read it, with a group that nobody else has.
    #[must_use]
    pub fn feed(&self, purpose: &str) -> KafkaFeed {
        KafkaFeed {
            brokers: self.brokers.clone(),
            topic: self.topic.clone(),
            group: format!("pelton-harness-{purpose}-{}-{}", wall_ms(), std::process::id()),
            protocol: self.protocol,
            properties: self.properties.clone(),
        }
    }

    /// Removes the group of `feed`, which has no members any more.
    ///
    /// # Errors
    /// If the cluster refuses: the group is named, for somebody to remove by hand.
    pub fn remove_group(&self, feed: &KafkaFeed) -> anyhow::Result<()> {
        let mut config = client(&self.brokers);
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        let admin: AdminClient<DefaultClientContext> = config.create()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for attempt in 1.. {
            let options = AdminOptions::new().request_timeout(Some(REMOVE_TIMEOUT));
            let groups = runtime.block_on(admin.delete_groups(&[&feed.group], &options));
            let refused = match groups.map(|groups| groups.into_iter().next()) {
                Ok(None | Some(Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)))) => break,
                // The coordinator has not yet seen all members leave.
                Ok(Some(Err((_, RDKafkaErrorCode::NonEmptyGroup)))) if attempt < REMOVE_TRIES_MAX => {
                    std::thread::park_timeout(Duration::from_millis(250));
                    continue;
                }
                Ok(Some(Err((_, code)))) => code.to_string(),
                Err(error) => error.to_string(),
            };
            // After a request that failed, librdkafka 2.12 counts its own queue down once too often
            // and aborts when this client is destroyed. It is left behind: once, see `profile`.
            std::mem::forget(admin);
            bail!(
                "group {} was made for this profile and could not be removed: {refused}; it has no members and \
                 holds nobody back",
                feed.group
            );
        }
        Ok(())
    }

    /// Lets engines read the topic, one after the other, until `duration` of measuring is over.
    ///
    /// # Errors
    /// If no engine can be started, or the first delivers nothing.
    pub fn profile(
        &self,
        plan: &LivePlan<'_>,
        interrupted: &AtomicBool,
        tell: &mut dyn FnMut(Tick),
        session: &mut Session,
    ) -> anyhow::Result<LiveReport> {
        let mut report = LiveReport::default();
        let clock = Clock::start();
        let mut measured = Duration::ZERO;
        let (mut delivered, mut too_short, mut removable) = (0, 0, true);
        // A short topic may be over before its first slice with samples; the next pass begins with one.
        while (measured < plan.duration || !session.has_profiled()) && !interrupted.load(Ordering::Relaxed) {
            let mut feed = Feed::Kafka(self.feed("profile"));
            session.prepare(&mut feed);
            let mut pass = Pass { topic: self, plan, clock, interrupted, tell, delivered };
            let slices = session.slices();
            let (took, remarks) =
                pass.run(&feed, plan.duration.saturating_sub(measured).max(IDLE), session)?;
            delivered = pass.delivered;
            measured += took;
            report.passes += 1;
            let ended_by_itself = !remarks.is_empty();
            report.remarks.extend(remarks);
            too_short += usize::from(session.slices() == slices);
            // Where one cannot be removed, the next cannot either, and the answer takes its time.
            if let Feed::Kafka(feed) = &feed
                && removable
                && let Err(error) = self.remove_group(feed)
            {
                report.remarks.push(format!("{error}; nor were those of later passes, of the same form"));
                removable = false;
            }
            if too_short == TOO_SHORT_MAX || (report.passes == UNSEEN_MAX && !session.has_profiled()) {
                bail!(
                    "topic {} holds {} records, which the engine has read before it can be looked at; profile a \
                     longer one, or a workload of the same shape (see --value-size and --key)",
                    self.topic.as_str(),
                    self.records
                );
            }
            // Groups that cannot be removed should be few.
            if ended_by_itself || (!report.remarks.is_empty() && session.has_profiled()) {
                break;
            }
        }
        Ok(report)
    }
}

/// How a topic is read.
#[derive(Debug)]
pub struct LivePlan<'p> {
    /// The engine's settings.
    pub mapping: &'p MappingSpec,
    /// What is invoked.
    pub function: &'p FunctionSpec,
    /// How long to measure.
    pub duration: Duration,
}

/// One engine, from the beginning of the topic to its end.
struct Pass<'p> {
    topic: &'p LiveTopic,
    plan: &'p LivePlan<'p>,
    clock: Clock,
    interrupted: &'p AtomicBool,
    tell: &'p mut dyn FnMut(Tick),
    /// By all passes.
    delivered: u64,
}

impl Pass<'_> {
    /// Returns how long it was measured, and what went wrong.
    fn run(
        &mut self,
        feed: &Feed,
        time_left: Duration,
        session: &mut Session,
    ) -> anyhow::Result<(Duration, Vec<String>)> {
        let mut roles = Roles::new();
        roles.claim(Role::Harness);
        let observer: Arc<dyn Observer> = Arc::new(Nobody);
        let subject = subject::start(self.plan.mapping, feed, self.plan.function, &observer, self.clock)?;
        self.wait_for_first(&subject)?;
        roles.claim(Role::Engine);
        let started = self.clock.now();
        let mut moved = (started, 0);
        while self.clock.now() - started < time_left && !self.interrupted.load(Ordering::Relaxed) {
            let now = self.clock.now();
            let records = Delivered::of(subject.engine.counters()).records;
            if records > moved.1 {
                moved = (now, records);
            }
            if records >= self.topic.records || now - moved.0 > IDLE || !subject.engine.is_running() {
                break;
            }
            let threads = roles.threads(Role::Engine);
            session.look(&View { now, counters: subject.engine.counters(), threads: &threads });
            self.show(Phase::Measuring, records, now, started, time_left);
            std::thread::park_timeout(LOOK);
        }
        let threads = roles.threads(Role::Engine);
        session.over(&View { now: self.clock.now(), counters: subject.engine.counters(), threads: &threads });
        self.delivered += moved.1;
        let measured = self.clock.now() - started;
        let (_, remarks) = subject.end();
        Ok((measured, remarks))
    }

    fn wait_for_first(&mut self, subject: &Subject) -> anyhow::Result<()> {
        let since = self.clock.now();
        while Delivered::of(subject.engine.counters()).records == 0 {
            let now = self.clock.now();
            if self.interrupted.load(Ordering::Relaxed) {
                bail!("interrupted before anything was measured");
            }
            if now - since > PATIENCE || !subject.engine.is_running() {
                bail!(
                    "the engine delivered nothing of topic {} in {} s; run with RUST_LOG=pelton=debug to see what \
                     it waits for",
                    self.topic.topic.as_str(),
                    (now - since).as_secs()
                );
            }
            self.show(Phase::Starting, 0, now, now, Duration::MAX);
            std::thread::park_timeout(LOOK / 10);
        }
        Ok(())
    }

    fn show(&mut self, phase: Phase, records: u64, now: Nanos, started: Nanos, of: Duration) {
        let done_share = ((now - started).as_secs_f64() / of.as_secs_f64()).min(1.0);
        let lag = self.topic.records.saturating_sub(records);
        (self.tell)(Tick { phase, done_share, records: self.delivered + records, lag, at: now });
    }
}

/// What is counted is counted by the engine itself.
struct Nobody;

impl Observer for Nobody {
    fn on_delivered(&self, _: &BatchTrace<'_>) {}
    fn on_committed(&self, _: Partition, _: Offset, _: Nanos) {}
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("client.id", "pelton-harness");
    config
}
