//! Batches that fail, through the whole engine: a scripted source, a scripted function.

#[path = "support/in_process.rs"]
mod in_process;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/scripted.rs"]
mod scripted;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use in_process::{OK, all_committed, start_with, until};
use memory::{Shared, log};
use pelton::batch::{BatchLimits, Payload};
use pelton::deliver::{FailureRules, FunctionErrorKind, Outcome, RetryPolicy};
use pelton::destination::{Condition, Destination, DestinationError, Failure};
use pelton::ids::{Offset, Partition};
use pelton::invoke::Invoker;
use pelton::pipeline::{BatchTrace, EngineHandle, EngineSettings, Observer};
use pelton::telemetry::Count;
use pelton::time::Nanos;
use scripted::{Delivered, Scripted};

/// One poller, large batches, no waits.
fn settings(failures: FailureRules) -> EngineSettings {
    let settings = in_process::settings();
    EngineSettings {
        limits: BatchLimits { batch_size: 10_000, ..settings.limits },
        pollers: 1,
        retry: RetryPolicy { backoff_base: Duration::ZERO, ..RetryPolicy::default() },
        failures,
        ..settings
    }
}

fn start<I: Invoker>(
    settings: EngineSettings,
    log: &Shared,
    invoker: &Arc<I>,
    observer: Option<&Arc<dyn Observer>>,
) -> EngineHandle {
    start_with(settings, log, b"value", invoker, observer)
}

fn function_error() -> Outcome {
    Outcome::FunctionError { kind: FunctionErrorKind::Unhandled, error_type: None, message: None }
}

/// The function reports these records.
fn reported(failures: &[(i32, i64)]) -> Outcome {
    let items: Vec<_> = failures
        .iter()
        .map(|(partition, offset)| {
            format!(r#"{{"itemIdentifier":{{"partition":"t-{partition}","offset":{offset}}}}}"#)
        })
        .collect();
    let response = Bytes::from(format!(r#"{{"batchItemFailures":[{}]}}"#, items.join(",")));
    Outcome::Success { response_bytes: response.len(), response }
}

/// What was given up, and what was delivered, per partition.
#[derive(Default)]
struct Ends {
    given_up: Mutex<Vec<(i32, i64, i64)>>,
    kept: AtomicU64,
    delivered: Mutex<BTreeMap<i32, Vec<i64>>>,
}

impl Observer for Ends {
    fn on_delivered(&self, trace: &BatchTrace<'_>) {
        let mut delivered = self.delivered.lock().expect("delivered");
        for piece in trace.pieces() {
            delivered.entry(piece.run.partition.0).or_default().extend(piece.first.0..=piece.last.0);
        }
    }

    fn on_given_up(&self, partition: Partition, first: Offset, last: Offset, kept: bool) {
        self.given_up.lock().expect("given up").push((partition.0, first.0, last.0));
        self.kept.fetch_add(u64::from(kept), Ordering::SeqCst);
    }

    fn on_committed(&self, _: Partition, _: Offset, _: Nanos) {}
}

fn ends() -> (Arc<Ends>, Arc<dyn Observer>) {
    let ends = Arc::new(Ends::default());
    (Arc::clone(&ends), ends)
}

#[test]
fn one_poisoned_record_of_ten_thousand_is_found_and_dropped_and_all_others_delivered() {
    const POISONED: (i32, i64) = (0, 7_777);
    let log = log(1, 10_000);
    let invoker = Scripted::new(|_, records: Delivered| async move {
        if records.contains(&POISONED) { function_error() } else { OK }
    });
    let (ends, observer) = ends();
    let rules = FailureRules { bisect: true, retries_max: Some(0), ..FailureRules::default() };
    let mut settings = settings(rules);
    // All of it in one batch.
    settings.limits.window = Duration::from_secs(300);
    let engine = start(settings, &log, &invoker, Some(&observer));
    until("all is committed", || all_committed(&log));
    let totals = engine.counters().totals();
    drop(engine);
    let calls = invoker.calls.lock().expect("calls").len();
    assert!(calls <= 2 * 14 + 1, "{calls} invocations");
    assert_eq!(*ends.given_up.lock().expect("given up"), [(0, 7_777, 7_777)]);
    let delivered = &ends.delivered.lock().expect("delivered")[&0];
    assert!(delivered.iter().copied().eq((0..10_000).filter(|offset| *offset != POISONED.1)));
    assert_eq!((totals.records(Count::Delivered), totals.records(Count::Dropped)), (9_999, 1));
}

#[test]
fn only_reported_records_are_sent_again_and_commits_wait_for_them() {
    let log = log(3, 500);
    let times: Mutex<BTreeMap<(i32, i64), u32>> = Mutex::default();
    let invoker = Scripted::new(move |_, records: Delivered| {
        let mut times = times.lock().expect("times");
        let failures: Vec<_> = records
            .into_iter()
            .filter(|(partition, offset)| {
                let tried = times.entry((*partition, *offset)).or_default();
                *tried += 1;
                // Every seventh fails twice.
                (offset + i64::from(*partition)) % 7 == 3 && *tried <= 2
            })
            .collect();
        async move { reported(&failures) }
    });
    let (ends, observer) = ends();
    let rules = FailureRules { report_item_failures: true, ..FailureRules::default() };
    let engine = start(settings(rules), &log, &invoker, Some(&observer));
    until("all is committed", || all_committed(&log));
    let totals = engine.counters().totals();
    drop(engine);
    let mut counts: BTreeMap<(i32, i64), u32> = BTreeMap::new();
    invoker.delivered().into_iter().for_each(|record| *counts.entry(record).or_default() += 1);
    assert_eq!(counts.len(), 1_500);
    for ((partition, offset), count) in counts {
        let expected = if (offset + i64::from(partition)) % 7 == 3 { 3 } else { 1 };
        assert_eq!(count, expected, "{partition}@{offset}");
    }
    assert!(totals.invocations("partial") > 0);
    assert_eq!((totals.records(Count::Delivered), totals.records(Count::Dropped)), (1_500, 0));
    for (partition, mut delivered) in ends.delivered.lock().expect("delivered").clone() {
        delivered.sort_unstable();
        assert!(delivered.into_iter().eq(0..500), "partition {partition}: each once");
    }
}

#[test]
fn a_response_that_names_a_stranger_fails_the_whole_batch() {
    let log = log(1, 50);
    let invoker =
        Scripted::new(|number, _| async move { if number == 0 { reported(&[(0, 50)]) } else { OK } });
    let rules = FailureRules { report_item_failures: true, ..FailureRules::default() };
    let engine = start(settings(rules), &log, &invoker, None);
    until("all is committed", || all_committed(&log));
    assert_eq!(engine.counters().totals().invocations("bad_response"), 1);
    drop(engine);
    let calls = invoker.calls.lock().expect("calls");
    assert_eq!(calls[0], calls[1]);
}

#[test]
fn retries_are_counted_without_throttles_and_then_the_batch_is_dropped() {
    let log = log(2, 30);
    let invoker = Scripted::new(|number, _| async move {
        if number % 2 == 0 {
            Outcome::Throttled { retry_after: None, reason: None }
        } else {
            function_error()
        }
    });
    let (ends, observer) = ends();
    let rules = FailureRules { retries_max: Some(2), ..FailureRules::default() };
    let engine = start(settings(rules), &log, &invoker, Some(&observer));
    until("all is committed", || all_committed(&log));
    let totals = engine.counters().totals();
    drop(engine);
    let batches = totals.batches("window") + totals.batches("count");
    assert_eq!(totals.invocations("function_error"), 3 * batches);
    assert_eq!(totals.invocations("throttled"), 3 * batches);
    assert_eq!((totals.records(Count::Delivered), totals.records(Count::Dropped)), (0, 60));
    let given_up = ends.given_up.lock().expect("given up");
    assert_eq!(given_up.iter().map(|(_, first, last)| last - first + 1).sum::<i64>(), 60);
}

#[test]
fn records_that_are_too_old_are_dropped_and_never_sent() {
    // Their timestamps are their offsets: 1970.
    let log = log(1, 40);
    let invoker = Scripted::new(|_, _| async { OK });
    let rules = FailureRules { record_age_max: Some(Duration::from_secs(60)), ..FailureRules::default() };
    let engine = start(settings(rules), &log, &invoker, None);
    until("all is committed", || all_committed(&log));
    assert_eq!(engine.counters().totals().records(Count::Dropped), 40);
    drop(engine);
    assert!(invoker.delivered().is_empty());
}

/// Where each record's bytes lay in the events that it was sent in.
struct Addresses(Mutex<BTreeMap<i64, Vec<(usize, usize)>>>);

impl Invoker for Addresses {
    async fn invoke(&self, payload: Payload) -> Outcome {
        // One partition: head, key, records, tail.
        let frames: Vec<Bytes> = payload.frames().collect();
        let mut addresses = self.0.lock().expect("addresses");
        let sent: Vec<_> = payload.entries().collect();
        let arena = |at: usize| frames[2].as_ptr() as usize + at - sent[0].bytes.start as usize - 1;
        for entry in &sent {
            let range = (arena(entry.bytes.start as usize), entry.bytes.len());
            addresses.entry(entry.offset.0).or_default().push(range);
        }
        if sent.iter().any(|entry| entry.offset == Offset(321)) { function_error() } else { OK }
    }
}

#[test]
fn whatever_is_sent_again_lies_where_it_was_written_once() {
    let log = log(1, 1_000);
    let rules = FailureRules { bisect: true, retries_max: Some(3), ..FailureRules::default() };
    let invoker = Arc::new(Addresses(Mutex::default()));
    let mut settings = settings(rules);
    settings.limits.batch_size = 1_000;
    settings.limits.window = Duration::from_secs(300);
    let engine = start(settings, &log, &invoker, None);
    until("all is committed", || all_committed(&log));
    drop(engine);
    let addresses = invoker.0.lock().expect("addresses");
    assert_eq!(addresses.len(), 1_000);
    assert!(addresses[&321].len() > 10, "the poisoned record was sent in all its parts");
    for (offset, sent) in addresses.iter() {
        assert!(sent.iter().all(|range| *range == sent[0]), "record {offset} was written again: {sent:?}");
    }
}

/// What a destination was given: why, after how many invocations, and the event.
type Kept = (Condition, u32, Vec<u8>);

/// A destination that fails, panics included, before it takes anything.
struct Moody {
    fails: AtomicU64,
    kept: Mutex<Vec<Kept>>,
}

impl Moody {
    fn new(fails: u64) -> Arc<Self> {
        Arc::new(Self { fails: AtomicU64::new(fails), kept: Mutex::default() })
    }
}

impl Destination for Moody {
    fn deliver<'a>(
        &'a self,
        failure: &'a Failure,
    ) -> Pin<Box<dyn Future<Output = Result<(), DestinationError>> + Send + 'a>> {
        Box::pin(async move {
            let left = self.fails.load(Ordering::SeqCst);
            if left > 0 {
                self.fails.store(left - 1, Ordering::SeqCst);
                assert!(!left.is_multiple_of(3), "scripted panic");
                return Err(refused());
            }
            let mut event = Vec::new();
            failure.event.write_to(&mut event);
            self.kept.lock().expect("kept").push((failure.condition, failure.invocations, event));
            Ok(())
        })
    }

    fn name(&self) -> &str {
        "moody"
    }
}

/// The offsets of partition 0 in an event.
fn offsets(event: &[u8]) -> Vec<i64> {
    let event: serde_json::Value = serde_json::from_slice(event).expect("JSON");
    let records = event["records"]["t-0"].as_array().expect("records");
    records.iter().map(|record| record["offset"].as_i64().expect("an offset")).collect()
}

#[test]
fn what_is_given_up_is_done_only_once_the_destination_has_it() {
    let log = log(1, 100);
    let invoker = Scripted::new(|_, records: Delivered| async move {
        if records.iter().any(|(_, offset)| offset % 40 == 9) { function_error() } else { OK }
    });
    let moody = Moody::new(7);
    let (ends, observer) = ends();
    let rules = FailureRules { bisect: true, retries_max: Some(1), ..FailureRules::default() };
    let settings = EngineSettings { destination: Some(Arc::clone(&moody) as _), ..settings(rules) };
    let engine = start(settings, &log, &invoker, Some(&observer));
    until("all is committed", || {
        let log = log.lock().expect("log");
        let kept = moody.kept.lock().expect("kept").iter().flat_map(|(.., event)| offsets(event)).max();
        let passed = (0..log.committed[0]).filter(|offset| offset % 40 == 9).max();
        assert!(passed <= kept, "committed past {passed:?}, kept {kept:?}");
        log.committed == log.end
    });
    let totals = engine.counters().totals();
    drop(engine);
    let kept = moody.kept.lock().expect("kept");
    assert_eq!(kept.iter().map(|(.., event)| offsets(event)).collect::<Vec<_>>(), [[9], [49], [89]]);
    assert!(kept.iter().all(|(condition, invocations, _)| {
        *condition == Condition::RetryAttemptsExhausted && *invocations >= 2
    }));
    assert_eq!((totals.records(Count::ToDestination), totals.records(Count::Dropped)), (3, 0));
    assert_eq!((totals.records(Count::Delivered), ends.kept.load(Ordering::SeqCst)), (97, 3));
}

#[test]
fn a_record_that_no_payload_can_hold_goes_to_the_destination_whole_and_in_its_place() {
    static BIG: [u8; 5_000_000] = [7; 5_000_000];
    let log = log(1, 3);
    let invoker = Scripted::new(|_, _| async { OK });
    let moody = Moody::new(2);
    let settings =
        EngineSettings { destination: Some(Arc::clone(&moody) as _), ..settings(FailureRules::default()) };
    let engine = start_with(settings, &log, &BIG, &invoker, None);
    until("all is committed", || all_committed(&log));
    drop(engine);
    assert!(invoker.delivered().is_empty());
    let kept = moody.kept.lock().expect("kept");
    assert_eq!(kept.iter().flat_map(|(.., event)| offsets(event)).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(kept.iter().all(|(condition, invocations, event)| {
        *condition == Condition::MaximumPayloadSizeExceeded && *invocations == 0 && event.len() > 6_291_456
    }));
}

fn refused() -> DestinationError {
    DestinationError::new("moody", "scripted")
}
