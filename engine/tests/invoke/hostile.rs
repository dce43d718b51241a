//! Servers that misbehave in every way one meets.

use std::time::Duration;

use pelton::deliver::Outcome;
use pelton::invoke::{Invoker as _, LambdaSettings, RESPONSE_BYTES_MAX};

use crate::payloads::{batch, pool};
use crate::server::{Act, Server, answer, success};
use crate::{invoker, outcome_of, outcome_of_answer, settings};

fn unreachable_reason(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unreachable { reason } => reason,
        other => panic!("{other:?} instead of Unreachable"),
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_is_not_taken_for_an_answer() {
    let closing = Act::AnswerAndClose(success("null"));
    let server = Server::start([closing.clone(), closing.clone(), closing]);
    let invoker = invoker(&settings(&server));
    let payload = batch(&mut pool(), 2, 100).whole();
    let mut successes = 0;
    // An attempt may meet the connection while it closes; it is then unreachable, not a success.
    for _ in 0..20 {
        match invoker.invoke(payload.clone()).await {
            Outcome::Success { .. } => successes += 1,
            Outcome::Unreachable { .. } => (),
            other => panic!("{other:?}"),
        }
        if successes == 3 {
            break;
        }
    }
    assert_eq!((successes, server.requests().len()), (3, 3));
}

#[tokio::test]
async fn other_successes_do_not_say_that_the_function_ran() {
    for status in ["202 Accepted", "204 No Content", "206 Partial Content"] {
        let act = Act::AnswerAndClose(format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n").into_bytes());
        let outcome = outcome_of(act).await;
        assert_eq!(outcome.label(), "refused", "{outcome}");
        assert!(outcome.to_string().contains(status), "{outcome}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let outcome = outcome_of_answer("307 Temporary Redirect", &[("Location", "http://other/")], "").await;
    let reason = unreachable_reason(outcome);
    assert!(reason.contains("http://other/") && reason.contains("`endpoint`"), "{reason}");
}

#[tokio::test]
async fn a_response_longer_than_lambda_allows_is_a_function_error() {
    let act = |extra: usize| Act::AnswerAndClose(success(&"x".repeat(RESPONSE_BYTES_MAX + extra)));
    assert_eq!(outcome_of(act(0)).await.label(), "success");
    let server = Server::start([Act::EarlyAndHold(success(&"x".repeat(RESPONSE_BYTES_MAX + 1)))]);
    let outcome = invoker(&settings(&server)).invoke(batch(&mut pool(), 2, 100).whole()).await;
    let Outcome::FunctionError { error_type: Some(error_type), message: Some(message), .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(error_type, "Function.ResponseSizeTooLarge");
    assert_eq!(message, "Response payload size exceeded maximum allowed payload size (6291556 bytes).");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_success() {
    let broken = [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n".to_owned(),
    ];
    for answer in broken {
        let reason = unreachable_reason(outcome_of(Act::AnswerAndClose(answer.clone().into_bytes())).await);
        assert!(reason.contains("broke off after"), "{answer:?}: {reason}");
    }
    let half_a_head = Act::AnswerAndClose(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec());
    unreachable_reason(outcome_of(half_a_head).await);
}

#[tokio::test]
async fn resets_garbage_and_silence_are_unreachable_or_time_out() {
    for act in [
        Act::Reset,
        Act::Close,
        Act::AnswerAndClose(b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
        Act::AnswerAndClose(vec![0xff; 100_000]),
        Act::AnswerAndClose(b"HTTP/1.1 999999 x\r\n\r\n".to_vec()),
    ] {
        let reason = unreachable_reason(outcome_of(act.clone()).await);
        assert!(reason.starts_with("no answer from http://127.0.0.1:"), "{act:?}: {reason}");
    }
    let server = Server::start([Act::Hang]);
    let mut settings = settings(&server);
    settings.function_timeout = Duration::from_millis(50);
    let outcome = invoker(&settings).invoke(batch(&mut pool(), 2, 100).whole()).await;
    assert_eq!(outcome, Outcome::TimedOut { after: Duration::from_millis(50) });
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable_with_the_cause() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = LambdaSettings::new("f");
    settings.endpoint = Some(format!("http://{free}"));
    let outcome = invoker(&settings).invoke(batch(&mut pool(), 2, 100).whole()).await;
    let reason = unreachable_reason(outcome);
    assert!(reason.starts_with("cannot connect to") && reason.contains("Connection refused"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_comes_before_the_payload_is_sent_is_seen_every_time() {
    let early = answer("413 Payload Too Large", &[("x-amzn-ErrorType", "RequestTooLargeException")], "{}");
    let mut pool = pool();
    let sealed = batch(&mut pool, 1000, 4000);
    let server = Server::start(vec![Act::EarlyAndReset(early); 50]);
    let invoker = invoker(&settings(&server));
    for _ in 0..50 {
        let outcome = invoker.invoke(sealed.whole()).await;
        let Outcome::Refused { status: 413, code: Some(code), .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(code, "RequestTooLargeException");
    }
}

/// Waits until the pool can lend its only buffer again.
async fn freed(pool: &mut pelton::payload::Pool) -> bool {
    for _ in 0..500 {
        if pool.acquire().is_some() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn whatever_the_server_does_the_payloads_arena_comes_free() {
    let refusal = answer("413 Payload Too Large", &[], "{}");
    for act in
        [Act::EarlyAndHold(refusal), Act::Hang, Act::Hold, Act::EarlyAndHold(success("null")), Act::Reset]
    {
        let server = Server::start([act.clone()]);
        let mut settings = settings(&server);
        settings.function_timeout = Duration::from_secs(1);
        let invoker = invoker(&settings);
        let mut pool = pool();
        let sealed = batch(&mut pool, 1000, 4000);
        let outcome = invoker.invoke(sealed.whole()).await;
        pool.give_back(sealed);
        assert!(freed(&mut pool).await, "{act:?}, {outcome}");
    }
}

#[tokio::test]
async fn connecting_has_its_own_time_limit() {
    // A listener whose backlog is full neither accepts nor refuses; with Linux's smallest backlog
    // that takes a few connections.
    let mut settings = LambdaSettings::new("f");
    // RFC 5737: an address that nobody has. Where the network refuses at once, that is as good.
    settings.endpoint = Some("http://192.0.2.1:9".to_owned());
    settings.connect_timeout = Duration::from_millis(50);
    let outcome = invoker(&settings).invoke(batch(&mut pool(), 2, 100).whole()).await;
    let reason = unreachable_reason(outcome);
    assert!(reason.starts_with("cannot connect to http://192.0.2.1:9: "), "{reason}");
}
