//! A Kafka cluster inside this process, for the demo and for tests: librdkafka's mock cluster.
//!
//! It listens on 127.0.0.1 at ports it chooses, speaks Kafka's protocol to any client and any
//! process, and needs nothing installed. It is **not Kafka**:
//!
//! - **It forgets.** Each partition keeps 5 MiB, or 100 000 produced batches; older ones are
//!   dropped without a word, read or not. Whoever produces must watch the lag, whoever reads must
//!   treat a jump in offsets as loss.
//! - No TLS, no SASL, no transactions' isolation, no compaction, no offsets by timestamp, nothing
//!   on disk. Topics are created by [`EmbeddedBroker::create_topic`], or with 4 partitions on
//!   being produced to.
//! - An empty fetch waits for all of `fetch.wait.max.ms`, even if a record arrives meanwhile.
//! - A rebalance of the classic protocol, from the second on, takes a second less than the members'
//!   `session.timeout.ms` (45 s by default: set it to 3000, and `heartbeat.interval.ms` to 300).
//!   Commits are refused meanwhile, and cooperative members that leave may strand their partitions.
//! - librdkafka calls it experimental.
#![expect(unsafe_code, reason = "the `rdkafka` crate's mock cluster hides most of librdkafka's")]

use std::ffi::{CStr, CString};
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr, RDKafkaType};

use super::SourceError;
use crate::ids::Topic;

/// Says nothing.
struct Silent;

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
}

/// A cluster of one or more brokers in this process. Ends when dropped.
pub struct EmbeddedBroker {
    cluster: NonNull<c::rd_kafka_mock_cluster_t>,
    brokers: i32,
    /// The client that the cluster lives in; after `cluster`, which `drop` destroys.
    _client: Client<Silent>,
}

// SAFETY: every function of the mock cluster takes the cluster's lock or sends the request to the
// cluster's own thread; the handle is not bound to a thread.
unsafe impl Send for EmbeddedBroker {}
// SAFETY: as above.
unsafe impl Sync for EmbeddedBroker {}

impl EmbeddedBroker {
    /// Starts a cluster of `brokers` (1 to 100), whose groups rebalance as fast as they can.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn start(brokers: u8) -> Result<Self, SourceError> {
        let failed = |reason: String| SourceError::Client { action: "starting the embedded broker", reason };
        let brokers = i32::from(brokers.clamp(1, 100));
        let mut config = ClientConfig::new();
        config.set("client.id", "embedded-broker").set_log_level(RDKafkaLogLevel::Emerg);
        let client = config
            .create_native_config()
            .and_then(|native| Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, Silent))
            .map_err(|error| failed(error.to_string()))?;
        // SAFETY: the client is alive, and outlives the cluster.
        let cluster = unsafe { c::rd_kafka_mock_cluster_new(client.native_ptr(), brokers) };
        let cluster =
            NonNull::new(cluster).ok_or_else(|| failed("no listening socket on 127.0.0.1".to_owned()))?;
        let broker = Self { cluster, brokers, _client: client };
        broker.set_rebalance_delay(Duration::ZERO);
        broker.set_heartbeat_interval(Duration::from_millis(200));
        Ok(broker)
    }

    /// Where it listens: `127.0.0.1:port`, one for each broker.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        // SAFETY: the cluster is alive.
        let servers = unsafe { c::rd_kafka_mock_cluster_bootstraps(self.cluster.as_ptr()) };
        // SAFETY: a C string of the cluster, made once and never changed.
        let servers = unsafe { CStr::from_ptr(servers) };
        servers.to_string_lossy().into_owned()
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// If it exists, or the name is none.
    pub fn create_topic(&self, topic: &Topic, partitions: u16) -> Result<(), SourceError> {
        let name = c_string(topic.as_str())?;
        // SAFETY: the cluster is alive and `name` is a C string.
        check("creating a topic", unsafe {
            c::rd_kafka_mock_topic_create(self.cluster.as_ptr(), name.as_ptr(), i32::from(partitions), 1)
        })
    }

    /// Makes requests for the topic's metadata fail with `code`; [`RDKafkaErrorCode::NoError`] ends it.
    ///
    /// # Errors
    /// If the name is none.
    pub fn set_topic_error(&self, topic: &Topic, code: RDKafkaErrorCode) -> Result<(), SourceError> {
        let name = c_string(topic.as_str())?;
        // SAFETY: as above.
        unsafe { c::rd_kafka_mock_topic_set_error(self.cluster.as_ptr(), name.as_ptr(), response(code)) };
        Ok(())
    }

    /// How long the first member of a group of the classic protocol waits for others.
    /// Default 3 s, here none.
    pub fn set_rebalance_delay(&self, delay: Duration) {
        // SAFETY: the cluster is alive.
        unsafe { c::rd_kafka_mock_group_initial_rebalance_delay_ms(self.cluster.as_ptr(), ms(delay)) };
    }

    /// How often a member of the KIP-848 protocol reports, which is how fast it learns of changes.
    /// Default 3 s, here 200 ms.
    pub fn set_heartbeat_interval(&self, interval: Duration) {
        // SAFETY: the cluster is alive.
        unsafe {
            c::rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(self.cluster.as_ptr(), ms(interval));
        };
    }

    /// After how long a silent member of the KIP-848 protocol is dead. Default 30 s.
    pub fn set_session_timeout(&self, timeout: Duration) {
        // SAFETY: the cluster is alive.
        unsafe { c::rd_kafka_mock_set_group_consumer_session_timeout_ms(self.cluster.as_ptr(), ms(timeout)) };
    }

    /// Makes the next requests of this kind fail with these codes, one after the other;
    /// [`RDKafkaErrorCode::BrokerTransportFailure`] closes the connection.
    pub fn fail_requests(&self, request: RDKafkaApiKey, codes: &[RDKafkaErrorCode]) {
        let codes: Vec<RDKafkaRespErr> = codes.iter().map(|code| response(*code)).collect();
        // SAFETY: the cluster is alive; the codes are copied.
        unsafe {
            c::rd_kafka_mock_push_request_errors_array(
                self.cluster.as_ptr(),
                request.into(),
                codes.len(),
                codes.as_ptr(),
            );
        }
    }

    /// Closes all connections of all brokers and refuses new ones. What is stored stays.
    ///
    /// # Errors
    /// If the cluster refuses.
    pub fn stop(&self) -> Result<(), SourceError> {
        self.each_broker("stopping a broker", |cluster, broker| {
            // SAFETY: the cluster is alive.
            unsafe { c::rd_kafka_mock_broker_set_down(cluster, broker) }
        })
    }

    /// Ends [`Self::stop`].
    ///
    /// # Errors
    /// If the cluster refuses.
    pub fn resume(&self) -> Result<(), SourceError> {
        self.each_broker("resuming a broker", |cluster, broker| {
            // SAFETY: the cluster is alive.
            unsafe { c::rd_kafka_mock_broker_set_up(cluster, broker) }
        })
    }

    /// Delays every answer of every broker.
    ///
    /// # Errors
    /// If the cluster refuses.
    pub fn set_round_trip(&self, delay: Duration) -> Result<(), SourceError> {
        self.each_broker("setting the round trip", |cluster, broker| {
            // SAFETY: the cluster is alive.
            unsafe { c::rd_kafka_mock_broker_set_rtt(cluster, broker, ms(delay)) }
        })
    }

    fn each_broker(
        &self,
        action: &'static str,
        mut apply: impl FnMut(*mut c::rd_kafka_mock_cluster_t, i32) -> RDKafkaRespErr,
    ) -> Result<(), SourceError> {
        (1..=self.brokers).try_for_each(|broker| check(action, apply(self.cluster.as_ptr(), broker)))
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        // SAFETY: used for the last time; the client that it lives in is dropped after this.
        unsafe { c::rd_kafka_mock_cluster_destroy(self.cluster.as_ptr()) };
    }
}

fn ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn c_string(name: &str) -> Result<CString, SourceError> {
    CString::new(name)
        .map_err(|_| SourceError::Settings { reason: format!("{name:?} is not a name for a topic") })
}

fn response(code: RDKafkaErrorCode) -> RDKafkaRespErr {
    RDKafkaRespErr::try_from(code as i32).unwrap_or(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN)
}

fn check(action: &'static str, answer: RDKafkaRespErr) -> Result<(), SourceError> {
    match RDKafkaErrorCode::from(answer) {
        RDKafkaErrorCode::NoError => Ok(()),
        code => Err(SourceError::Client { action, reason: code.to_string() }),
    }
}
