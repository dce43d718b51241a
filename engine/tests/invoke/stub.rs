//! The stand-ins in process, and the check of events that they share with the harness.

use std::time::Duration;

use pelton::deliver::Outcome;
use pelton::invoke::law::{Cost, Faults, Latency, Law};
use pelton::invoke::{Invoker as _, Stub, verify};
use pelton::time::Clock;

use crate::payloads::{batch, pool};

#[tokio::test]
async fn the_null_stub_succeeds_and_counts() {
    let stub = Stub::null();
    let payload = batch(&mut pool(), 5, 100).whole();
    assert_eq!(stub.invoke(payload.clone()).await.label(), "success");
    let passed = stub.passed();
    assert_eq!((passed.invocations, passed.records, passed.payload_bytes), (1, 5, payload.len() as u64));
}

#[tokio::test]
async fn latency_is_waited_for_and_cut_by_the_timeout() {
    let latency = Latency::Fixed(Duration::from_millis(50));
    let cost = Cost { per_record: Duration::from_millis(10), ..Cost::default() };
    let law = Law { latency, cost, ..Law::default() };
    let payload = batch(&mut pool(), 5, 100).whole();
    let clock = Clock::start();
    let start = clock.now();
    let stub = Stub::new(law).unwrap();
    assert_eq!(stub.invoke(payload.clone()).await.label(), "success");
    assert!(clock.now().since(start) >= Duration::from_millis(100));
    let stub = stub.with_timeout(Duration::from_millis(99));
    let outcome = stub.invoke(payload).await;
    assert_eq!(outcome, Outcome::TimedOut { after: Duration::from_millis(99) });
}

#[tokio::test]
async fn each_fault_has_its_outcome() {
    let payload = batch(&mut pool(), 2, 100).whole();
    for (label, faults) in [
        ("function_error", Faults { function_error: 1.0, ..Faults::default() }),
        ("throttled", Faults { throttle: 1.0, ..Faults::default() }),
        ("service_fault", Faults { service_fault: 1.0, ..Faults::default() }),
        ("unreachable", Faults { reset: 1.0, ..Faults::default() }),
        ("unreachable", Faults { garbage: 1.0, ..Faults::default() }),
    ] {
        let stub = Stub::new(Law { faults, ..Law::default() }).unwrap();
        assert_eq!(stub.invoke(payload.clone()).await.label(), label);
    }
}

#[tokio::test]
async fn a_good_payload_verifies_whole_and_in_parts() {
    let stub = Stub::null().with_verification();
    let sealed = batch(&mut pool(), 101, 100);
    for payload in [sealed.whole(), sealed.part([0..50, 50..51]), sealed.part([3..4, 70..101])] {
        let outcome = stub.invoke(payload).await;
        assert_eq!(outcome.label(), "success", "{outcome}");
    }
    assert_eq!(stub.mismatches(), 0);
}

#[test]
fn a_payload_whose_text_differs_from_its_records_is_found_out() {
    let payload = batch(&mut pool(), 4, 2).whole();
    let mut json = Vec::new();
    payload.write_to(&mut json);
    let text = String::from_utf8(json).unwrap();
    assert_eq!(verify::payload(&payload, &mut text.clone().into_bytes()), Ok(()));
    for (from, to, place) in [
        (r#""offset":2"#, r#""offset":1"#, "records"),
        (r#""timestamp":1700000000001"#, r#""timestamp":1700000000000"#, "records"),
        (r#""partition":1,"offset":3"#, r#""partition":0,"offset":3"#, r#"records["t-1"][1]"#),
        (r#""value":"dnY=""#, r#""value":"dn==""#, r#"records["t-0"][0].value"#),
        (r#""headers":[]"#, r#""headers":{}"#, r#"records["t-0"][0].headers"#),
        ("CREATE_TIME", "CREATE_TEAM", r#"records["t-0"][0].timestampType"#),
        (r#""key":"#, r#""kay":"#, r#"records["t-0"][0]."#),
        ("SelfManagedKafka", "SelfManagedKofka", "eventSource"),
        ("]}}", "]}]", "event"),
        (r#""t-1":["#, r#""t-0":["#, r#"records["t-0"]"#),
    ] {
        assert!(text.contains(from), "{from} is not in {text}");
        let mismatch = verify::payload(&payload, &mut text.replacen(from, to, 1).into_bytes()).expect_err(to);
        assert_eq!(mismatch.place, place, "{mismatch}");
    }
    let shorter = verify::payload(&payload, &mut text.as_bytes()[1..].to_vec()).expect_err("shorter");
    assert_eq!(shorter.place, "event");
}

#[test]
fn header_bytes_are_signed() {
    let event = |byte: &str| {
        format!(
            r#"{{"eventSource":"aws:kafka","eventSourceArn":"arn:a","bootstrapServers":"h:1","records":{{"t-0":[{{"topic":"t","partition":0,"offset":1,"timestamp":-1,"timestampType":"NO_TIMESTAMP_TYPE","headers":[{{"h":[{byte}]}}]}}]}}}}"#
        )
        .into_bytes()
    };
    for good in ["-128", "127", "0"] {
        let mut seen = Vec::new();
        verify::event(&mut event(good), |record| seen.push((record.topic.to_owned(), record.offset)))
            .unwrap();
        assert_eq!(seen, [("t".to_owned(), 1)]);
    }
    for bad in ["128", "-129", "1.0", "null", "\"1\""] {
        let mismatch = verify::event(&mut event(bad), |_| ()).expect_err(bad);
        assert_eq!(mismatch.place, r#"records["t-0"][0].headers"#);
    }
}
