//! What librdkafka tells its client, collected until the source is served.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::settings::TokenProvider;
use super::statistics::Statistics;
use crate::ids::{Offset, Partition, Topic};

/// One thing librdkafka said.
#[derive(Debug)]
pub(super) enum Notice {
    Assigned(Vec<Partition>),
    Revoked {
        partitions: Vec<Partition>,
        lost: bool,
    },
    Committed {
        offsets: Vec<(Partition, Offset)>,
        refused: Option<String>,
    },
    Error {
        code: RDKafkaErrorCode,
        reason: String,
    },
    /// An offset was not to be had and the client chose another: its log line.
    OffsetReset(String),
    Statistics(Statistics),
}

/// Receives librdkafka's callbacks. All of them run on the thread that serves the source, inside
/// `BaseConsumer::poll`; the locks are there because the trait asks for `Sync`.
pub(super) struct Context {
    topic: Topic,
    token_provider: Option<TokenProvider>,
    notices: Mutex<Vec<Notice>>,
    /// Counts callbacks: `poll` returns `None` both for "nothing" and for "something was served".
    served: AtomicU64,
    /// Rebalances are answered at once: nobody else will.
    closing: AtomicBool,
}

impl Context {
    pub(super) fn new(topic: Topic, token_provider: Option<TokenProvider>) -> Self {
        Self {
            topic,
            token_provider,
            notices: Mutex::default(),
            served: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        }
    }

    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on what is announced is answered without asking anybody.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn tell(&self, notice: Notice) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        list.elements_for_topic(self.topic.as_str()).iter().map(|one| Partition(one.partition())).collect()
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.served.fetch_add(1, Ordering::Relaxed);
        use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice as Noticed, Warning};
        match level {
            // Told as an error of the client, either by librdkafka or below.
            Error if facility == "FAIL" || facility == "ERROR" => {
                tracing::debug!(target: "librdkafka", facility, "{line}");
            }
            Emerg | Alert | Critical | Error => tracing::error!(target: "librdkafka", facility, "{line}"),
            Warning => tracing::warn!(target: "librdkafka", facility, "{line}"),
            Noticed | Info => tracing::info!(target: "librdkafka", facility, "{line}"),
            Debug => tracing::debug!(target: "librdkafka", facility, "{line}"),
        }
        // An error that comes where records are read has no event: librdkafka only logs it.
        if facility == "ERROR" && matches!(level, Error) {
            // Its thread and its client come first.
            let reason = line.splitn(3, ": ").last().unwrap_or(line).to_owned();
            self.tell(Notice::Error { code: RDKafkaErrorCode::Unknown, reason });
        }
        // There is no event for it. librdkafka logs a reset at this level only if there was a
        // reason for it other than the settings.
        if facility == "OFFSET" && matches!(level, Warning) {
            self.tell(Notice::OffsetReset(line.to_owned()));
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        self.served.fetch_add(1, Ordering::Relaxed);
        match Statistics::parse(json, self.topic.as_str()) {
            Ok(statistics) => self.tell(Notice::Statistics(statistics)),
            Err(error) => tracing::warn!(%error, "librdkafka's statistics cannot be read; lag is not known"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.served.fetch_add(1, Ordering::Relaxed);
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        self.tell(Notice::Error { code, reason: without_count(reason) });
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.served.fetch_add(1, Ordering::Relaxed);
        let provider = self
            .token_provider
            .as_ref()
            .ok_or("sasl.mechanism is OAUTHBEARER, but nothing provides tokens")?;
        // A NUL in the message would abort inside the client.
        let token = provider().map_err(|reason| reason.replace('\0', "\\0"))?;
        Ok(OAuthToken {
            token: token.value,
            principal_name: token.principal,
            lifetime_ms: token.expires_at_ms,
        })
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.served.fetch_add(1, Ordering::Relaxed);
        let assigned = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            if let Err(error) = answer(consumer, assigned, list) {
                tracing::debug!(%error, assigned, "rebalance while closing");
            }
        } else if assigned {
            self.tell(Notice::Assigned(self.partitions(list)));
        } else {
            let lost = consumer.assignment_lost();
            self.tell(Notice::Revoked { partitions: self.partitions(list), lost });
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, list: &TopicPartitionList) {
        self.served.fetch_add(1, Ordering::Relaxed);
        let (offsets, refused) = committed(result.err().and_then(|error| error.rdkafka_error_code()), list);
        self.tell(Notice::Committed { offsets, refused });
    }
}

/// An error's words without how many like it came before: the pipeline counts by itself, and a
/// changing number makes the same error look like another.
fn without_count(reason: &str) -> String {
    let Some((before, after)) = reason.split_once(" identical error(s) suppressed") else {
        return reason.to_owned();
    };
    let before = before.trim_end_matches(|letter: char| letter.is_ascii_digit()).trim_end_matches(", ");
    format!("{before}{after}")
}

/// Takes or lets go of partitions, in the way that the group's protocol asks for.
pub(super) fn answer(
    consumer: &BaseConsumer<Context>,
    assigned: bool,
    list: &TopicPartitionList,
) -> KafkaResult<()> {
    match (consumer.rebalance_protocol(), assigned) {
        (RebalanceProtocol::Cooperative, true) => consumer.incremental_assign(list),
        (RebalanceProtocol::Cooperative, false) => consumer.incremental_unassign(list),
        (_, true) => consumer.assign(list),
        (_, false) => consumer.unassign(),
    }
}

/// What a commit's answer says: the offsets, and why any of them was refused.
pub(super) fn committed(
    code: Option<RDKafkaErrorCode>,
    list: &TopicPartitionList,
) -> (Vec<(Partition, Offset)>, Option<String>) {
    let mut refused = code.filter(|code| *code != RDKafkaErrorCode::NoError).map(|code| code.to_string());
    let offsets = list
        .elements()
        .iter()
        .filter_map(|one| {
            if let Err(error) = one.error() {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                refused.get_or_insert_with(|| format!("partition {}: {code}", one.partition()));
            }
            match one.offset() {
                KafkaOffset::Offset(offset) => Some((Partition(one.partition()), Offset(offset))),
                _ => None,
            }
        })
        .collect();
    (offsets, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_differ_in_their_count_read_the_same() {
        let once = "b:1/1: Connection refused (after 0ms in state CONNECT)";
        let again =
            "b:1/1: Connection refused (after 0ms in state CONNECT, 31 identical error(s) suppressed)";
        assert_eq!((without_count(once).as_str(), without_count(again).as_str()), (once, once));
    }
}
