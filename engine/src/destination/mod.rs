//! Where records go that were given up.
//!
//! A [`Failure`] is a slice of a batch and the reason; a [`Destination`] takes it, as AWS's on-failure
//! destinations do: a queue or a topic of AWS gets what happened (`report`), a bucket the event
//! besides, a Kafka topic each record by itself.
//!
//! A destination makes one try at a time. [`crate::deliver`] tells it again for as long as it takes:
//! no record is done before it is somewhere.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::batch::Payload;
use crate::deliver::{GivenUp, one_line};

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(all(feature = "kafka", feature = "aws"))]
mod open;
pub mod report;
#[cfg(test)]
mod tests;

#[cfg(feature = "aws")]
pub use aws::{Bucket, Notices, Queue};
#[cfg(feature = "kafka")]
pub use kafka::KafkaTopic;
#[cfg(all(feature = "kafka", feature = "aws"))]
pub use open::open;
pub use report::Reporter;

/// Records that were given up, and why.
#[derive(Debug)]
pub struct Failure {
    /// The event over them.
    pub event: Payload,
    /// Why.
    pub condition: Condition,
    /// Invocations made with them. AWS: `approximateInvokeCount`.
    pub invocations: u32,
    /// How the last of these ended; `None` if that is not why they are given up.
    pub response: Option<FailedResponse>,
    /// When they were given up, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// Why records were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// They were tried as often as the mapping allows.
    RetryAttemptsExhausted,
    /// They became older than the mapping allows.
    RecordAgeExceeded,
    /// It is one record, too large for any event.
    MaximumPayloadSizeExceeded,
}

impl From<&GivenUp> for Condition {
    fn from(why: &GivenUp) -> Self {
        match why {
            GivenUp::RetriesExhausted { .. } => Self::RetryAttemptsExhausted,
            GivenUp::RecordAgeExceeded => Self::RecordAgeExceeded,
            GivenUp::PayloadSizeExceeded => Self::MaximumPayloadSizeExceeded,
        }
    }
}

impl Condition {
    /// As the records of queues, topics and buckets say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Self::RecordAgeExceeded => "RecordAgeExceeded",
            Self::MaximumPayloadSizeExceeded => "MaximumPayloadSizeExceeded",
        }
    }

    /// As the records of a Kafka topic say it: AWS has another word there for the first.
    #[must_use]
    pub const fn name_in_kafka(self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted => "RetriesExhausted",
            other => other.name(),
        }
    }
}

/// How an invocation ended, as AWS's failure records say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedResponse {
    /// The HTTP status.
    pub status_code: u16,
    /// The function's version.
    pub executed_version: String,
    /// `X-Amz-Function-Error`.
    pub function_error: Option<String>,
}

/// Why a destination did not take a failure. Shown as one line, whatever the words in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DestinationError {
    /// Which one.
    pub destination: String,
    /// Its words.
    pub reason: String,
    /// What somebody must do; `None` if it may pass by itself.
    pub remedy: Option<&'static str>,
}

impl DestinationError {
    /// That `destination` did not take it, and why.
    #[must_use]
    pub fn new(destination: &str, reason: &str) -> Self {
        Self { destination: destination.to_owned(), reason: reason.to_owned(), remedy: None }
    }

    /// The same, and what somebody must do about it.
    #[must_use]
    pub fn with_remedy(self, remedy: Option<&'static str>) -> Self {
        Self { remedy, ..self }
    }
}

impl fmt::Display for DestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", one_line(&self.destination), one_line(&self.reason))?;
        self.remedy.map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

impl std::error::Error for DestinationError {}

/// One try of a [`Destination`].
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Result<(), DestinationError>> + Send + 'a>>;

/// Takes what was given up.
pub trait Destination: Send + Sync + 'static {
    /// Makes one try; the caller makes the next, and may drop one that takes too long. What took a
    /// part of it before it failed is given all of it again: at least once, here too.
    fn deliver<'a>(&'a self, failure: &'a Failure) -> Delivering<'a>;

    /// As the mapping calls it.
    fn name(&self) -> &str;
}
