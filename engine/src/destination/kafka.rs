//! A topic of the same cluster.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::report::Reporter;
use super::{Delivering, Destination, DestinationError, Failure};

/// How long librdkafka tries to have one record acknowledged.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Records on their way at once: a batch may have 10,000 of them, each an event of its own.
const UNDER_WAY_MAX: usize = 256;

/// A topic. Records keep their keys, so those of one key stay in order; those without go where the
/// producer's partitioner puts them.
pub struct KafkaTopic {
    name: String,
    topic: String,
    producer: FutureProducer,
    reporter: Reporter,
}

impl std::fmt::Debug for KafkaTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaTopic").field("name", &self.name).finish_non_exhaustive()
    }
}

impl KafkaTopic {
    /// `topic` of the cluster that `properties` of librdkafka lead to.
    ///
    /// # Errors
    /// If librdkafka refuses the properties.
    pub fn new<'p>(
        topic: &str,
        properties: impl IntoIterator<Item = (&'p str, &'p str)>,
        reporter: Reporter,
    ) -> Result<Self, DestinationError> {
        let name = format!("kafka://{topic}");
        let mut config = ClientConfig::new();
        config.set("client.id", "pelton-destination");
        for (property, value) in properties {
            config.set(property, value);
        }
        config
            // A dead letter is written at least once in any case. An idempotent producer would buy
            // nothing for that, and librdkafka's can hold everything back until it times out once a
            // broker has died in the middle of a request.
            .set("enable.idempotence", "false")
            .set("acks", "all")
            .set("delivery.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string())
            // The broker has the last word on sizes; ours must not be in its way.
            .set("message.max.bytes", "1000000000")
            .set("compression.type", "lz4");
        let producer = config.create().map_err(|error| DestinationError::new(&name, &error.to_string()))?;
        Ok(Self { name, topic: topic.to_owned(), producer, reporter })
    }

    fn failed(&self, error: &KafkaError) -> DestinationError {
        let remedy = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                Some("raise max.message.bytes of the topic (and message.max.bytes of the brokers)")
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Some("create it, or correct destination_config")
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Some("grant Write on the topic"),
            _ => None,
        };
        DestinationError::new(&self.name, &error.to_string()).with_remedy(remedy)
    }

    async fn acknowledged(&self, sent: DeliveryFuture) -> Result<(), DestinationError> {
        match sent.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(self.failed(&error)),
            Err(_) => Err(DestinationError::new(&self.name, "the producer was closed")),
        }
    }
}

impl Destination for KafkaTopic {
    fn deliver<'a>(&'a self, failure: &'a Failure) -> Delivering<'a> {
        Box::pin(async move {
            let mut under_way = std::collections::VecDeque::with_capacity(UNDER_WAY_MAX);
            for record in self.reporter.records(failure) {
                if under_way.len() == UNDER_WAY_MAX
                    && let Some(oldest) = under_way.pop_front()
                {
                    self.acknowledged(oldest).await?;
                }
                let mut sending = FutureRecord::<[u8], [u8]>::to(&self.topic).payload(&record.value);
                sending.key = record.key.as_deref();
                under_way
                    .push_back(self.producer.send_result(sending).map_err(|(error, _)| self.failed(&error))?);
            }
            for sent in under_way {
                self.acknowledged(sent).await?;
            }
            Ok(())
        })
    }

    fn name(&self) -> &str {
        &self.name
    }
}
