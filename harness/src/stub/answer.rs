//! What the stand-in says: Lambda's headers and bodies.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use pelton::invoke::verify::Mismatch;
use serde_json::json;

pub(super) type Answer = Response<Full<Bytes>>;

/// Not HTTP.
pub(super) const GARBAGE: &[u8] = b"\x00\x01 this is not HTTP\r\n\r\n{\"batchItemFailures\":";

/// The function ran; it returned `null`.
pub(super) fn success() -> Answer {
    of_function(Bytes::from_static(b"null"))
}

/// The function ran and failed.
pub(super) fn function_error(error_type: &str, message: &str) -> Answer {
    let body = json!({"errorMessage": message, "errorType": error_type, "stackTrace": []});
    let mut answer = of_function(body.to_string().into());
    answer.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
    answer
}

/// The function found an event that is not what it should be.
pub(super) fn mismatch(mismatch: &Mismatch) -> Answer {
    function_error("EventMismatch", &mismatch.to_string())
}

fn of_function(body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    answer.headers_mut().insert("x-amz-executed-version", HeaderValue::from_static("$LATEST"));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The service refused or failed; the function did not run.
pub(super) fn error(status: StatusCode, code: &'static str, message: &str) -> Answer {
    let kind = if status.is_server_error() { "Service" } else { "User" };
    of_service(status, code, &json!({"Type": kind, "message": message}))
}

/// 429.
pub(super) fn throttled() -> Answer {
    let reason = "ReservedFunctionConcurrentInvocationLimitExceeded";
    let body = json!({"Reason": reason, "Type": "User", "message": "Rate Exceeded."});
    of_service(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", &body)
}

fn of_service(status: StatusCode, code: &'static str, body: &serde_json::Value) -> Answer {
    let mut answer = json_text(body.to_string());
    *answer.status_mut() = status;
    answer.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(code));
    answer
}

/// 200 with JSON.
pub(super) fn json_text(text: String) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
