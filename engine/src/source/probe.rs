//! Asks the cluster, before anything is joined, whether it is there, lets this client in and has
//! the topic: the errors that a person should see at once, and not as an endless retry.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::SourceError;
use super::context::{Context, Notice};
use super::settings::KafkaSettings;
use crate::ids::Partition;
use crate::time::Clock;

/// How long one request may take before what was heard meanwhile is looked at.
const TURN: Duration = Duration::from_millis(250);

/// Connects, asks for the topic and goes again. Returns the topic's partitions, by number.
///
/// Takes as long as connecting takes, at most about `timeout`. A refusal (TLS, SASL, ACLs) ends
/// it as soon as it is known; what may pass (a broker that is not up yet, a leader not yet elected,
/// a topic not yet known everywhere) is asked for again until `timeout`.
///
/// # Errors
/// [`SourceError::Settings`] if librdkafka refuses the properties, [`SourceError::Unreachable`],
/// [`SourceError::Refused`], [`SourceError::UnknownTopic`].
pub fn probe(settings: &KafkaSettings, timeout: Duration) -> Result<Vec<Partition>, SourceError> {
    let context = Context::new(settings.topic.clone(), settings.token_provider.clone());
    // Without a group: nothing is joined, and dropping it does not wait.
    let client: BaseConsumer<Context> = settings
        .client_config()?
        .create_with_context(context)
        .map_err(|error| SourceError::Settings { reason: error.to_string() })?;
    let clock = Clock::start();
    let deadline = clock.now() + timeout;
    let mut heard = String::new();
    loop {
        // Serves the log, the errors and the token that OAUTHBEARER connects with.
        drain(&client);
        for notice in client.context().take() {
            if let Notice::Error { code, reason } = notice {
                if is_refusal(code) {
                    return Err(refused(settings, reason));
                }
                // "All brokers are down" says less than what was said before.
                if code != RDKafkaErrorCode::AllBrokersDown || heard.is_empty() {
                    heard = reason;
                }
            }
        }
        let left = deadline.since(clock.now());
        if left.is_zero() {
            return Err(if heard == NO_TOPIC {
                unknown_topic(settings)
            } else if was_hung_up_on(&heard) {
                refused(settings, heard)
            } else {
                unreachable(
                    settings,
                    if heard.is_empty() { format!("no answer within {timeout:?}") } else { heard },
                )
            });
        }
        match client.fetch_metadata(Some(settings.topic.as_str()), left.min(TURN)) {
            Ok(metadata) => {
                let topic = metadata.topics().iter().find(|topic| topic.name() == settings.topic.as_str());
                match topic.map(|topic| (topic.error().map(RDKafkaErrorCode::from), topic.partitions())) {
                    Some((None, partitions)) if !partitions.is_empty() => {
                        let mut numbers: Vec<_> = partitions.iter().map(|one| Partition(one.id())).collect();
                        numbers.sort_unstable();
                        return Ok(numbers);
                    }
                    Some((Some(code), _)) if is_refusal(code) => {
                        return Err(refused(settings, code.to_string()));
                    }
                    Some((Some(RDKafkaErrorCode::UnknownTopicOrPartition), _)) => {
                        return Err(unknown_topic(settings));
                    }
                    Some((Some(RDKafkaErrorCode::InvalidTopic), _)) => {
                        return Err(SourceError::Settings {
                            reason: format!("{} is not a name for a topic", settings.topic),
                        });
                    }
                    Some((Some(code), _)) => heard = format!("topic {}: {code}", settings.topic),
                    Some((None, _)) | None => NO_TOPIC.clone_into(&mut heard),
                }
                // Something answered that is not final: ask again, but not at once.
                client.poll(left.min(TURN));
            }
            Err(error) => {
                if error.rdkafka_error_code().is_some_and(is_refusal) {
                    return Err(refused(settings, error.to_string()));
                }
            }
        }
    }
}

/// Whether the broker took the connection and then closed it before this client was let in. It may
/// have been busy, so it is asked again; but a listener of another protocol does just that.
fn was_hung_up_on(reason: &str) -> bool {
    reason.contains("state SSL_HANDSHAKE") || reason.contains("state AUTH")
}

const NO_TOPIC: &str = "the topic has no partitions";

fn drain(client: &BaseConsumer<Context>) {
    loop {
        let before = client.context().served();
        if client.poll(Duration::ZERO).is_none() && client.context().served() == before {
            return;
        }
    }
}

/// Whether this is a no that asking again does not change.
pub(super) fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Authentication
            | Code::SSL
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
    )
}

/// Whether this is about reaching a broker.
pub(super) fn is_unreachable(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::OperationTimedOut
    )
}

pub(super) fn refused(settings: &KafkaSettings, reason: String) -> SourceError {
    SourceError::Refused { bootstrap_servers: settings.bootstrap_servers.clone(), reason }
}

pub(super) fn unreachable(settings: &KafkaSettings, reason: String) -> SourceError {
    SourceError::Unreachable { bootstrap_servers: settings.bootstrap_servers.clone(), reason }
}

pub(super) fn unknown_topic(settings: &KafkaSettings) -> SourceError {
    SourceError::UnknownTopic {
        topic: settings.topic.as_str().to_owned(),
        bootstrap_servers: settings.bootstrap_servers.clone(),
    }
}
