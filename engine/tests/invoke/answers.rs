//! What is sent, and what each answer comes to.

use std::time::Duration;

use pelton::deliver::{FunctionErrorKind, Outcome};
use pelton::invoke::Invoker as _;

use crate::payloads::{batch, pool};
use crate::server::{Act, Server, success};
use crate::{invoker, outcome_of, outcome_of_answer, settings};

#[tokio::test]
async fn a_payload_is_posted_as_lambda_wants_it() {
    let server = Server::start([Act::Answer(success("null"))]);
    let mut settings = settings(&server);
    settings.qualifier = Some("$LATEST".to_owned());
    let payload = batch(&mut pool(), 3, 100).whole();
    let outcome = invoker(&settings).invoke(payload.clone()).await;
    assert_eq!(outcome, Outcome::Success { response_bytes: 4, response: bytes::Bytes::new() });
    let requests = server.requests();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(
        request.line,
        "POST /2015-03-31/functions/my-function/invocations?Qualifier=%24LATEST HTTP/1.1"
    );
    assert_eq!(request.header("x-amz-invocation-type"), Some("RequestResponse"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("content-length"), Some(payload.len().to_string().as_str()));
    assert_eq!(request.header("host"), server.endpoint().strip_prefix("http://"));
    assert_eq!(request.header("transfer-encoding"), None);
    assert_eq!(request.header("authorization"), None);
    let mut expected = Vec::new();
    payload.write_to(&mut expected);
    assert_eq!(request.body, expected);
}

#[tokio::test]
async fn six_megabytes_in_ten_thousand_frames_arrive_byte_for_byte() {
    let server = Server::start([Act::Answer(success("null"))]);
    let payload = batch(&mut pool(), 10_000, 354).whole();
    assert!(payload.frames().count() > 10_000 && payload.len() > 6_000_000);
    let outcome = invoker(&settings(&server)).invoke(payload.clone()).await;
    assert_eq!(outcome.label(), "success");
    let mut expected = Vec::new();
    payload.write_to(&mut expected);
    assert!(server.requests()[0].body == expected, "the body differs");
}

#[tokio::test]
async fn a_connection_serves_one_payload_after_the_other() {
    let server = Server::start(vec![Act::Answer(success("null")); 20]);
    let invoker = invoker(&settings(&server));
    let payload = batch(&mut pool(), 2, 100).whole();
    for _ in 0..20 {
        assert_eq!(invoker.invoke(payload.clone()).await.label(), "success");
    }
    let connections: Vec<_> = server.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0; 20]);
}

#[tokio::test]
async fn what_the_function_returns_is_kept_if_asked_for() {
    let response = format!(r#"{{"batchItemFailures":[]{}}}"#, " ".repeat(100_000));
    let chunked = [
        b"HTTP/1.1 200 OK\r\nX-Amz-Executed-Version: 1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        format!("3\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &response[..3], response.len() - 3, &response[3..])
            .into_bytes(),
    ];
    for act in [Act::Answer(success(&response)), Act::Answer(chunked.concat())] {
        let server = Server::start([act]);
        let mut settings = settings(&server);
        settings.keep_response = true;
        let outcome = invoker(&settings).invoke(batch(&mut pool(), 2, 100).whole()).await;
        let expected = Outcome::Success { response_bytes: response.len(), response: response.clone().into() };
        assert!(outcome == expected, "{outcome}");
    }
}

#[tokio::test]
async fn a_function_error_is_told_by_its_header() {
    let body = r#"{"errorType":"ValueError","errorMessage":"bad\u0021","stackTrace":[["a"]]}"#;
    let headers = [("X-Amz-Function-Error", "Unhandled"), ("X-Amz-Executed-Version", "$LATEST")];
    assert_eq!(
        outcome_of_answer("200 OK", &headers, body).await,
        Outcome::FunctionError {
            kind: FunctionErrorKind::Unhandled,
            error_type: Some("ValueError".to_owned()),
            message: Some("bad!".to_owned()),
        }
    );
    for garbage in ["", "null", "{", "\u{0}\u{1}", &"[".repeat(200_000), &"{\"a\":".repeat(50_000), "[1,{}]"]
    {
        let outcome = outcome_of_answer("200 OK", &[("X-Amz-Function-Error", "Handled")], garbage).await;
        let Outcome::FunctionError { kind: FunctionErrorKind::Handled, error_type: None, .. } = outcome
        else {
            panic!("{outcome:?}");
        };
        assert!(outcome.to_string().len() < 2000);
    }
}

#[tokio::test]
async fn the_runtime_interface_emulator_tells_errors_by_its_body_alone() {
    let error = r#"{"errorMessage": "boom", "errorType": "Exception", "requestId": "", "stackTrace": []}"#;
    for (body, error_type, message) in [
        (error, "Exception", "boom"),
        ("Task timed out after 3.00 seconds", "Sandbox.Timedout", "Task timed out after 3.00 seconds"),
    ] {
        assert_eq!(
            outcome_of_answer("200 OK", &[], body).await,
            Outcome::FunctionError {
                kind: FunctionErrorKind::Unhandled,
                error_type: Some(error_type.to_owned()),
                message: Some(message.to_owned()),
            }
        );
    }
    for body in ["", "null", r#"{"errorMessage":"a value"}"#, r#"{"errorType":1,"errorMessage":"x"}"#] {
        assert_eq!(outcome_of_answer("200 OK", &[], body).await.label(), "success", "{body}");
    }
    // Lambda itself says it by the header: this function returned a value that looks like an error.
    assert_eq!(outcome_of(Act::Answer(success(error))).await.label(), "success");
}

#[tokio::test]
async fn throttles_say_why_and_for_how_long() {
    let body = r#"{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#;
    let headers = [("Retry-After", "2"), ("x-amzn-ErrorType", "TooManyRequestsException")];
    assert_eq!(
        outcome_of_answer("429 Too Many Requests", &headers, body).await,
        Outcome::Throttled {
            retry_after: Some(Duration::from_secs(2)),
            reason: Some("ConcurrentInvocationLimitExceeded".to_owned()),
        }
    );
    for odd in ["soon", "-1", "NaN", "1e300", "Wed, 21 Oct 2015 07:28:00 GMT"] {
        assert_eq!(
            outcome_of_answer("429 Slow Down", &[("Retry-After", odd)], "").await,
            Outcome::Throttled { retry_after: None, reason: None }
        );
    }
}

#[tokio::test]
async fn refusals_and_service_faults_carry_code_and_message() {
    let code =
        ("x-amzn-ErrorType", "com.amazonaws#ResourceNotFoundException:http://internal.amazon.com/coral/");
    let body = r#"{"Type":"User","Message":"Function not found: f"}"#;
    assert_eq!(
        outcome_of_answer("404 Not Found", &[code], body).await,
        Outcome::Refused {
            status: 404,
            code: Some("ResourceNotFoundException".to_owned()),
            message: Some("Function not found: f".to_owned()),
        }
    );
    assert_eq!(
        outcome_of_answer("403 Forbidden", &[], "  <html>no</html>\n").await,
        Outcome::Refused { status: 403, code: None, message: Some("<html>no</html>".to_owned()) }
    );
    assert_eq!(
        outcome_of_answer("503 Service Unavailable", &[], "").await,
        Outcome::ServiceFault { status: 503, code: None, message: None }
    );
    let emulator = r#"{"errorType":"Runtime.ExitError","errorMessage":"exit status 1"}"#;
    assert_eq!(
        outcome_of_answer("502 Bad Gateway", &[], emulator).await,
        Outcome::ServiceFault {
            status: 502,
            code: Some("Runtime.ExitError".to_owned()),
            message: Some("exit status 1".to_owned()),
        }
    );
}

#[tokio::test]
async fn a_clock_that_is_off_is_named_as_the_cause() {
    let code = ("x-amzn-ErrorType", "InvalidSignatureException");
    let body = r#"{"message":"Signature expired: 20250101T000000Z is now earlier than 20250101T001000Z"}"#;
    let outcome = outcome_of_answer("403 Forbidden", &[code], body).await;
    assert!(outcome.to_string().contains("this machine's clock"), "{outcome}");
}
