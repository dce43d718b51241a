//! The ground of a run: where records come from and who sends them.

use std::sync::Arc;

use anyhow::bail;

use pelton::source::settings::GroupProtocol;
use pelton::time::{Clock, Nanos};

use crate::ledger::Ledger;
use crate::load::{EMBEDDED_OUTSTANDING_BYTES_MAX, LoadSettings, Loader, RunningLoad};
use crate::measure::cpu::{Role, Roles};
use crate::memory::Corpus;
use crate::meter::Origin;
use crate::subject::{Feed, KafkaFeed};
use crate::topic::RunTopic;
use crate::workload::scenario::{End, Scenario, SourceSpec};

/// Where records come from and who sends them.
pub(crate) enum Ground {
    Memory(Arc<Corpus>),
    Broker(Box<Broker>),
}

pub(crate) struct Broker {
    topic: RunTopic,
    ledger: Arc<Ledger>,
    /// `None` once it runs.
    loader: Option<Loader>,
    embedded: bool,
}

impl Ground {
    /// Makes or finds the topic and connects the loader; gives each its threads.
    pub(crate) fn prepare(scenario: &Scenario, roles: &mut Roles, clock: Clock) -> anyhow::Result<Self> {
        let mut workload = scenario.workload.clone();
        let topic = match &scenario.source {
            SourceSpec::Memory => {
                let records_max = match scenario.end {
                    End::Records(records) => Some(records),
                    End::After(_) => None,
                };
                return Ok(Self::Memory(Arc::new(Corpus::new(&workload, records_max))));
            }
            SourceSpec::Embedded => RunTopic::embedded(workload.partitions)?,
            SourceSpec::Kafka { brokers, topic: None } => RunTopic::create(brokers, workload.partitions)?,
            SourceSpec::Kafka { brokers, topic: Some(topic) } => RunTopic::find(brokers, topic)?,
        };
        // A topic that was there has as many partitions as it has.
        workload.partitions = topic.partitions_for(&workload)?;
        if workload.key.cardinality().is_some_and(|keys| keys < u64::from(workload.partitions)) {
            bail!(
                "{} are too few keys for the {} partitions of {}",
                workload.key,
                workload.partitions,
                topic.topic
            );
        }
        roles.claim(Role::Broker);
        let embedded = scenario.source == SourceSpec::Embedded;
        let ledger = Arc::new(Ledger::new(&topic.starts));
        let settings = LoadSettings {
            bootstrap_servers: topic.brokers.clone(),
            topic: topic.topic.to_string(),
            compression: workload.compression,
            linger: workload.linger,
            outstanding_bytes_max: embedded.then_some(EMBEDDED_OUTSTANDING_BYTES_MAX),
        };
        let loader = Loader::connect(settings, &workload, Arc::clone(&ledger), clock)?;
        roles.claim(Role::Load);
        Ok(Self::Broker(Box::new(Broker { topic, ledger, loader: Some(loader), embedded })))
    }

    /// Where each partition begins.
    pub(crate) fn starts(&self) -> Vec<i64> {
        match self {
            Self::Memory(corpus) => corpus.taken(),
            Self::Broker(broker) => broker.topic.starts.clone(),
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        match self {
            Self::Memory(corpus) => Origin::Corpus(Arc::clone(corpus)),
            Self::Broker(broker) => Origin::Ledger(Arc::clone(&broker.ledger)),
        }
    }

    /// What the engine reads.
    pub(crate) fn feed(&self) -> Feed {
        match self {
            Self::Memory(corpus) => Feed::Memory(Arc::clone(corpus)),
            Self::Broker(broker) => Feed::Kafka(broker.topic.feed(broker.embedded)),
        }
    }

    /// Sends a record to each partition. Returns how many are on their way.
    pub(crate) fn prime(&mut self) -> anyhow::Result<u64> {
        match self {
            Self::Memory(_) => Ok(0),
            Self::Broker(broker) => Ok(broker.loader.as_mut().map_or(Ok(0), Loader::prime)?),
        }
    }

    /// Lets the loader go.
    pub(crate) fn load(
        &mut self,
        start: Nanos,
        until: Nanos,
        records_max: u64,
        measure_from: Nanos,
    ) -> anyhow::Result<Option<RunningLoad>> {
        let Self::Broker(broker) = self else { return Ok(None) };
        let Some(loader) = broker.loader.take() else { return Ok(None) };
        Ok(Some(loader.start(start, until, records_max, measure_from)?))
    }

    /// Nothing more is to come.
    pub(crate) fn stop(&self) {
        if let Self::Memory(corpus) = self {
            corpus.stop();
        }
    }

    /// Whether the engine has taken all that there is.
    pub(crate) fn is_exhausted(&self) -> bool {
        matches!(self, Self::Memory(corpus) if corpus.is_exhausted())
    }

    /// How many records are to be delivered; `None` where only the end tells.
    pub(crate) fn total(&self) -> Option<u64> {
        match self {
            Self::Memory(_) => None,
            Self::Broker(broker) => {
                let sent = broker
                    .ledger
                    .ends()
                    .into_iter()
                    .zip(&broker.topic.starts)
                    .map(|(end, start)| end - start);
                u64::try_from(sent.sum::<i64>()).ok()
            }
        }
    }

    /// One past the last record of each partition. For memory, once the engine has ended.
    pub(crate) fn ends(&self) -> Vec<i64> {
        match self {
            Self::Memory(corpus) => corpus.taken(),
            Self::Broker(broker) => broker.ledger.ends(),
        }
    }

    pub(crate) fn outstanding_bytes_peak(&self) -> u64 {
        match self {
            Self::Memory(_) => 0,
            Self::Broker(broker) => broker.ledger.outstanding_bytes_peak(),
        }
    }

    /// Cleans up.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Broker(broker) => broker.topic.remove(),
        }
    }
}

impl RunTopic {
    /// How an engine reads it.
    #[must_use]
    pub fn feed(&self, embedded: bool) -> KafkaFeed {
        // The embedded broker answers an empty fetch only after all of its wait, even if a record
        // arrives meanwhile; and its classic groups take seconds for each change.
        let (protocol, properties) = if embedded {
            (GroupProtocol::Consumer, vec![("fetch.wait.max.ms".to_owned(), "10".to_owned())])
        } else {
            (GroupProtocol::Classic, Vec::new())
        };
        KafkaFeed {
            brokers: self.brokers.clone(),
            topic: self.topic.clone(),
            group: self.group.clone(),
            protocol,
            properties,
        }
    }
}
