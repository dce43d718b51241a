//! What a Kafka client needs to be told, and what it is told beyond that.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::SourceError;
use crate::ids::Topic;

/// Called from librdkafka's threads when a queue stops being empty: wakes the thread that serves
/// the source. Runs under librdkafka's queue lock, so it must not block and must not call the
/// source.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Makes a token for SASL/OAUTHBEARER (MSK IAM among others). Called from
/// [`Source::serve`](super::Source::serve), so it must answer from memory; fetch ahead elsewhere.
pub type TokenProvider = Arc<dyn Fn() -> Result<Token, String> + Send + Sync>;

/// A token for SASL/OAUTHBEARER.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What is sent to the broker.
    pub value: String,
    /// The principal that it is for.
    pub principal: String,
    /// When it ends, in milliseconds since the Unix epoch. It is renewed at 80 % of its life.
    pub expires_at_ms: i64,
}

/// Where a group begins to read a partition for which it has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The oldest record kept. AWS: `TRIM_HORIZON`.
    Earliest,
    /// The next record to be written. AWS: `LATEST`.
    Latest,
    /// The first record with this timestamp or a later one, in milliseconds since the Unix epoch;
    /// the end if there is none. AWS: `AT_TIMESTAMP`.
    Timestamp(i64),
}

impl StartAt {
    /// Where to go when the wanted offset is gone (retention, truncation): what AWS's position
    /// implies, so that `Latest` never replays and the others never skip what is kept.
    pub(super) const fn after_loss(self) -> Self {
        match self {
            Self::Latest => Self::Latest,
            Self::Earliest | Self::Timestamp(_) => Self::Earliest,
        }
    }
}

/// How the members of a group share its partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The protocol of all Kafka versions, with cooperative-sticky assignment.
    #[default]
    Classic,
    /// KIP-848, Kafka 4.0 and later: the broker assigns, one partition at a time.
    Consumer,
}

/// What a Kafka client is told.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port`, comma-separated.
    pub bootstrap_servers: String,
    /// The one topic to read.
    pub topic: Topic,
    /// The consumer group.
    pub group_id: String,
    /// Where to begin without a committed offset. Default [`StartAt::Earliest`].
    pub start_at: StartAt,
    /// Default [`GroupProtocol::Classic`].
    pub group_protocol: GroupProtocol,
    /// How many pollers read from this client, each from a queue of its own. 1 to 1024, default 1.
    pub queues: usize,
    /// What records fetched ahead may occupy, per queue; 2 MiB to 2 GiB, default 32 MiB. Half is for
    /// the records' bytes and half for librdkafka's bookkeeping (some 320 B a record), whichever is
    /// used up first stops the fetch. Answers that are already on their way still arrive: up to
    /// `fetch.message.max.bytes` (1 MiB) for each partition beyond this, as compressed on the wire.
    pub prefetch_bytes: usize,
    /// How this process is called in the broker's logs. Default `pelton`.
    pub client_id: String,
    /// How long to look for a partition's first offset in one call of
    /// [`assign`](super::Source::assign). Default 10 s.
    pub lookup_timeout: Duration,
    /// How long to wait for the answer to a commit with
    /// [`CommitMode::Sync`](super::CommitMode::Sync). Default 5 s.
    pub commit_timeout: Duration,
    /// Further librdkafka properties (security above all). They override the defaults below, but
    /// not what the engine's guarantees stand on: those are refused.
    pub properties: Vec<(String, String)>,
    /// For `sasl.mechanism=OAUTHBEARER`.
    pub token_provider: Option<TokenProvider>,
}

impl std::fmt::Debug for KafkaSettings {
    /// Without the properties' values: there are passwords among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("topic", &self.topic)
            .field("group_id", &self.group_id)
            .field("start_at", &self.start_at)
            .field("group_protocol", &self.group_protocol)
            .field("queues", &self.queues)
            .field("prefetch_bytes", &self.prefetch_bytes)
            .field("properties", &self.properties.iter().map(|(key, _)| key).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Smallest and largest [`KafkaSettings::prefetch_bytes`].
const PREFETCH_BYTES_MIN: usize = 2 << 20;
const PREFETCH_BYTES_MAX: usize = 2 << 30;
/// Most queues a client may have.
const QUEUES_MAX: usize = 1024;
/// What librdkafka allocates for a record besides its bytes (measured: 300 B to 320 B).
const BOOKKEEPING_BYTES: usize = 320;
/// librdkafka's own default: more records than this are never fetched ahead.
const PREFETCH_RECORDS_MAX: usize = 100_000;

/// Properties that the engine's guarantees, or its settings of other names, stand on.
const RESERVED: [(&str, &str); 13] = [
    ("bootstrap.servers", "set `bootstrap_servers`"),
    ("metadata.broker.list", "set `bootstrap_servers`"),
    ("group.id", "set `consumer_group_id`"),
    ("group.protocol", "set `group_protocol`"),
    ("client.id", "set `client_id`"),
    ("enable.auto.commit", "offsets are committed only after the function succeeded"),
    ("enable.auto.offset.store", "offsets are committed only after the function succeeded"),
    ("enable.partition.eof", "librdkafka counts ends of partition as records"),
    ("auto.offset.reset", "set `starting_position`"),
    ("allow.auto.create.topics", "a source never creates topics"),
    ("queued.max.messages.kbytes", "set `memory_budget`"),
    ("queued.min.messages", "set `memory_budget`"),
    ("log.queue", "librdkafka's lines go to the engine's log"),
];

impl KafkaSettings {
    /// These servers, topic and group, and defaults for the rest.
    #[must_use]
    pub fn new(bootstrap_servers: &str, topic: &Topic, group_id: &str) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            topic: topic.clone(),
            group_id: group_id.to_owned(),
            start_at: StartAt::Earliest,
            group_protocol: GroupProtocol::Classic,
            queues: 1,
            prefetch_bytes: 32 << 20,
            client_id: "pelton".to_owned(),
            lookup_timeout: Duration::from_secs(10),
            commit_timeout: Duration::from_secs(5),
            properties: Vec::new(),
            token_provider: None,
        }
    }

    /// Adds a librdkafka property.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// What every client of these settings has in common: servers, security, timing.
    pub(super) fn client_config(&self) -> Result<ClientConfig, SourceError> {
        self.check()?;
        let mut config = ClientConfig::new();
        self.set_common(&mut config);
        Ok(config)
    }

    /// Sets it in place, and last: copied out of a [`ClientConfig`], passwords come redacted.
    fn set_common(&self, config: &mut ClientConfig) {
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", &self.client_id)
            .set("allow.auto.create.topics", "false")
            // Partitions that are added, and topics that are gone, are noticed this soon.
            .set("topic.metadata.refresh.interval.ms", "30000")
            // The default of 10 s shows as seconds of silence after every broker restart.
            .set("reconnect.backoff.max.ms", "1000")
            // The bundled OpenSSL's own directory of certificates does not exist at run time.
            .set("ssl.ca.location", "probe");
        config.set_log_level(if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
            RDKafkaLogLevel::Debug
        } else {
            // Also without a subscriber: offset resets are only told in a log line.
            RDKafkaLogLevel::Info
        });
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        if self.properties.iter().any(|(key, _)| key == "ssl.ca.pem" || key == "ssl.ca.certificate.stores") {
            config.remove("ssl.ca.location");
        }
    }

    /// What a member of the group is told.
    pub(super) fn consumer_config(&self) -> Result<ClientConfig, SourceError> {
        self.check()?;
        let mut config = ClientConfig::new();
        config
            .set("group.id", &self.group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Batch reads of librdkafka 2.12 skip a record after it: see `queue`.
            .set("enable.partition.eof", "false")
            .set("auto.offset.reset", if self.start_at == StartAt::Latest { "latest" } else { "earliest" })
            // 1000 by default, which makes a full queue that has just been drained wait a second.
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.wait.max.ms", "100")
            .set("check.crcs", "true")
            .set("statistics.interval.ms", "5000")
            // librdkafka's default, said aloud because the Java client's differs: a function that
            // acts on records of aborted transactions cannot be made to unsee them, and at least
            // once is no excuse for what was never written. Override to read them.
            .set("isolation.level", "read_committed")
            .set("queued.max.messages.kbytes", (self.prefetch_bytes / 2 / 1024).to_string())
            .set("queued.min.messages", self.prefetch_records().to_string());
        match self.group_protocol {
            GroupProtocol::Classic => {
                config
                    .set("group.protocol", "classic")
                    .set("partition.assignment.strategy", "cooperative-sticky");
            }
            // Session, heartbeats and assignment are the broker's settings there.
            GroupProtocol::Consumer => {
                config.set("group.protocol", "consumer");
            }
        }
        self.set_common(&mut config);
        Ok(config)
    }

    fn prefetch_records(&self) -> usize {
        (self.prefetch_bytes / 2 / BOOKKEEPING_BYTES).clamp(1, PREFETCH_RECORDS_MAX)
    }

    fn check(&self) -> Result<(), SourceError> {
        let refuse = |reason: String| Err(SourceError::Settings { reason });
        if !(1..=QUEUES_MAX).contains(&self.queues) {
            return refuse(format!("queues is {}, allowed are 1 to {QUEUES_MAX}", self.queues));
        }
        if !(PREFETCH_BYTES_MIN..=PREFETCH_BYTES_MAX).contains(&self.prefetch_bytes) {
            return refuse(format!(
                "prefetch_bytes is {} per queue, allowed are {PREFETCH_BYTES_MIN} to {PREFETCH_BYTES_MAX}; \
                 set a larger memory_budget or fewer pollers",
                self.prefetch_bytes
            ));
        }
        if let StartAt::Timestamp(ms) = self.start_at
            && ms < 0
        {
            return refuse(format!("the starting position's timestamp is {ms} ms, before 1970"));
        }
        for (key, _) in &self.properties {
            if let Some((_, instead)) = RESERVED.iter().find(|(reserved, _)| reserved == key) {
                return refuse(format!("property {key} is not yours to set: {instead}"));
            }
        }
        for (name, value) in
            [("bootstrap_servers", &self.bootstrap_servers), ("consumer_group_id", &self.group_id)]
        {
            if value.is_empty() || value.contains('\0') {
                return refuse(format!("{name} is {value:?}"));
            }
        }
        if self.topic.as_str().is_empty() || self.topic.as_str().contains('\0') {
            return refuse(format!("the topic's name is {:?}", self.topic.as_str()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> KafkaSettings {
        KafkaSettings::new("localhost:9092", &Topic::new("t"), "g")
    }

    #[test]
    fn what_the_guarantees_stand_on_cannot_be_overridden() {
        for (key, _) in RESERVED {
            let error = settings().with(key, "x").consumer_config().expect_err(key);
            assert!(matches!(error, SourceError::Settings { reason } if reason.contains(key)), "{key}");
        }
    }

    #[test]
    fn other_properties_override_the_defaults() {
        let config = settings()
            .with("isolation.level", "read_uncommitted")
            .with("partition.assignment.strategy", "range")
            .consumer_config()
            .expect("valid");
        assert_eq!(config.get("isolation.level"), Some("read_uncommitted"));
        assert_eq!(config.get("partition.assignment.strategy"), Some("range"));
    }

    #[test]
    fn the_new_protocol_leaves_sessions_and_assignment_to_the_broker() {
        let mut settings = settings();
        settings.group_protocol = GroupProtocol::Consumer;
        let config = settings.consumer_config().expect("valid");
        assert_eq!(config.get("group.protocol"), Some("consumer"));
        assert_eq!(config.get("partition.assignment.strategy"), None);
    }

    #[test]
    fn prefetch_counts_bookkeeping_as_well_as_bytes() {
        let mut settings = settings();
        settings.prefetch_bytes = 4 << 20;
        let config = settings.consumer_config().expect("valid");
        assert_eq!(config.get("queued.max.messages.kbytes"), Some("2048"));
        assert_eq!(config.get("queued.min.messages"), Some("6553"));
    }

    #[test]
    fn the_consumer_is_told_the_password_that_the_probe_is_told() {
        let settings = settings().with("sasl.password", "hunter2");
        for config in [settings.client_config(), settings.consumer_config()] {
            assert_eq!(config.expect("valid").get("sasl.password"), Some("hunter2"));
        }
    }

    #[test]
    fn passwords_do_not_reach_a_log_line() {
        let shown = format!("{:?}", settings().with("sasl.password", "hunter2"));
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn only_latest_goes_to_the_end_after_a_loss() {
        assert_eq!(StartAt::Latest.after_loss(), StartAt::Latest);
        assert_eq!(StartAt::Earliest.after_loss(), StartAt::Earliest);
        assert_eq!(StartAt::Timestamp(7).after_loss(), StartAt::Earliest);
    }
}
