//! The topic of a run: made in the embedded broker, made on a cluster, or one that is there.

use std::time::Duration;

use anyhow::{Context as _, bail};
use pelton::ids::Topic;
use pelton::source::embedded::EmbeddedBroker;
use pelton::time::wall_ms;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::workload::scenario::Workload;

/// How long a cluster may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A topic that the run has to itself.
pub struct RunTopic {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// Its name.
    pub topic: Topic,
    /// The consumer group of the run.
    pub group: String,
    /// Where each of its partitions begins, for this run.
    pub starts: Vec<i64>,
    home: Home,
}

/// Who keeps it. Ends with the run.
enum Home {
    Embedded(#[expect(dead_code, reason = "lives as long as the topic")] EmbeddedBroker),
    Created(AdminClient<DefaultClientContext>),
    Found,
}

impl RunTopic {
    /// How many partitions it has, which must be enough for the capture of `workload`, if it has one.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn partitions_for(&self, workload: &Workload) -> anyhow::Result<u32> {
        if let Some(recording) = workload.replay
            && self.starts.len() < recording.partitions().len()
        {
            bail!(
                "{} has records of {} partitions, {} has {}; leave out `topic`, or give one with as many",
                recording.path().display(),
                recording.partitions().len(),
                self.topic,
                self.starts.len()
            );
        }
        Ok(u32::try_from(self.starts.len())?)
    }

    /// A topic in an embedded broker of its own.
    ///
    /// # Errors
    /// If the broker cannot listen.
    pub fn embedded(partitions: u32) -> anyhow::Result<Self> {
        let broker = EmbeddedBroker::start(1)?;
        let topic = Topic::new("harness");
        broker.create_topic(&topic, u16::try_from(partitions).context("too many partitions")?)?;
        Ok(Self {
            brokers: broker.bootstrap_servers(),
            topic,
            group: "harness".to_owned(),
            starts: vec![0; partitions as usize],
            home: Home::Embedded(broker),
        })
    }

    /// A new topic on a cluster, deleted when the run is over.
    ///
    /// # Errors
    /// If no broker answers, or this client may not create topics.
    pub fn create(brokers: &str, partitions: u32) -> anyhow::Result<Self> {
        let name = format!("pelton-harness-{}-{}", wall_ms(), std::process::id());
        let admin: AdminClient<DefaultClientContext> = client(brokers).create()?;
        let wanted = NewTopic::new(&name, i32::try_from(partitions)?, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
        let answers = wait(admin.create_topics([&wanted], &options))?.with_context(|| {
            format!("creating topic {name} on {brokers}; give --topic to use one that exists")
        })?;
        if let Some(Err((_, code))) = answers.into_iter().next() {
            bail!("{brokers} does not create topic {name}: {code}; give --topic to use one that exists");
        }
        Ok(Self {
            brokers: brokers.to_owned(),
            topic: Topic::new(&name),
            group: name,
            starts: vec![0; partitions as usize],
            home: Home::Created(admin),
        })
    }

    /// A topic that is there. What it holds already is left alone: the run's group begins at its
    /// end.
    ///
    /// # Errors
    /// If no broker answers or the topic does not exist.
    pub fn find(brokers: &str, name: &str) -> anyhow::Result<Self> {
        let group = format!("pelton-harness-{}-{}", wall_ms(), std::process::id());
        let consumer: BaseConsumer = client(brokers).set("group.id", &group).create()?;
        let metadata = consumer
            .fetch_metadata(Some(name), TIMEOUT)
            .with_context(|| format!("no answer from {brokers} about topic {name}"))?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        if partitions == 0 {
            bail!("topic {name} does not exist on {brokers}; create it, or leave out --topic");
        }
        let mut starts = Vec::with_capacity(partitions);
        let mut list = TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions)? {
            let (_, end) = consumer
                .fetch_watermarks(name, partition, TIMEOUT)
                .with_context(|| format!("where {name}[{partition}] ends"))?;
            list.add_partition_offset(name, partition, Offset::Offset(end))?;
            starts.push(end);
        }
        consumer
            .commit(&list, CommitMode::Sync)
            .with_context(|| format!("committing the first offsets of group {group}"))?;
        Ok(Self { brokers: brokers.to_owned(), topic: Topic::new(name), group, starts, home: Home::Found })
    }

    /// Deletes the topic, if the run has created it.
    ///
    /// # Errors
    /// If the cluster refuses.
    pub fn remove(self) -> anyhow::Result<()> {
        if let Home::Created(admin) = &self.home {
            let name = self.topic.as_str();
            let answers = wait(admin.delete_topics(&[name], &AdminOptions::new()))??;
            if let Some(Err((_, code))) = answers.into_iter().next() {
                bail!("topic {name} was created for this run and could not be deleted: {code}");
            }
        }
        Ok(())
    }
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("client.id", "pelton-harness");
    config
}

/// Waits for one answer of the admin client, which has only an asynchronous interface.
fn wait<T>(answer: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(answer))
}
