//! The stand-in over HTTP, invoked by the engine's own client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pelton::batch::{BatchLimits, FlushCause, OpenBatch, Payload};
use pelton::deliver::Outcome;
use pelton::ids::{Offset, Partition, Slot, Topic};
use pelton::invoke::law::{Cost, Faults, Latency, Law};
use pelton::invoke::{Invoker as _, LambdaInvoker, LambdaSettings, Signing};
use pelton::payload::{Envelope, Pool, Template};
use pelton::record::{RecordRef, TimestampType};
use pelton::time::{Clock, Nanos};
use pelton_harness::stub::{StubServer, StubSettings, StubWatch};

fn payload(records: i64, value_bytes: usize, payload_bytes_max: u32) -> Payload {
    let limits = BatchLimits { batch_size: 10_000, payload_bytes_max, ..BatchLimits::default() };
    let mut pool = Pool::new(0, payload_bytes_max as usize, 10_000);
    let lease = pool.acquire().expect("an empty pool has room");
    let mut batch = OpenBatch::new(lease, &limits, Arc::new(Envelope::self_managed("h:9092")));
    let template = Template::new(&Topic::new("t"), Partition(0));
    let value = vec![b'v'; value_bytes];
    let records: Vec<_> = (0..records)
        .map(|offset| RecordRef {
            partition: Partition(0),
            offset: Offset(offset),
            timestamp_ms: 0,
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(&value),
            headers: &[],
        })
        .collect();
    let appended = batch.append_run(&mut pool, Slot(0), &template, &records, Nanos::ZERO);
    assert_eq!(appended.taken, records.len(), "{appended:?}");
    batch.seal(FlushCause::Count, Nanos::ZERO).whole()
}

fn small() -> Payload {
    payload(10, 100, BatchLimits::PAYLOAD_BYTES_MAX)
}

/// A stand-in that serves until the test ends, and a client of it.
async fn start(law: Law, verify: bool) -> (LambdaInvoker, StubWatch) {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = StubServer::bind(StubSettings { address, law, verify }).await.expect("a free port");
    let mut settings = LambdaSettings::new("any");
    settings.endpoint = Some(format!("http://{}", server.address()));
    let watch = server.watch();
    tokio::spawn(server.serve(std::future::pending()));
    (LambdaInvoker::new(&settings, Signing::Unsigned).expect("valid"), watch)
}

#[tokio::test]
async fn a_full_payload_is_verified_and_counted() {
    let (invoker, watch) = start(Law::default(), true).await;
    let payload = payload(3500, 1200, BatchLimits::PAYLOAD_BYTES_MAX);
    for _ in 0..3 {
        assert_eq!(invoker.invoke(payload.clone()).await.label(), "success");
    }
    let stats = watch.stats();
    assert_eq!((stats.passed.invocations, stats.passed.records), (3, 3 * 3500));
    assert_eq!(stats.passed.payload_bytes, 3 * payload.len() as u64);
    assert_eq!((stats.connections, stats.mismatches, stats.passed.in_flight_max), (1, 0, 1));
}

#[tokio::test]
async fn each_fault_has_its_outcome() {
    for (label, faults) in [
        ("function_error", Faults { function_error: 1.0, ..Faults::default() }),
        ("throttled", Faults { throttle: 1.0, ..Faults::default() }),
        ("service_fault", Faults { service_fault: 1.0, ..Faults::default() }),
        ("unreachable", Faults { reset: 1.0, ..Faults::default() }),
        ("unreachable", Faults { garbage: 1.0, ..Faults::default() }),
    ] {
        let (invoker, watch) = start(Law { faults, ..Law::default() }, false).await;
        for payload in [small(), payload(3500, 1200, BatchLimits::PAYLOAD_BYTES_MAX)] {
            let outcome = invoker.invoke(payload).await;
            assert_eq!(outcome.label(), label, "{outcome}");
        }
        assert_eq!(watch.stats().passed.invocations, 2);
    }
}

#[tokio::test]
async fn latency_and_cost_are_waited_for() {
    let law = Law {
        latency: Latency::Fixed(Duration::from_millis(20)),
        cost: Cost { per_record: Duration::from_millis(2), per_byte_ns: 0.0 },
        ..Law::default()
    };
    let (invoker, _) = start(law, false).await;
    let clock = Clock::start();
    let before = clock.now();
    assert_eq!(invoker.invoke(small()).await.label(), "success");
    assert!(clock.now().since(before) >= Duration::from_millis(40));
}

#[tokio::test]
async fn more_than_may_run_at_once_are_throttled() {
    let latency = Latency::Fixed(Duration::from_millis(200));
    let (invoker, watch) = start(Law { latency, concurrency_max: Some(1), ..Law::default() }, false).await;
    let outcomes = tokio::join!(invoker.invoke(small()), invoker.invoke(small()));
    let mut labels = [outcomes.0.label(), outcomes.1.label()];
    labels.sort_unstable();
    assert_eq!(labels, ["success", "throttled"]);
    assert_eq!(watch.stats().passed.throttled, 1);
}

#[tokio::test]
async fn a_body_of_awss_limit_is_refused() {
    let (invoker, watch) = start(Law::default(), false).await;
    let outcome = invoker.invoke(payload(4000, 1200, 8 << 20)).await;
    let Outcome::Refused { status: 413, message: Some(message), .. } = outcome else { panic!("{outcome:?}") };
    assert!(message.is_empty() || message.contains("smaller than 6291456 bytes"), "{message}");
    assert_eq!(watch.stats().too_large, 1);
}
