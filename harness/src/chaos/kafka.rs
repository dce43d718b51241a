//! The broker: started, stopped and paused by `scripts/kafka`, and asked by an admin client.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// How long the broker may take to answer an order.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients here speak of lost connections all the time; that is the point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "client of chaos");
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "client of chaos");
    }
}

impl ConsumerContext for Quiet {}

/// A scratch broker, deleted when dropped, and in any case once this process has ended.
#[derive(Debug)]
pub(super) struct Broker {
    script: PathBuf,
    dir: PathBuf,
    env: BTreeMap<String, String>,
}

impl Broker {
    /// Starts one with its data in `dir`.
    pub(super) fn start(script: &Path, dir: &Path) -> anyhow::Result<Self> {
        let mut broker = Self { script: script.to_owned(), dir: dir.to_owned(), env: BTreeMap::new() };
        let text = broker.order(&["start", "--scratch", &std::process::id().to_string()])?;
        broker.env = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(broker)
    }

    /// A value of its environment file.
    pub(super) fn get(&self, name: &str) -> &str {
        self.env.get(name).map_or("", String::as_str)
    }

    /// `host:port`.
    pub(super) fn bootstrap_servers(&self) -> &str {
        self.get("KAFKA_PLAINTEXT")
    }

    /// `stop`, `start`, `pause`, `resume`; waits until it is so, and returns what it prints.
    pub(super) fn order(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.script)
            .arg(words[0])
            .arg("--dir")
            .arg(&self.dir)
            .args(&words[1..])
            .output()
            .with_context(|| {
                format!("running {}; say where scripts/kafka is by --kafka", self.script.display())
            })?;
        if !output.status.success() {
            bail!("scripts/kafka {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.order(&["delete", "--hard"]));
    }
}

/// Asks and orders, as an administrator does.
pub(super) struct Admin {
    bootstrap_servers: String,
    client: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Admin {
    pub(super) fn new(bootstrap_servers: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            client: config(bootstrap_servers).create()?,
            runtime,
        })
    }

    pub(super) fn create_topic(&self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let done = self.runtime.block_on(self.client.create_topics([&new], &options()))?;
        refused(done.into_iter().next().and_then(Result::err), "creating", topic)
    }

    pub(super) fn delete_topic(&self, topic: &str) -> anyhow::Result<()> {
        let done = self.runtime.block_on(self.client.delete_topics(&[topic], &options()))?;
        refused(done.into_iter().next().and_then(Result::err), "deleting", topic)
    }

    /// Gives a topic more partitions.
    pub(super) fn grow_topic(&self, topic: &str, partitions: usize) -> anyhow::Result<()> {
        let new = NewPartitions::new(topic, partitions);
        let done = self.runtime.block_on(self.client.create_partitions([&new], &options()))?;
        refused(done.into_iter().next().and_then(Result::err), "adding partitions to", topic)
    }

    /// One past the last record of each partition.
    pub(super) fn ends(&self, topic: &str, partitions: usize) -> anyhow::Result<Vec<u64>> {
        let consumer: BaseConsumer = config(&self.bootstrap_servers).create()?;
        let end = |partition| {
            let (_, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
            Ok(u64::try_from(end)?)
        };
        (0..i32::try_from(partitions)?).map(end).collect()
    }

    /// What a group has committed in all partitions of a topic together; `None` if the broker does not say.
    pub(super) fn committed(&self, group: &str, topic: &str, partitions: usize) -> Option<u64> {
        let committed = Committed::new(&self.bootstrap_servers, group, topic).ok()?;
        let committed = committed.ask(partitions, Duration::from_secs(5))?;
        Some(committed.iter().map(|(_, offset)| offset).sum())
    }

    /// The values of every record of a topic.
    pub(super) fn read(&self, topic: &str, mut show: impl FnMut(&[u8])) -> anyhow::Result<()> {
        let consumer: BaseConsumer = config(&self.bootstrap_servers)
            .set("group.id", topic)
            .set("enable.auto.commit", "false")
            .create()?;
        let ends = self.ends(topic, 1)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning)?;
        consumer.assign(&list)?;
        let mut next = 0;
        while next < ends[0] {
            let record = consumer.poll(PATIENCE).context("the on-failure topic falls silent")??;
            next = u64::try_from(record.offset())? + 1;
            show(record.payload().unwrap_or_default());
        }
        Ok(())
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE))
}

fn refused<E: std::fmt::Debug>(error: Option<E>, what: &str, topic: &str) -> anyhow::Result<()> {
    match error {
        None => Ok(()),
        Some(error) => bail!("{what} topic {topic}: {error:?}"),
    }
}

/// Asks what a group has committed, again and again, by one client.
pub(super) struct Committed {
    consumer: BaseConsumer<Quiet>,
    topic: String,
}

impl Committed {
    pub(super) fn new(bootstrap_servers: &str, group: &str, topic: &str) -> anyhow::Result<Self> {
        let mut config = config(bootstrap_servers);
        config.set("group.id", group);
        Ok(Self { consumer: BaseConsumer::from_config_and_context(&config, Quiet)?, topic: topic.to_owned() })
    }

    /// Per partition what is committed; `None` if the broker does not answer within `time`.
    pub(super) fn ask(&self, partitions: usize, time: Duration) -> Option<Vec<(u32, u64)>> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, i32::try_from(partitions).ok()? - 1);
        let committed = self.consumer.committed_offsets(list, time).ok()?;
        let place =
            |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
                Offset::Offset(offset) => {
                    Some((u32::try_from(element.partition()).ok()?, u64::try_from(offset).ok()?))
                }
                _ => None,
            };
        Some(committed.elements_for_topic(&self.topic).iter().filter_map(place).collect())
    }
}

pub(super) fn config(bootstrap_servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap_servers)
        .set("client.id", "pelton-chaos")
        .set("reconnect.backoff.max.ms", "1000");
    config
}
