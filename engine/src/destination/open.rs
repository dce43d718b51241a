//! From a mapping to its destination.

use std::sync::Arc;

use uuid::Uuid;

use super::aws::{Bucket, Notices, Queue, sdk_config};
use super::kafka::KafkaTopic;
use super::report::Reporter;
use super::{Destination, DestinationError};
use crate::mapping::{DestinationTarget, Mapping};

/// Opens the destination of `mapping`, if it has one. Nothing is written to it.
///
/// # Errors
/// If it cannot ever be written to: no credentials, no region, properties that librdkafka refuses.
pub async fn open(mapping: &Mapping) -> Result<Option<Arc<dyn Destination>>, DestinationError> {
    let Some(target) = &mapping.destination else { return Ok(None) };
    let (name, reporter) = (target.to_string(), reporter(mapping));
    Ok(Some(match target {
        DestinationTarget::Sqs { region, account, queue, .. } => {
            let config = sdk_config(Some(region), &name).await?;
            Arc::new(Queue::new(&config, &name, account, queue, reporter))
        }
        DestinationTarget::Sns { arn, region } => {
            Arc::new(Notices::new(&sdk_config(Some(region), &name).await?, arn, reporter))
        }
        DestinationTarget::S3 { arn, bucket } => {
            let config = sdk_config(mapping.region.as_deref(), &name).await?;
            // Servers that stand in for S3 are seldom reached by a bucket's own host name.
            let path_style =
                config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
            Arc::new(Bucket::new(&config, arn, bucket, path_style, reporter))
        }
        DestinationTarget::Kafka { topic } => {
            let properties = mapping.connection_properties();
            let properties = properties.iter().map(|property| (property.name(), property.reveal()));
            Arc::new(KafkaTopic::new(topic.as_str(), properties, reporter)?)
        }
    }))
}

fn reporter(mapping: &Mapping) -> Reporter {
    let function_arn = mapping.function.to_string();
    // A mapping has no UUID of its own: the same settings must find the same prefix again.
    let identity = format!("{}\n{}\n{function_arn}", mapping.consumer_group_id, mapping.topic);
    Reporter {
        mapping: Uuid::new_v5(&Uuid::NAMESPACE_URL, identity.as_bytes()),
        function_arn,
        event_source_arn: mapping.event_source_arn.clone(),
        bootstrap_servers: mapping.bootstrap(),
        topic: mapping.topic.clone(),
    }
}
