//! What the broker says of what was sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;

use super::LoadError;

/// Acknowledgements, counted. Each record carries the offset it is meant to get.
#[derive(Clone, Debug, Default)]
pub struct Acks(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicU64,
    failed: AtomicU64,
    first_error: Mutex<Option<LoadError>>,
}

impl Acks {
    /// Records that the broker has stored where they were meant to be.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    /// Records that were given up, or stored elsewhere.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// The first thing that went wrong.
    #[must_use]
    pub fn first_error(&self) -> Option<LoadError> {
        self.0.first_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fail(&self, error: impl FnOnce() -> LoadError) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
        self.0.first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(error);
    }
}

impl ClientContext for Acks {
    /// Producers chatter about reconnections; what matters arrives as a failed record.
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "loader's producer");
    }
}

impl ProducerContext for Acks {
    /// The offset that the record is meant to get.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, expected: usize) {
        match result {
            Ok(record) if usize::try_from(record.offset()) == Ok(expected) => {
                self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(record) => self.fail(|| LoadError::Shared {
                topic: record.topic().to_owned(),
                partition: record.partition(),
                expected: i64::try_from(expected).unwrap_or(i64::MAX),
                found: record.offset(),
            }),
            Err((error, _)) => self.fail(|| LoadError::Send { reason: error.to_string() }),
        }
    }
}
