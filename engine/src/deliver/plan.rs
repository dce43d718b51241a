//! The words in which a delivery is asked and answers.

use super::response::ResponseError;
use crate::time::Nanos;

/// What to do next with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing before `until`: an attempt failed a moment ago. [`Nanos::NEVER`] while an invocation
    /// or a destination is under way.
    Wait {
        /// When to ask again.
        until: Nanos,
    },
    /// Invoke the function with the records of [`Delivery::part`](super::Delivery::part), and report the outcome.
    Invoke,
    /// The records of [`Delivery::part`](super::Delivery::part) are given up, see [`Delivery::given_up`](super::Delivery::given_up): hand them to the
    /// on-failure destination, if there is one, and report.
    GiveUp,
    /// Every record is delivered or given up.
    Done,
}

/// Why records are given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// They were tried as often as the rules allow. How the last attempt ended.
    RetriesExhausted {
        /// The HTTP status of the last invocation.
        status_code: u16,
        /// Its `X-Amz-Function-Error`; `None` if the function returned and reported these records.
        function_error: Option<String>,
    },
    /// They are older than the rules allow.
    RecordAgeExceeded,
    /// It is one record, too large for any event. The function was never invoked with it.
    PayloadSizeExceeded,
}

/// What an attempt came to for the records that were in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All are delivered.
    Delivered,
    /// Some are delivered; so many the function reported as failed.
    Partial {
        /// Records that failed.
        failed: u32,
    },
    /// The function ran and failed.
    Failed,
    /// The function returned, but its response cannot be followed: all failed.
    BadResponse(ResponseError),
    /// The function did not run, as far as one can tell. This uses up no attempt.
    NotReached,
    /// An answer that nobody waits for. Nothing changed.
    Late,
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the batch is done.
    Done,
    /// The next part of the batch.
    NextPart,
    /// The same records again, not before `at`.
    Retry {
        /// When.
        at: Nanos,
    },
    /// The two halves, one after the other, not before `at`.
    Split {
        /// When.
        at: Nanos,
    },
    /// The records are given up.
    GiveUp,
}

impl Step {
    /// One word for logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NextPart => "next part",
            Self::Retry { .. } => "retry",
            Self::Split { .. } => "split",
            Self::GiveUp => "give up",
        }
    }

    /// When it is due, if it waits.
    #[must_use]
    pub const fn at(self) -> Option<Nanos> {
        match self {
            Self::Retry { at } | Self::Split { at } => Some(at),
            Self::Done | Self::NextPart | Self::GiveUp => None,
        }
    }
}
