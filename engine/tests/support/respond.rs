//! Each answer as bytes on the wire, the broken ones too.

use std::io::Result;

use super::fault::Answer;
use super::http::Connection;

/// Gives an answer; `body` is what a success says. Whether the connection lives on.
pub(crate) fn respond(connection: &mut Connection<'_>, answer: Answer, body: &str) -> Result<bool> {
    let error = r#"{"errorMessage":"no such order","errorType":"OrderError"}"#;
    let (status, header, body) = match answer {
        Answer::Success | Answer::SlowMs(_) => (200, String::new(), body),
        Answer::Status(status) => (
            status,
            "x-amzn-ErrorType: ServiceException\r\n".into(),
            r#"{"Type":"Service","message":"try again"}"#,
        ),
        Answer::Throttled(seconds) => (
            429,
            format!("Retry-After: {seconds}\r\nx-amzn-ErrorType: TooManyRequestsException\r\n"),
            r#"{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#,
        ),
        Answer::FunctionError(kind) => (200, format!("X-Amz-Function-Error: {kind}\r\n"), error),
        Answer::ResetBefore => return Ok(false),
        Answer::ResetMid | Answer::Truncated => {
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\nnull")?;
            return Ok(false);
        }
        Answer::Garbage => {
            connection.write(b"\x16\x03\x01\x00 \xff this is not HTTP \r\n\r\n")?;
            return Ok(false);
        }
        Answer::Drip => {
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")?;
            connection.drip()?;
            return Ok(false);
        }
        Answer::Hang => {
            connection.wait_for_close();
            return Ok(false);
        }
    };
    let length = body.len();
    connection.write(
        format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{header}Content-Length: {length}\r\n\r\n{body}").as_bytes(),
    )?;
    Ok(true)
}
