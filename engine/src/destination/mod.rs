//! Where records go that were given up.

use std::future::Future;
use std::pin::Pin;

use crate::batch::Payload;

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

/// Why a destination did not take a failure.
#[derive(Debug, thiserror::Error)]
#[error("{destination}: {reason}")]
#[non_exhaustive]
pub struct DestinationError {
    /// Which one.
    pub destination: String,
    /// Its words.
    pub reason: String,
}

impl DestinationError {
    /// That `destination` did not take it, and why.
    #[must_use]
    pub fn new(destination: &str, reason: &str) -> Self {
        Self { destination: destination.to_owned(), reason: reason.to_owned() }
    }
}

/// Takes what was given up.
pub trait Destination: Send + Sync + 'static {
    /// Makes one try; the caller makes the next.
    fn deliver<'a>(
        &'a self,
        failure: &'a Failure,
    ) -> Pin<Box<dyn Future<Output = Result<(), DestinationError>> + Send + 'a>>;

    /// For log lines.
    fn name(&self) -> &str;
}
