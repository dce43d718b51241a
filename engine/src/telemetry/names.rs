//! The names of everything that is counted. They are a promise: dashboards and alerts quote them.

use super::histogram::Scale;

/// Records counted by what became of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Read from the source.
    Polled,
    /// Removed by a filter.
    Filtered,
    /// Not delivered again: finished before the partition was assigned.
    Resumed,
    /// Sent to the function, again on each retry.
    Invoked,
    /// In an invocation that succeeded.
    Delivered,
    /// In an invocation that failed.
    Failed,
    /// Given up without a destination.
    Dropped,
    /// Given to the on-failure destination.
    ToDestination,
    /// Committed: the sum of what committed offsets moved by.
    Committed,
}

impl Count {
    /// All of them with name (without Prometheus's `_total`) and help, in the order of the enum.
    pub(super) const ALL: [(Self, &'static str, &'static str); 9] = [
        (Self::Polled, "pelton_records_polled", "Records read from the source. AWS: PolledEventCount"),
        (Self::Filtered, "pelton_records_filtered", "Records removed by filters. AWS: FilteredOutEventCount"),
        (
            Self::Resumed,
            "pelton_records_resumed",
            "Records read and not delivered again, because commit metadata says they were finished",
        ),
        (
            Self::Invoked,
            "pelton_records_invoked",
            "Records sent to the function, counted again on each retry. AWS: InvokedEventCount",
        ),
        (Self::Delivered, "pelton_records_delivered", "Records in invocations that succeeded"),
        (Self::Failed, "pelton_records_failed", "Records in failed invocations. AWS: FailedInvokeEventCount"),
        (
            Self::Dropped,
            "pelton_records_dropped",
            "Records given up without a destination. AWS: DroppedEventCount",
        ),
        (
            Self::ToDestination,
            "pelton_records_to_destination",
            "Records given to the on-failure destination. AWS: OnFailureDestinationDeliveredEventCount",
        ),
        (
            Self::Committed,
            "pelton_records_committed",
            "Sum of what committed offsets moved by, gaps included. AWS: CommittedEventCount",
        ),
    ];
}

/// What went wrong, by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Reading from the source. AWS: `PollingErrorCount`.
    Polling,
    /// An invocation, per batch. AWS: `InvokeErrorCount`.
    Invoke,
    /// A commit. AWS: `CommitErrorCount`.
    Commit,
    /// Giving records to the destination. AWS: `OnFailureDestinationDeliveryErrorCount`.
    Destination,
    /// Asking the schema registry. AWS: `SchemaRegistryErrorCount`.
    SchemaRegistry,
}

impl ErrorKind {
    /// The labels, in the order of the enum.
    pub(super) const LABELS: [&'static str; 5] =
        ["polling", "invoke", "commit", "destination", "schema_registry"];
}

/// How an invocation can end: the labels of `pelton_invocations_total`. The last one catches what
/// this list does not know.
pub const OUTCOMES: [&str; 10] = [
    "success",
    "partial",
    "bad_response",
    "function_error",
    "throttled",
    "refused",
    "service_fault",
    "unreachable",
    "timed_out",
    "other",
];

/// Why a batch was closed: the labels of `pelton_batches_total`. The last one catches what this
/// list does not know.
pub const CAUSES: [&str; 6] = ["count", "window", "bytes", "memory", "drain", "other"];

/// The place of `label` in `labels`, else the last.
pub(super) fn slot(labels: &[&str], label: &str) -> usize {
    labels.iter().position(|known| *known == label).unwrap_or(labels.len() - 1)
}

/// Milliseconds from a record's timestamp to its acknowledgement.
pub(super) const RECORD_AGE: Scale = Scale {
    name: "pelton_record_age_seconds",
    help: "From a record's timestamp to its acknowledgement by the function",
    bounds: &[
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000,
        3_600_000,
    ],
    per_unit: 1e3,
};

/// Microseconds of one invocation.
pub(super) const INVOCATION: Scale = Scale {
    name: "pelton_invocation_seconds",
    help: "From sending an event to the function's answer, failed attempts included",
    bounds: &[
        100,
        200,
        500,
        1_000,
        2_000,
        5_000,
        10_000,
        20_000,
        50_000,
        100_000,
        200_000,
        500_000,
        1_000_000,
        2_000_000,
        5_000_000,
        10_000_000,
        30_000_000,
        60_000_000,
        300_000_000,
        900_000_000,
    ],
    per_unit: 1e6,
};

/// Records of one batch.
pub(super) const BATCH_RECORDS: Scale = Scale {
    name: "pelton_batch_records",
    help: "Records of a batch",
    bounds: &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000],
    per_unit: 1.0,
};

/// Bytes of one event.
pub(super) const PAYLOAD_BYTES: Scale = Scale {
    name: "pelton_payload_bytes",
    help: "Bytes of an event as sent",
    bounds: &[
        512, 1_024, 4_096, 16_384, 65_536, 131_072, 262_144, 524_288, 1_048_576, 2_097_152, 4_194_304,
        6_291_455,
    ],
    per_unit: 1.0,
};
