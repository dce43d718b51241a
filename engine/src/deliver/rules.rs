//! What a mapping says of batches that fail.

use std::time::Duration;

/// What becomes of a batch, or of a part of it, that the function does not take. The default is
/// AWS's: the whole batch is tried again for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureRules {
    /// How often a part is tried again before it is given up; `None` for ever. A part is tried this
    /// often and once more. AWS: `MaximumRetryAttempts` (-1 for ever).
    pub retries_max: Option<u32>,
    /// Records that are older when they would be sent are given up instead; `None` for no limit.
    /// AWS: `MaximumRecordAgeInSeconds` (-1 for no limit).
    pub record_age_max: Option<Duration>,
    /// Whether a part of more than one record that the function fails on is split in two, which are
    /// then delivered one after the other. AWS: `BisectBatchOnFunctionError`.
    pub bisect: bool,
    /// Whether the function's response says which records failed.
    /// AWS: `FunctionResponseTypes` with `ReportBatchItemFailures`.
    pub report_item_failures: bool,
}
