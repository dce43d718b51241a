//! From what librdkafka said to what the pipeline is told.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::commits;
use super::consumer::KafkaSource;
use super::context::Notice;
use super::faults::{Fault, FaultKind};
use super::probe::{is_refusal, is_unreachable, refused, unknown_topic, unreachable};
use super::queue::KafkaQueue;
use super::{SourceError, SourceEvent, SourceState};
use crate::ids::Partition;

/// Callbacks served in one call of [`Source::serve`](super::Source::serve), at most: a flood of log
/// lines must not keep the thread from its records.
const SERVED_MAX: usize = 1000;

impl KafkaSource {
    /// Polls the client until it has nothing more to say.
    pub(super) fn poll(&mut self, events: &mut Vec<SourceEvent>) {
        for _ in 0..SERVED_MAX {
            let client = self.client.as_ref().expect("the client is there until close");
            let before = client.context().served();
            match client.poll(Duration::ZERO) {
                None if client.context().served() == before => return,
                None => {}
                Some(Ok(message)) => {
                    let partition = Partition(rdkafka::Message::partition(&message));
                    self.rebalances.disown(partition);
                    events.push(SourceEvent::Fatal(SourceError::Client {
                        action: "reading records",
                        reason: format!(
                            "a record of partition {partition} came past its poller; nothing more of the \
                             partition is committed, so that a restart reads it again"
                        ),
                    }));
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    let reason =
                        client.client().fatal_error().map_or_else(|| code.to_string(), |(_, words)| words);
                    events.push(SourceEvent::Fatal(SourceError::Client {
                        action: "being a group member",
                        reason,
                    }));
                }
                // Told by the context already, with more words.
                Some(Err(_)) => {}
            }
        }
        // There may be more: come back without being woken for it.
        (self.wake)();
    }

    pub(super) fn on_notice(&mut self, notice: Notice, events: &mut Vec<SourceEvent>) {
        match notice {
            Notice::Assigned(partitions) => {
                self.enter(SourceState::Connected, events);
                self.rebalances.record_assigned(partitions);
            }
            Notice::Revoked { partitions, lost } => self.rebalances.record_revoked(partitions, lost),
            Notice::Committed { refused, .. } if self.pins.is_in_flight() => {
                if let Some(reason) = &refused {
                    tracing::debug!(%reason, "the starting position is not committed yet");
                }
                self.pins.on_answer(refused.is_none());
            }
            Notice::Committed { offsets, refused } => {
                self.commits_in_flight = self.commits_in_flight.saturating_sub(1);
                if refused.is_none() && !offsets.is_empty() {
                    self.enter(SourceState::Connected, events);
                }
                let error = refused.map(commits::refused);
                events.push(SourceEvent::Committed { offsets, error });
            }
            Notice::Error { code: RDKafkaErrorCode::AllBrokersDown, .. } => {
                self.enter(SourceState::Disconnected, events);
            }
            // Told again as a fatal error of the client.
            Notice::Error { code: RDKafkaErrorCode::Fatal, .. } => {}
            Notice::Error { code, reason } => {
                events.push(SourceEvent::Problem(self.error(code, "talking to brokers", reason)));
            }
            Notice::OffsetReset(line) => {
                events.push(SourceEvent::Problem(SourceError::OffsetLost { detail: line }));
            }
            Notice::Statistics(statistics) => {
                if statistics.connected {
                    self.enter(SourceState::Connected, events);
                }
                self.queues.iter_mut().for_each(KafkaQueue::look);
                for (partition, end) in statistics.ends {
                    if self.rebalances.owns(partition) {
                        events.push(SourceEvent::Lag { partition, end });
                    }
                }
            }
        }
    }

    pub(super) fn on_fault(&mut self, fault: Fault, events: &mut Vec<SourceEvent>) {
        let partition = fault.partition;
        match fault.kind {
            FaultKind::Fetch { code, reason } => {
                let reason = format!("partition {partition}: {reason}");
                events.push(SourceEvent::Problem(self.error(code, "fetching", reason)));
            }
            FaultKind::WentBack { expected, got } => {
                events.push(SourceEvent::Problem(SourceError::OffsetLost {
                    detail: format!(
                        "{}[{partition}]: offset {expected} was next, but {got} came: the log was truncated, or \
                         the topic was made anew",
                        self.settings.topic
                    ),
                }));
                self.rebalances.record_reset(partition);
            }
        }
    }

    pub(super) fn error(&self, code: RDKafkaErrorCode, action: &'static str, reason: String) -> SourceError {
        use RDKafkaErrorCode as Code;
        match code {
            code if is_refusal(code) => refused(&self.settings, reason),
            code if is_unreachable(code) => unreachable(&self.settings, reason),
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
                unknown_topic(&self.settings)
            }
            _ => SourceError::Client { action, reason },
        }
    }

    pub(super) fn enter(&mut self, state: SourceState, events: &mut Vec<SourceEvent>) {
        if self.state != Some(state) {
            self.state = Some(state);
            events.push(SourceEvent::State(state));
        }
    }
}
