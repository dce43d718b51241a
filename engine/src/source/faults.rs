//! What comes through a queue besides records.

use rdkafka::error::RDKafkaErrorCode;

use crate::ids::{Offset, Partition};

/// Something other than a record that came through a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) partition: Partition,
    pub(super) kind: FaultKind,
}

/// What it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The broker refused a fetch; the client tries again.
    Fetch { code: RDKafkaErrorCode, reason: String },
    /// An offset came that should have been past: the log was truncated or made anew.
    WentBack { expected: Offset, got: Offset },
}
