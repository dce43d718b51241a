//! How one attempt ended.

use std::fmt::{self, Write as _};
use std::time::Duration;

use bytes::Bytes;

/// How much of a text that came from outside (a function's error message, a proxy's words) is
/// shown. The rest of it is replaced by `…`.
pub const TEXT_CHARS_MAX: usize = 512;

/// How one attempt to invoke the function ended.
///
/// [`Display`](fmt::Display) is one line for logs: it never holds the payload or the function's
/// response, other texts are cut after [`TEXT_CHARS_MAX`] characters, and control characters in
/// them are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The function ran and returned: HTTP 200 without `X-Amz-Function-Error`.
    Success {
        /// The response body's length.
        response_bytes: usize,
        /// The response body, if it was asked for (`FunctionResponseTypes`); else empty.
        response: Bytes,
    },
    /// The function ran and failed: HTTP 200 with `X-Amz-Function-Error`. A function that runs
    /// into its own timeout ends so too, as an unhandled error.
    FunctionError {
        /// The header's value.
        kind: FunctionErrorKind,
        /// `errorType` of the response, if it has one.
        error_type: Option<String>,
        /// `errorMessage` of the response, if it has one.
        message: Option<String>,
    },
    /// HTTP 429: too many invocations. The function did not run.
    Throttled {
        /// The `Retry-After` header, if it came.
        retry_after: Option<Duration>,
        /// `Reason` of the response, such as `ConcurrentInvocationLimitExceeded`.
        reason: Option<String>,
    },
    /// Any other 4xx: the invocation was not accepted (unknown function, missing permission, 413
    /// for a payload that is too large). The function did not run.
    Refused {
        /// The HTTP status.
        status: u16,
        /// `x-amzn-ErrorType`, such as `ResourceNotFoundException`.
        code: Option<String>,
        /// The response's message.
        message: Option<String>,
    },
    /// 5xx: the service in front of the function failed.
    ServiceFault {
        /// The HTTP status.
        status: u16,
        /// `x-amzn-ErrorType`, such as `ServiceException`.
        code: Option<String>,
        /// The response's message.
        message: Option<String>,
    },
    /// No answer that means anything: not connected, connection reset, garbage.
    Unreachable {
        /// What went wrong.
        reason: String,
    },
    /// The invocation was under way and no answer came in time. (Not being able to connect in
    /// time is [`Outcome::Unreachable`].)
    TimedOut {
        /// How long the answer was waited for.
        after: Duration,
    },
}

/// The value of `X-Amz-Function-Error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionErrorKind {
    /// The function reported the error itself (older runtimes).
    Handled,
    /// The runtime reported it: an exception, a crash, a timeout.
    Unhandled,
    /// A value that AWS does not document; still an error.
    Other(String),
}

impl FunctionErrorKind {
    /// Reads the header's value.
    #[must_use]
    pub fn from_header(value: &str) -> Self {
        match value.trim() {
            "Handled" => Self::Handled,
            "Unhandled" => Self::Unhandled,
            other => Self::Other(other.chars().take(TEXT_CHARS_MAX).collect()),
        }
    }

    /// The header's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Handled => "Handled",
            Self::Unhandled => "Unhandled",
            Self::Other(other) => other,
        }
    }
}

impl Outcome {
    /// Every [`label`](Self::label), so that a metric can show zeros from the start.
    pub const LABELS: [&'static str; 7] =
        ["success", "function_error", "throttled", "refused", "service_fault", "unreachable", "timed_out"];

    /// The position of the outcome's label in [`LABELS`](Self::LABELS).
    #[must_use]
    pub const fn number(&self) -> usize {
        match self {
            Self::Success { .. } => 0,
            Self::FunctionError { .. } => 1,
            Self::Throttled { .. } => 2,
            Self::Refused { .. } => 3,
            Self::ServiceFault { .. } => 4,
            Self::Unreachable { .. } => 5,
            Self::TimedOut { .. } => 6,
        }
    }

    /// The outcome's name in metrics: one of [`LABELS`](Self::LABELS).
    #[must_use]
    pub const fn label(&self) -> &'static str {
        Self::LABELS[self.number()]
    }

    /// Whether the function was invoked, as far as the caller can tell. Only such attempts count
    /// towards `maximum_retry_attempts`: AWS does not count service errors and throttles that
    /// never reach the function, and takes a timeout for a function error.
    ///
    /// `false` is no proof that it did not run: a connection can be lost after the request was
    /// read. Delivery is at least once either way.
    #[must_use]
    pub const fn reached_function(&self) -> bool {
        match self {
            Self::Success { .. } | Self::FunctionError { .. } | Self::TimedOut { .. } => true,
            Self::Throttled { .. }
            | Self::Refused { .. }
            | Self::ServiceFault { .. }
            | Self::Unreachable { .. } => false,
        }
    }

    /// How long the service asked to be left alone, if it did.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success { response_bytes, .. } => write!(f, "success ({response_bytes} B returned)"),
            Self::FunctionError { kind, error_type, message } => {
                write!(f, "function error ({})", Line(kind.as_str()))?;
                details(f, error_type.as_deref(), message.as_deref())
            }
            Self::Throttled { retry_after, reason } => {
                f.write_str("throttled")?;
                if let Some(after) = retry_after {
                    write!(f, " (retry after {after:?})")?;
                }
                details(f, None, reason.as_deref())
            }
            Self::Refused { status, code, message } => {
                write!(f, "refused ({status})")?;
                details(f, code.as_deref(), message.as_deref())
            }
            Self::ServiceFault { status, code, message } => {
                write!(f, "service fault ({status})")?;
                details(f, code.as_deref(), message.as_deref())
            }
            Self::Unreachable { reason } => write!(f, "unreachable: {}", Line(reason)),
            Self::TimedOut { after } => write!(f, "timed out: no answer within {after:?}"),
        }
    }
}

fn details(f: &mut fmt::Formatter<'_>, code: Option<&str>, message: Option<&str>) -> fmt::Result {
    for text in [code, message].into_iter().flatten() {
        write!(f, ": {}", Line(text))?;
    }
    Ok(())
}

/// A text from outside, made fit for one line of a log: cut, and without control characters.
#[cfg(feature = "runtime")]
pub(crate) fn one_line(text: &str) -> impl fmt::Display + '_ {
    Line(text)
}

struct Line<'a>(&'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shown, c) in self.0.chars().enumerate() {
            if shown == TEXT_CHARS_MAX {
                return f.write_char('…');
            }
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> [Outcome; 7] {
        [
            Outcome::Success { response_bytes: 4, response: Bytes::new() },
            Outcome::FunctionError {
                kind: FunctionErrorKind::Unhandled,
                error_type: Some("Runtime.ExitError".into()),
                message: Some("exit status 1".into()),
            },
            Outcome::Throttled {
                retry_after: Some(Duration::from_secs(2)),
                reason: Some("ConcurrentInvocationLimitExceeded".into()),
            },
            Outcome::Refused {
                status: 404,
                code: Some("ResourceNotFoundException".into()),
                message: Some("Function not found".into()),
            },
            Outcome::ServiceFault { status: 502, code: None, message: Some("bad gateway".into()) },
            Outcome::Unreachable { reason: "connection reset by peer".into() },
            Outcome::TimedOut { after: Duration::from_secs(900) },
        ]
    }

    #[test]
    fn every_outcome_has_its_own_label() {
        assert_eq!(one_of_each().map(|outcome| outcome.label()), Outcome::LABELS);
    }

    #[test]
    fn throttles_and_service_errors_never_reach_the_function() {
        let reached = one_of_each().map(|outcome| outcome.reached_function());
        assert_eq!(reached, [true, true, false, false, false, false, true]);
    }

    #[test]
    fn each_outcome_reads_as_one_line() {
        assert_eq!(
            one_of_each().map(|outcome| outcome.to_string()),
            [
                "success (4 B returned)",
                "function error (Unhandled): Runtime.ExitError: exit status 1",
                "throttled (retry after 2s): ConcurrentInvocationLimitExceeded",
                "refused (404): ResourceNotFoundException: Function not found",
                "service fault (502): bad gateway",
                "unreachable: connection reset by peer",
                "timed out: no answer within 900s",
            ]
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let outcome = Outcome::Unreachable { reason: "é".repeat(TEXT_CHARS_MAX + 1) };
        assert_eq!(outcome.to_string(), format!("unreachable: {}…", "é".repeat(TEXT_CHARS_MAX)));
        let outcome = Outcome::Unreachable { reason: "é".repeat(TEXT_CHARS_MAX) };
        assert_eq!(outcome.to_string(), format!("unreachable: {}", "é".repeat(TEXT_CHARS_MAX)));
    }

    #[test]
    fn a_message_cannot_forge_log_lines() {
        let outcome = Outcome::Unreachable { reason: "one\ntwo\u{1b}[2J".into() };
        assert_eq!(outcome.to_string(), r"unreachable: one\ntwo\u{1b}[2J");
    }

    #[test]
    fn the_function_error_header_is_read_whatever_it_says() {
        for value in ["Handled", "Unhandled", "Sandbox.Timedout", ""] {
            assert_eq!(FunctionErrorKind::from_header(value).as_str(), value);
        }
        assert_eq!(FunctionErrorKind::from_header(" Unhandled "), FunctionErrorKind::Unhandled);
    }
}
