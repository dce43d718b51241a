//! An HTTP answer read as an [`Outcome`].
//!
//! The rules are Lambda's; local runtimes bend them. The AWS Lambda runtime interface emulator
//! answers 200 whatever happens and sends none of Lambda's headers (its `handlers.go` copies
//! status and body only): a failed function is told by its body alone, and a timeout by a line of
//! text. Taken for success, such an answer would lose records. Lambda itself always names the
//! executed version in a header; so an answer without it is read the emulator's way too.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt as _;
use simd_json::prelude::ValueAsScalar as _;

use super::RESPONSE_BYTES_MAX;
use crate::deliver::{FunctionErrorKind, Outcome, TEXT_CHARS_MAX};

/// How much of a response is kept where it is read for its words only.
const WORDS_BYTES_MAX: usize = 256 * 1024;

/// A response body as far as it was read.
pub(super) struct Answer {
    /// The first bytes, as many as were asked for.
    pub(super) kept: Bytes,
    /// Bytes read, kept or not.
    pub(super) read: usize,
    pub(super) end: End,
}

/// How a response body ended.
pub(super) enum End {
    Complete,
    /// Longer than [`RESPONSE_BYTES_MAX`]; the rest was not read.
    TooLong,
    /// The connection broke.
    Broken(String),
}

/// Reads the body to its end, or as far as it may go, and keeps what the outcome needs of it.
pub(super) async fn read<B>(
    status: StatusCode,
    headers: &HeaderMap,
    mut body: B,
    keep_response: bool,
) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    let keep = match status {
        StatusCode::OK if headers.contains_key(FUNCTION_ERROR) => WORDS_BYTES_MAX,
        StatusCode::OK if keep_response || !names_version(headers) => RESPONSE_BYTES_MAX,
        StatusCode::OK => 0,
        _ => WORDS_BYTES_MAX,
    };
    let mut kept = Kept::None;
    let mut read = 0;
    let end = loop {
        match body.frame().await {
            None => break End::Complete,
            Some(Err(error)) => break End::Broken(chain(&error)),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                let room = keep.saturating_sub(read);
                read += data.len();
                if read > RESPONSE_BYTES_MAX {
                    break End::TooLong;
                }
                kept.push(data, room);
            }
        }
    };
    Answer { kept: kept.finish(), read, end }
}

/// A response arrives in one piece nearly always, and is then not copied.
enum Kept {
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Kept {
    fn push(&mut self, mut data: Bytes, room: usize) {
        data.truncate(room);
        if data.is_empty() {
            return;
        }
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(data),
            Self::One(first) => {
                let mut all = BytesMut::from(first);
                all.extend_from_slice(&data);
                Self::Many(all)
            }
            Self::Many(mut all) => {
                all.extend_from_slice(&data);
                Self::Many(all)
            }
        };
    }

    fn finish(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(only) => only,
            Self::Many(all) => all.freeze(),
        }
    }
}

const FUNCTION_ERROR: &str = "x-amz-function-error";
const EXECUTED_VERSION: &str = "x-amz-executed-version";
const ERROR_TYPE: &str = "x-amzn-errortype";

/// What an answer amounts to.
pub(super) fn outcome(status: StatusCode, headers: &HeaderMap, answer: Answer) -> Outcome {
    let code = status.as_u16();
    match code {
        200 => ok(headers, answer),
        // 202 acknowledges an event that runs later, 204 a dry run: neither says that the records
        // were processed.
        201..=299 => Outcome::Refused {
            status: code,
            code: None,
            message: Some(format!(
                "only 200 says that the function ran to its end, and the endpoint answered {status}; does it \
                 serve Lambda's Invoke API for InvocationType RequestResponse?"
            )),
        },
        429 => {
            let words = Words::read(headers, &answer.kept);
            Outcome::Throttled {
                retry_after: retry_after(headers),
                reason: words.reason.or(words.code).or(words.message),
            }
        }
        400..=499 => {
            let words = Words::read(headers, &answer.kept);
            let message = words.message.map(|message| with_advice(words.code.as_deref(), message));
            Outcome::Refused { status: code, code: words.code, message }
        }
        500..=599 => {
            let words = Words::read(headers, &answer.kept);
            Outcome::ServiceFault { status: code, code: words.code, message: words.message }
        }
        300..=399 => {
            let to =
                headers.get(header::LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
            let to = to.map_or_else(String::new, |to| format!(" to {}", cut(&to)));
            Outcome::Unreachable {
                reason: format!(
                    "{status}{to}: redirects are not followed, set `endpoint` to the final address"
                ),
            }
        }
        _ => Outcome::Unreachable { reason: format!("the HTTP status {code} means nothing here") },
    }
}

fn ok(headers: &HeaderMap, answer: Answer) -> Outcome {
    if let Some(kind) = headers.get(FUNCTION_ERROR) {
        let words = Words::read(headers, &answer.kept);
        return Outcome::FunctionError {
            kind: FunctionErrorKind::from_header(&String::from_utf8_lossy(kind.as_bytes())),
            error_type: words.function_error_type,
            message: words.message,
        };
    }
    match answer.end {
        End::Broken(reason) => {
            Outcome::Unreachable { reason: format!("the answer broke off after {} B: {reason}", answer.read) }
        }
        // In AWS's words, which a function's logs show there.
        End::TooLong => unhandled(
            Some("Function.ResponseSizeTooLarge".to_owned()),
            format!(
                "Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes)."
            ),
        ),
        End::Complete => emulated_error(headers, &answer.kept)
            .unwrap_or(Outcome::Success { response_bytes: answer.read, response: answer.kept }),
    }
}

/// A function error as the runtime interface emulator tells it; see the head of this file.
fn emulated_error(headers: &HeaderMap, body: &[u8]) -> Option<Outcome> {
    if names_version(headers) {
        return None;
    }
    let text = body.trim_ascii();
    if text.starts_with(b"Task timed out after ") {
        return Some(unhandled(Some("Sandbox.Timedout".to_owned()), cut(&String::from_utf8_lossy(text))));
    }
    // What a runtime reports as an error has both members, whatever the language.
    let words = Words::parse(text)?;
    let (error_type, message) = (words.function_error_type?, words.function_error_message?);
    Some(unhandled(Some(error_type), message))
}

fn unhandled(error_type: Option<String>, message: String) -> Outcome {
    Outcome::FunctionError { kind: FunctionErrorKind::Unhandled, error_type, message: Some(message) }
}

fn names_version(headers: &HeaderMap) -> bool {
    headers.contains_key(EXECUTED_VERSION)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Adds what to do, where the service's words do not say it.
fn with_advice(code: Option<&str>, message: String) -> String {
    let about_time = ["expired", "not yet current"].iter().any(|words| message.contains(words));
    match code {
        Some("InvalidSignatureException" | "SignatureDoesNotMatch") if about_time => {
            format!(
                "{message} (this machine's clock differs from AWS's by more than 5 minutes: set it, for example by NTP)"
            )
        }
        _ => message,
    }
}

/// What an error response says, cut to [`TEXT_CHARS_MAX`] characters each.
#[derive(Default)]
struct Words {
    /// Lambda's error code, such as `ResourceNotFoundException`.
    code: Option<String>,
    message: Option<String>,
    reason: Option<String>,
    function_error_type: Option<String>,
    function_error_message: Option<String>,
}

impl Words {
    /// From headers and body. A body that is no JSON object is the message as it stands.
    fn read(headers: &HeaderMap, body: &[u8]) -> Self {
        let mut words = Self::parse(body).unwrap_or_else(|| Self {
            message: Some(cut(String::from_utf8_lossy(body).trim())).filter(|text| !text.is_empty()),
            ..Self::default()
        });
        if let Some(code) = headers.get(ERROR_TYPE).and_then(|value| value.to_str().ok()) {
            words.code = Some(bare_code(code));
        }
        words.code = words.code.or_else(|| words.function_error_type.clone());
        words.message = words.message.or_else(|| words.function_error_message.clone());
        words
    }

    /// From a JSON object. simd-json's tape is flat, so that no nesting of a hostile answer can
    /// exhaust the stack.
    fn parse(body: &[u8]) -> Option<Self> {
        if !body.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let mut body = body.to_vec();
        let tape = simd_json::to_tape(&mut body).ok()?;
        let object = tape.as_value();
        let text = |name: &str| object.get(name).and_then(|value| value.as_str().map(cut));
        Some(Self {
            code: text("__type").map(|code| bare_code(&code)),
            message: text("message").or_else(|| text("Message")),
            reason: text("Reason"),
            function_error_type: text("errorType"),
            function_error_message: text("errorMessage"),
        })
    }
}

/// The code without its namespace (`com.amazonaws.lambda#Code`) and without the address that some
/// front ends append (`Code:http://internal.amazon.com/…`).
fn bare_code(code: &str) -> String {
    let code = code.split(':').next().unwrap_or_default();
    cut(code.rsplit('#').next().unwrap_or_default().trim())
}

fn cut(text: &str) -> String {
    // One character more than is shown, so that the cut is seen.
    text.chars().take(TEXT_CHARS_MAX + 1).collect()
}

/// An error with its causes, in one line; what a cause only repeats is left out.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    cut(&line)
}
