//! The engine without a broker and without HTTP: a scripted source, a scripted function.

#[path = "support/in_process.rs"]
mod in_process;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/scripted.rs"]
mod scripted;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use in_process::{OK, all_committed, settings, start_with, until};
use memory::{Shared, log};
use pelton::batch::BatchLimits;
use pelton::commit::Span;
use pelton::commit::metadata::{METADATA_BYTES_MAX, Place, decode, encode};
use pelton::deliver::Outcome;
use pelton::filter::Filters;
use pelton::ids::{Offset, Partition, Topic};
use pelton::invoke::Invoker;
use pelton::pipeline::{BatchTrace, EngineHandle, EngineSettings, Observer, Oversized};
use pelton::source::{CommitMode, SourceEvent};
use pelton::telemetry::Count;
use pelton::time::Nanos;
use scripted::{Delivered, Scripted};

fn start<I: Invoker>(settings: EngineSettings, log: &Shared, invoker: &Arc<I>) -> EngineHandle {
    start_with(settings, log, b"value", invoker, None)
}

/// Offsets per partition in the order of their first delivery, and how many came again.
fn audit(delivered: &Delivered) -> (BTreeMap<i32, Vec<i64>>, usize) {
    let mut first: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    let mut again = 0;
    for &(partition, offset) in delivered {
        let seen = first.entry(partition).or_default();
        if seen.contains(&offset) {
            again += 1;
        } else {
            seen.push(offset);
        }
    }
    (first, again)
}

/// Whether first deliveries are every record of every partition, in order.
#[track_caller]
fn assert_complete_in_order(first: &BTreeMap<i32, Vec<i64>>, partitions: usize, records: i64) {
    assert_eq!(first.len(), partitions, "partitions delivered");
    for (partition, offsets) in first {
        let stray = offsets.iter().copied().zip(0..).find(|&(offset, expected)| offset != expected);
        assert_eq!(stray, None, "partition {partition}: (delivered, expected)");
        assert_eq!(offsets.len() as i64, records, "partition {partition}");
    }
}

#[test]
fn every_record_is_delivered_once_in_order_and_committed() {
    let log = log(5, 1_000);
    let invoker = Scripted::new(|_, _| async { OK });
    let engine = start(settings(), &log, &invoker);
    until("all is committed", || all_committed(&log));
    engine.drain();
    assert!(engine.join().fatal.is_none());
    let (first, again) = audit(&invoker.delivered());
    assert_complete_in_order(&first, 5, 1_000);
    assert_eq!(again, 0);
    assert!(log.lock().expect("log").closed);
}

#[test]
fn failures_are_tried_again_with_the_same_records_until_success() {
    let log = log(3, 500);
    let invoker = Scripted::new(|number, _| async move {
        match number % 4 {
            0 => Outcome::Unreachable { reason: "scripted".into() },
            1 => Outcome::ServiceFault { status: 503, code: None, message: None },
            2 => Outcome::Throttled { retry_after: None, reason: None },
            _ => OK,
        }
    });
    let engine = start(settings(), &log, &invoker);
    until("all is committed", || all_committed(&log));
    drop(engine);
    let (first, again) = audit(&invoker.delivered());
    assert_complete_in_order(&first, 3, 500);
    assert!(again > 0, "nothing was retried");
}

#[test]
fn a_poller_has_at_most_one_invocation_in_flight() {
    let log = log(8, 300);
    let invoker = Scripted::new(|_, _| async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        OK
    });
    let engine = start(EngineSettings { pollers: 3, ..settings() }, &log, &invoker);
    until("all is committed", || all_committed(&log));
    drop(engine);
    assert!(invoker.most_in_flight.load(Ordering::SeqCst) <= 3);
}

#[test]
fn a_panicking_invoker_loses_nothing() {
    let log = log(1, 200);
    let invoker = Scripted::new(|number, _| async move {
        assert!(number != 1, "scripted panic");
        OK
    });
    let engine = start(settings(), &log, &invoker);
    until("all is committed", || all_committed(&log));
    drop(engine);
    assert_complete_in_order(&audit(&invoker.delivered()).0, 1, 200);
}

#[test]
fn a_commit_never_passes_a_record_that_is_not_delivered() {
    let log = log(2, 400);
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let held = move |_, records: Delivered| {
        let gate = Arc::clone(&gate);
        async move {
            if records.contains(&(0, 150)) && !gate.load(Ordering::SeqCst) {
                return Outcome::Unreachable { reason: "held".into() };
            }
            OK
        }
    };
    let invoker = Scripted::new(held);
    let engine = start(settings(), &log, &invoker);
    until("the other partition is committed", || log.lock().expect("log").committed[1] == 400);
    assert!(log.lock().expect("log").committed[0] <= 150);
    open.store(true, Ordering::SeqCst);
    until("all is committed", || all_committed(&log));
    drop(engine);
}

#[test]
fn a_gap_at_the_end_of_the_log_is_committed_though_no_record_follows() {
    let log = log(2, 100);
    let invoker = Scripted::new(|_, _| async { OK });
    let engine = start(settings(), &log, &invoker);
    until("all is committed", || all_committed(&log));
    log.lock().expect("log").gap = 2;
    until("the gap is committed", || log.lock().expect("log").committed[0] == 102);
    drop(engine);
}

#[test]
fn refused_commits_are_sent_again() {
    let log = log(2, 300);
    log.lock().expect("log").refuse_commits = 3;
    let invoker = Scripted::new(|_, _| async { OK });
    let engine = start(settings(), &log, &invoker);
    until("all is committed", || all_committed(&log));
    drop(engine);
    assert_eq!(log.lock().expect("log").refuse_commits, 0);
}

/// As a coordinator does while a group rebalances.
#[test]
fn a_last_commit_that_is_refused_is_sent_again_before_anything_is_let_go() {
    let log = log(2, 300);
    log.lock().expect("log").refuse_last_commits = 2;
    let invoker = Scripted::new(|_, _| async { OK });
    let settings = EngineSettings { commit_interval: Duration::from_secs(300), ..settings() };
    let engine = start(settings, &log, &invoker);
    until("all is delivered", || invoker.delivered().len() == 600);
    let revoked = SourceEvent::Revoked { partitions: vec![Partition(0)], lost: false };
    log.lock().expect("log").events.push_back(revoked);
    until("it is let go", || !log.lock().expect("log").released.is_empty());
    assert_eq!(log.lock().expect("log").committed[0], 300);
    log.lock().expect("log").refuse_last_commits = 2;
    engine.drain();
    assert!(engine.join().fatal.is_none());
    assert!(all_committed(&log));
    assert_eq!(log.lock().expect("log").refuse_last_commits, 0);
}

/// Partition, first and last offset of what was skipped, in order.
type Skipped = Vec<(i32, i64, i64)>;

/// Keeps what was skipped.
#[derive(Default)]
struct Resumed(Mutex<Skipped>);

impl Observer for Resumed {
    fn on_delivered(&self, _: &BatchTrace<'_>) {}
    fn on_committed(&self, _: Partition, _: Offset, _: Nanos) {}
    fn on_resumed(&self, partition: Partition, first: Offset, last: Offset) {
        self.0.lock().expect("resumed").push((partition.0, first.0, last.0));
    }
}

/// As a commit at `committed` of a partition would say it.
fn metadata(partition: i32, committed: i64, finished: &[(i64, i64)]) -> String {
    let spans = finished.iter().map(|(first, last)| Span { first: Offset(*first), last: Offset(*last) });
    let topic = Topic::new("t");
    let place = Place { topic: &topic, partition: Partition(partition), committed: Offset(committed) };
    let mut text = String::new();
    assert_eq!(encode(place, spans, METADATA_BYTES_MAX, &mut text).spans, 0);
    text
}

/// Two partitions of 1,000 records, of which the group has 50 and, in partition 0, what `metadata`
/// says. Returns what was delivered, per partition, what was skipped, and how many that were.
fn resume(settings: EngineSettings, text: &str) -> (BTreeMap<i32, Vec<i64>>, Skipped, u64) {
    let log = log(2, 1_000);
    log.lock().expect("log").committed = vec![50, 50];
    log.lock().expect("log").metadata[0] = text.to_owned();
    let invoker = Scripted::new(|_, _| async { OK });
    let told = Arc::new(Resumed::default());
    let observer: Arc<dyn Observer> = Arc::clone(&told) as _;
    let engine = start_with(settings, &log, b"value", &invoker, Some(&observer));
    until("all is committed", || all_committed(&log));
    until("all metadata is gone", || log.lock().expect("log").metadata.iter().all(String::is_empty));
    engine.drain();
    let counters = Arc::clone(engine.counters());
    assert!(engine.join().fatal.is_none());
    let (delivered, again) = audit(&invoker.delivered());
    assert_eq!(again, 0);
    let told = std::mem::take(&mut *told.0.lock().expect("resumed"));
    (delivered, told, counters.totals().records(Count::Resumed))
}

/// Joins what touches: where a read ends is the source's affair.
fn joined(resumed: &[(i32, i64, i64)]) -> Vec<(i64, i64)> {
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for &(partition, first, last) in resumed {
        assert_eq!(partition, 0, "the metadata is of this one");
        match joined.last_mut() {
            Some(before) if before.1 + 1 == first => before.1 = last,
            _ => joined.push((first, last)),
        }
    }
    joined
}

#[test]
fn records_that_the_commit_says_are_finished_are_not_delivered_again_and_no_others_are_skipped() {
    // At the committed offset, across batches, single, and at the end of the log.
    let finished = [(50, 52), (60, 60), (62, 399), (401, 401), (990, 999)];
    let wanted: Vec<i64> =
        (50..1_000).filter(|at| !finished.iter().any(|(first, last)| (first..=last).contains(&at))).collect();
    let skipped = 950 - wanted.len() as u64;
    let (delivered, resumed, counted) = resume(settings(), &metadata(0, 50, &finished));
    assert_eq!(delivered[&0], wanted);
    assert!(delivered[&1].iter().copied().eq(50..1_000));
    assert_eq!(counted, skipped);
    assert_eq!(joined(&resumed), finished);
}

#[test]
fn filters_judge_what_is_not_skipped() {
    let finished = [(55, 69), (71, 71), (295, 500)];
    let wanted: Vec<i64> = (50..1_000)
        .filter(|at| is_some(*at) && !finished.iter().any(|(first, last)| (first..=last).contains(&at)))
        .collect();
    let (delivered, resumed, _) = resume(filtered(SOME), &metadata(0, 50, &finished));
    assert_eq!(delivered[&0], wanted);
    assert_eq!(joined(&resumed), finished);
}

#[test]
fn metadata_that_is_foreign_or_damaged_or_of_another_offset_is_ignored() {
    let sound = metadata(0, 50, &[(60, 80)]);
    let cut = &sound[..sound.len() - 1];
    for text in ["NO_METADATA", "{}", cut, &metadata(0, 49, &[(60, 80)]), &metadata(1, 50, &[(60, 80)])] {
        let (delivered, resumed, counted) = resume(settings(), text);
        assert!(delivered[&0].iter().copied().eq(50..1_000), "{text}");
        assert_eq!((resumed, counted), (vec![], 0));
    }
}

#[test]
fn metadata_is_neither_read_nor_written_if_it_is_turned_off() {
    let settings = EngineSettings { commit_metadata: false, ..settings() };
    let (delivered, resumed, _) = resume(settings, &metadata(0, 50, &[(60, 80)]));
    assert!(delivered[&0].iter().copied().eq(50..1_000));
    assert_eq!(resumed, []);
}

#[test]
fn what_was_skipped_behind_an_undelivered_record_is_in_the_next_commit_too() {
    let log = log(1, 1_000);
    let finished = [(60, 70), (80, 99), (700, 709)];
    log.lock().expect("log").committed = vec![50];
    log.lock().expect("log").metadata = vec![metadata(0, 50, &finished)];
    let invoker = Scripted::new(|_, records: Delivered| async move {
        if records.contains(&(0, 55)) { Outcome::Unreachable { reason: "held".into() } } else { OK }
    });
    let limits = BatchLimits { batch_size: 5, ..settings().limits };
    let engine = start(EngineSettings { limits, ..settings() }, &log, &invoker);
    until("some is committed", || log.lock().expect("log").committed[0] == 55);
    log.lock()
        .expect("log")
        .events
        .push_back(SourceEvent::Revoked { partitions: vec![Partition(0)], lost: false });
    until("it is let go", || !log.lock().expect("log").released.is_empty());
    let text = log.lock().expect("log").metadata[0].clone();
    let topic = Topic::new("t");
    let place = Place { topic: &topic, partition: Partition(0), committed: Offset(55) };
    let again = decode(&text, place).expect("its own");
    assert!(again.spans().map(|span| (span.first.0, span.last.0)).eq(finished));
    drop(engine);
}

#[test]
fn a_broker_that_takes_less_metadata_gets_less_and_takes_the_offsets() {
    let log = log(1, 200);
    log.lock().expect("log").metadata_bytes_max = 100;
    log.lock().expect("log").committed = vec![50];
    let finished: Vec<(i64, i64)> = (0..70).map(|at| (61 + 2 * at, 61 + 2 * at)).collect();
    log.lock().expect("log").metadata = vec![metadata(0, 50, &finished)];
    let invoker = Scripted::new(|_, records: Delivered| async move {
        if records.contains(&(0, 55)) { Outcome::Unreachable { reason: "held".into() } } else { OK }
    });
    let limits = BatchLimits { batch_size: 5, ..settings().limits };
    let engine = start(EngineSettings { limits, ..settings() }, &log, &invoker);
    until("the offset is committed", || log.lock().expect("log").committed[0] == 55);
    let text = log.lock().expect("log").metadata[0].clone();
    assert!((1..=100).contains(&text.len()), "{text}");
    drop(engine);
}

#[test]
fn a_revoked_partition_waits_for_its_invocation_and_is_committed_before_it_is_let_go() {
    let log = log(1, 100);
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let invoker = Scripted::new(move |_, _| {
        let gate = Arc::clone(&gate);
        async move {
            while !gate.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            OK
        }
    });
    let engine = start(settings(), &log, &invoker);
    until("the invocation runs", || invoker.in_flight.load(Ordering::SeqCst) == 1);
    log.lock()
        .expect("log")
        .events
        .push_back(SourceEvent::Revoked { partitions: vec![Partition(0)], lost: false });
    until("the event is served", || log.lock().expect("log").events.is_empty());
    assert!(log.lock().expect("log").released.is_empty(), "let go while its invocation ran");
    open.store(true, Ordering::SeqCst);
    until("it is let go", || !log.lock().expect("log").released.is_empty());
    assert_eq!(log.lock().expect("log").commits, [(0, 100, CommitMode::Sync)]);
    drop(engine);
}

#[test]
fn a_lost_partition_is_let_go_at_once_and_commits_nothing() {
    let log = log(1, 100);
    let invoker = Scripted::new(|_, _| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        OK
    });
    let engine = start(settings(), &log, &invoker);
    until("the invocation runs", || invoker.in_flight.load(Ordering::SeqCst) == 1);
    log.lock()
        .expect("log")
        .events
        .push_back(SourceEvent::Revoked { partitions: vec![Partition(0)], lost: true });
    until("it is let go", || !log.lock().expect("log").released.is_empty());
    engine.drain();
    assert!(engine.join().fatal.is_none());
    assert_eq!(log.lock().expect("log").commits, []);
}

#[test]
fn a_partition_that_comes_back_goes_on_where_it_was_committed() {
    let log = log(4, 2_000);
    let invoker = Scripted::new(|number, _| async move {
        if number % 5 == 4 { Outcome::Unreachable { reason: "scripted".into() } } else { OK }
    });
    let engine = start(settings(), &log, &invoker);
    for round in 0..20 {
        let partition = Partition(round % 4);
        let lost = round % 3 == 2;
        let before = log.lock().expect("log").released.len();
        log.lock().expect("log").events.push_back(SourceEvent::Revoked { partitions: vec![partition], lost });
        until("it is let go", || log.lock().expect("log").released.len() > before);
        log.lock().expect("log").events.push_back(SourceEvent::Assigned(vec![partition]));
    }
    until("all is committed", || all_committed(&log));
    drop(engine);
    assert_complete_in_order(&audit(&invoker.delivered()).0, 4, 2_000);
}

#[test]
fn a_record_that_no_payload_can_hold_is_dropped_and_committed() {
    static BIG: [u8; 5_000_000] = [7; 5_000_000];
    let log = log(1, 3);
    let invoker = Scripted::new(|_, _| async { OK });
    let engine = start_with(settings(), &log, &BIG, &invoker, None);
    until("all is committed", || all_committed(&log));
    drop(engine);
    assert!(invoker.delivered().is_empty());
}

#[test]
fn a_blocked_poller_commits_nothing_past_the_record() {
    static BIG: [u8; 5_000_000] = [7; 5_000_000];
    let log = log(1, 3);
    let invoker = Scripted::new(|_, _| async { OK });
    let settings = EngineSettings { oversized: Oversized::Block, ..settings() };
    let engine = start_with(settings, &log, &BIG, &invoker, None);
    until("it is read", || log.lock().expect("log").read[0] == 3);
    engine.drain();
    assert!(engine.join().fatal.is_none());
    assert_eq!(log.lock().expect("log").committed, [0]);
}

#[test]
fn a_budget_of_two_arenas_serves_many_pollers() {
    static VALUE: [u8; 100_000] = [7; 100_000];
    let log = log(12, 120);
    let invoker = Scripted::new(|number, _| async move {
        if number % 7 == 3 { Outcome::TimedOut { after: Duration::ZERO } } else { OK }
    });
    let budget = 15 << 20;
    let settings = EngineSettings { pollers: 12, arena_budget_bytes: budget, ..settings() };
    let engine = start_with(settings, &log, &VALUE, &invoker, None);
    until("all is committed", || all_committed(&log));
    drop(engine);
    assert_complete_in_order(&audit(&invoker.delivered()).0, 12, 120);
}

/// Keeps when batches were sealed and answered.
#[derive(Default)]
struct Times(Mutex<Vec<(Nanos, Nanos, u32)>>);

impl Observer for Times {
    fn on_delivered(&self, trace: &BatchTrace<'_>) {
        let times = (trace.batch.sealed_at(), trace.done_at, trace.batch.records());
        self.0.lock().expect("times").push(times);
    }
    fn on_committed(&self, _: Partition, _: Offset, _: Nanos) {}
}

#[test]
fn the_next_batch_is_full_and_encoded_when_the_answer_comes() {
    let log = log(1, 2_000);
    let invoker = Scripted::new(|_, _| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        OK
    });
    let times = Arc::new(Times::default());
    let observer: Arc<dyn Observer> = Arc::clone(&times) as _;
    let engine = start_with(settings(), &log, b"value", &invoker, Some(&observer));
    until("all is committed", || all_committed(&log));
    drop(engine);
    let times = times.0.lock().expect("times");
    assert_eq!(times.len(), 20);
    for pair in times.windows(2) {
        assert!(pair[1].0 < pair[0].1, "sealed only after the answer to the one before");
        assert_eq!(pair[1].2, 100);
    }
}

#[test]
fn a_drain_delivers_what_is_open_and_commits_it() {
    let log = log(1, 10);
    let invoker = Scripted::new(|_, _| async { OK });
    let settings = EngineSettings {
        limits: BatchLimits { window: Duration::from_secs(300), ..settings().limits },
        ..settings()
    };
    let engine = start(settings, &log, &invoker);
    until("all is read", || log.lock().expect("log").read[0] == 10);
    engine.drain();
    assert!(engine.join().fatal.is_none());
    assert_eq!(log.lock().expect("log").committed, [10]);
    assert_eq!(invoker.delivered().len(), 10);
}

#[test]
fn a_drain_ends_at_its_deadline_though_the_function_never_answers() {
    let log = log(1, 10);
    let invoker = Scripted::new(|_, _| std::future::pending());
    let settings = EngineSettings { drain_deadline: Duration::from_millis(50), ..settings() };
    let engine = start(settings, &log, &invoker);
    until("the invocation runs", || invoker.in_flight.load(Ordering::SeqCst) == 1);
    engine.drain();
    let counters = Arc::clone(engine.counters());
    assert!(engine.join().fatal.is_none());
    assert_eq!(log.lock().expect("log").commits, []);
    assert_eq!(counters.totals().records(Count::Delivered), 0, "what was not answered is not delivered");
}

fn filtered(pattern: &str) -> EngineSettings {
    let filters = Filters::parse(&[pattern]).expect("a pattern");
    EngineSettings { filters: Some(Arc::new(filters)), ..settings() }
}

/// Offsets 10 to 19, 50 to 299, 301 and 777.
const SOME: &str =
    r#"{"offset":[{"numeric":[">=",10,"<",20]},{"numeric":[">=",50,"<",300]},{"numeric":["=",301]},777]}"#;

fn is_some(offset: i64) -> bool {
    (10..20).contains(&offset) || (50..300).contains(&offset) || offset == 301 || offset == 777
}

/// What was filtered out, per partition.
#[derive(Default)]
struct Filtered(Mutex<BTreeMap<i32, Vec<i64>>>);

impl Observer for Filtered {
    fn on_delivered(&self, _: &BatchTrace<'_>) {}
    fn on_committed(&self, _: Partition, _: Offset, _: Nanos) {}
    fn on_filtered(&self, partition: Partition, first: Offset, last: Offset) {
        self.0.lock().expect("filtered").entry(partition.0).or_default().extend(first.0..=last.0);
    }
}

#[test]
fn what_is_filtered_out_is_committed_and_never_delivered() {
    let log = log(3, 1_000);
    let invoker = Scripted::new(|number, _| async move {
        if number % 3 == 1 { Outcome::Unreachable { reason: "scripted".into() } } else { OK }
    });
    let told = Arc::new(Filtered::default());
    let observer: Arc<dyn Observer> = Arc::clone(&told) as _;
    let engine = start_with(filtered(SOME), &log, b"value", &invoker, Some(&observer));
    until("all is committed", || all_committed(&log));
    engine.drain();
    let counters = Arc::clone(engine.counters());
    assert!(engine.join().fatal.is_none());
    let wanted: Vec<i64> = (0..1_000).filter(|offset| is_some(*offset)).collect();
    let (first, _) = audit(&invoker.delivered());
    assert_eq!(first.len(), 3);
    assert!(first.values().all(|offsets| *offsets == wanted), "delivered in order, and nothing else");
    let others: Vec<i64> = (0..1_000).filter(|offset| !is_some(*offset)).collect();
    assert!(told.0.lock().expect("filtered").values().all(|offsets| *offsets == others));
    let totals = counters.totals();
    assert_eq!(totals.records(Count::Polled), 3_000);
    assert_eq!(totals.records(Count::Filtered), 3 * others.len() as u64);
    assert_eq!(totals.records(Count::Delivered), 3 * wanted.len() as u64);
    assert_eq!(totals.records(Count::Committed), 3_000);
}

#[test]
fn a_batch_counts_the_records_that_are_left() {
    let log = log(1, 1_000);
    let invoker = Scripted::new(|_, _| async { OK });
    let settings = filtered(SOME);
    let limits = BatchLimits { window: Duration::from_secs(300), ..settings.limits };
    let engine = start(EngineSettings { limits, ..settings }, &log, &invoker);
    until("all is read", || log.lock().expect("log").read[0] == 1_000);
    engine.drain();
    assert!(engine.join().fatal.is_none());
    let sizes: Vec<usize> = invoker.calls.lock().expect("calls").iter().map(Vec::len).collect();
    assert_eq!(sizes, [100, 100, 62]);
}

#[test]
fn where_nothing_is_left_the_offsets_are_committed_without_an_invocation() {
    let log = log(2, 5_000);
    let invoker = Scripted::new(|_, _| async { OK });
    let engine = start(filtered(r#"{"value":["another value"]}"#), &log, &invoker);
    until("all is committed", || all_committed(&log));
    let counters = Arc::clone(engine.counters());
    drop(engine);
    assert!(invoker.calls.lock().expect("calls").is_empty());
    assert_eq!(counters.totals().records(Count::Filtered), 10_000);
    assert_eq!(counters.totals().records(Count::Invoked), 0);
}

#[test]
fn what_is_filtered_out_behind_an_undelivered_record_waits_for_it() {
    let log = log(1, 1_000);
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let invoker = Scripted::new(move |_, _| {
        let gate = Arc::clone(&gate);
        async move {
            if gate.load(Ordering::SeqCst) { OK } else { Outcome::Unreachable { reason: "held".into() } }
        }
    });
    let engine = start(filtered(r#"{"offset":[7]}"#), &log, &invoker);
    until("all is read", || log.lock().expect("log").read[0] == 1_000);
    until("what lies before it is committed", || log.lock().expect("log").committed[0] == 7);
    open.store(true, Ordering::SeqCst);
    until("all is committed", || all_committed(&log));
    drop(engine);
    assert!(invoker.delivered().iter().all(|record| *record == (0, 7)));
}

#[test]
fn a_partition_that_comes_back_is_filtered_as_before() {
    let log = log(4, 2_000);
    let invoker = Scripted::new(|number, _| async move {
        if number % 5 == 4 { Outcome::Unreachable { reason: "scripted".into() } } else { OK }
    });
    // Verdicts change often, and pending records are thrown away between them.
    let tests: Vec<String> =
        (0..100).map(|n| format!("{{\"numeric\":[\">=\",{},\"<\",{}]}}", n * 20, n * 20 + 7)).collect();
    let engine = start(filtered(&format!("{{\"offset\":[{}]}}", tests.join(","))), &log, &invoker);
    for round in 0..20 {
        let partition = Partition(round % 4);
        let before = log.lock().expect("log").released.len();
        let lost = round % 3 == 2;
        log.lock().expect("log").events.push_back(SourceEvent::Revoked { partitions: vec![partition], lost });
        until("it is let go", || log.lock().expect("log").released.len() > before);
        log.lock().expect("log").events.push_back(SourceEvent::Assigned(vec![partition]));
    }
    until("all is committed", || all_committed(&log));
    drop(engine);
    let (first, _) = audit(&invoker.delivered());
    let wanted: Vec<i64> = (0..2_000).filter(|offset| offset % 20 < 7).collect();
    assert!(first.len() == 4 && first.values().all(|offsets| *offsets == wanted));
}
