//! A batch among failures.

mod parts;
mod schedules;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::ids::Offset;
use crate::time::Nanos;

const NOW: Nanos = Nanos(1_000_000_000);
const MS: fn(u64) -> Duration = Duration::from_millis;

fn success() -> Outcome {
    Outcome::Success { response_bytes: 0, response: Bytes::new() }
}

fn response(text: &str) -> Outcome {
    Outcome::Success { response_bytes: text.len(), response: Bytes::copy_from_slice(text.as_bytes()) }
}

/// The function reports these offsets.
fn reported(offsets: &[u32]) -> Outcome {
    let items: Vec<_> = offsets
        .iter()
        .map(|offset| format!(r#"{{"itemIdentifier":{{"partition":"t-0","offset":{offset}}}}}"#))
        .collect();
    response(&format!(r#"{{"batchItemFailures":[{}]}}"#, items.join(",")))
}

fn function_error() -> Outcome {
    Outcome::FunctionError { kind: FunctionErrorKind::Unhandled, error_type: None, message: None }
}

fn throttled(retry_after: Option<Duration>) -> Outcome {
    Outcome::Throttled { retry_after, reason: None }
}

fn unreachable() -> Outcome {
    Outcome::Unreachable { reason: "connection refused".into() }
}

/// A batch of one partition, whose records lie at offsets equal to their positions and are 0 ms
/// old at 0 ms.
struct Batch {
    delivery: Delivery,
    records: u32,
    now: Nanos,
    now_ms: i64,
    done: Vec<u32>,
    /// The records of each invocation.
    invoked: Vec<Vec<u32>>,
    /// What was given up, and why.
    given_up: Vec<(Vec<u32>, GivenUp)>,
}

impl Batch {
    fn new(rules: FailureRules, records: u32) -> Self {
        Self {
            delivery: Delivery::new(rules, RetryPolicy::default(), records, 1),
            records,
            now: NOW,
            now_ms: 0,
            done: Vec::new(),
            invoked: Vec::new(),
            given_up: Vec::new(),
        }
    }

    fn part(&self) -> Vec<u32> {
        self.delivery.part().records().ranges().flatten().collect()
    }

    /// Waits if that is asked for, and begins what comes next.
    fn next(&mut self) -> Next {
        let next = match self.delivery.next(self.now, self.now_ms, |_| 0) {
            Next::Wait { until } => {
                assert!(self.now < until && until < Nanos::NEVER, "waits for nothing");
                self.now = until;
                self.delivery.next(self.now, self.now_ms, |_| 0)
            }
            next => next,
        };
        match next {
            Next::Invoke => self.invoked.push(self.part()),
            Next::GiveUp => {
                let why = self.delivery.given_up().expect("a reason").clone();
                self.given_up.push((self.part(), why));
            }
            Next::Done | Next::Wait { .. } => {}
        }
        next
    }

    fn settle(&mut self, done: &Records) {
        self.done.extend(done.ranges().flatten());
    }

    fn answer(&mut self, outcome: &Outcome) -> (Verdict, Step) {
        let mut done = Records::default();
        let records = self.records;
        let find = |key: &str, offset: Offset| {
            (key == "t-0").then(|| u32::try_from(offset.0).ok()).flatten().filter(|at| *at < records)
        };
        let answer = self.delivery.on_outcome(outcome, self.now, find, &mut done);
        self.settle(&done);
        answer
    }

    /// One attempt.
    fn attempt(&mut self, outcome: &Outcome) -> (Verdict, Step) {
        assert_eq!(self.next(), Next::Invoke);
        self.answer(outcome)
    }

    fn taken(&mut self) -> Step {
        let mut done = Records::default();
        let step = self.delivery.on_given_up(&mut done);
        self.settle(&done);
        step
    }

    /// To the end, with a function that fails whenever one of `poisoned` is among the records.
    fn run_poisoned(&mut self, poisoned: &[u32]) {
        loop {
            match self.next() {
                Next::Invoke if self.part().iter().any(|at| poisoned.contains(at)) => {
                    self.answer(&function_error());
                }
                Next::Invoke => {
                    self.answer(&success());
                }
                Next::GiveUp => {
                    self.taken();
                }
                Next::Done => return,
                Next::Wait { .. } => unreachable!("waited for already"),
            }
        }
    }
}

fn wait(batch: &Batch, step: Step) -> Duration {
    step.at().expect("a wait") - batch.now
}

const FOR_EVER: FailureRules =
    FailureRules { retries_max: None, record_age_max: None, bisect: false, report_item_failures: false };

const fn retries(most: u32) -> FailureRules {
    FailureRules { retries_max: Some(most), ..FOR_EVER }
}

const BISECT: FailureRules = FailureRules { bisect: true, ..retries(0) };
const REPORTING: FailureRules = FailureRules { report_item_failures: true, ..FOR_EVER };

#[test]
fn a_success_ends_the_delivery() {
    let mut batch = Batch::new(FOR_EVER, 3);
    assert_eq!(batch.attempt(&success()), (Verdict::Delivered, Step::Done));
    assert_eq!((batch.next(), &batch.done[..]), (Next::Done, &[0, 1, 2][..]));
    assert_eq!((batch.delivery.attempts(), batch.delivery.attempts_used()), (1, 1));
}

#[test]
fn a_batch_is_retried_whole_until_it_succeeds() {
    let mut batch = Batch::new(FOR_EVER, 3);
    let timed_out = Outcome::TimedOut { after: Duration::from_secs(60) };
    for _ in 0..10_000 {
        let (verdict, step) = batch.attempt(&timed_out);
        assert_eq!(verdict, Verdict::Failed);
        assert!(wait(&batch, step) >= MS(250));
    }
    assert_eq!(batch.attempt(&success()).1, Step::Done);
    assert_eq!(batch.delivery.attempts(), 10_001);
    assert!(batch.invoked.iter().all(|records| records == &[0, 1, 2]));
}

#[test]
fn what_did_not_reach_the_function_waits_and_uses_nothing_up() {
    let mut batch = Batch::new(FailureRules { bisect: true, ..retries(0) }, 4);
    let refused = Outcome::Refused { status: 403, code: None, message: None };
    let fault = Outcome::ServiceFault { status: 500, code: None, message: None };
    for outcome in [throttled(None), refused, fault, unreachable()] {
        assert_eq!(batch.attempt(&outcome).0, Verdict::NotReached);
    }
    assert_eq!((batch.delivery.attempts_used(), batch.delivery.attempts_apart()), (0, 4));
    assert_eq!(batch.delivery.part().invocations(), 0);
    assert_eq!(batch.attempt(&success()), (Verdict::Delivered, Step::Done));
    assert!(batch.invoked.iter().all(|records| records.len() == 4), "nothing was split");
}

#[test]
fn all_failures_move_along_one_curve() {
    let mut batch = Batch::new(FOR_EVER, 1);
    batch.attempt(&throttled(None));
    batch.attempt(&Outcome::TimedOut { after: Duration::from_secs(1) });
    let (_, step) = batch.attempt(&unreachable());
    let third = wait(&batch, step);
    assert!(MS(1_000) <= third && third <= MS(2_000), "{third:?}");
}

#[test]
fn a_throttle_waits_as_long_as_it_was_told() {
    let mut batch = Batch::new(FOR_EVER, 1);
    let asked = Duration::from_secs(20);
    let (_, step) = batch.attempt(&throttled(Some(asked)));
    assert!(wait(&batch, step) >= asked);
}

#[test]
fn n_retries_are_n_plus_one_attempts_and_then_the_batch_is_given_up() {
    let mut batch = Batch::new(retries(2), 2);
    for _ in 0..2 {
        assert!(matches!(batch.attempt(&function_error()).1, Step::Retry { .. }));
    }
    batch.attempt(&throttled(None));
    assert_eq!(batch.attempt(&function_error()).1, Step::GiveUp);
    assert_eq!(batch.next(), Next::GiveUp);
    assert_eq!(batch.delivery.part().invocations(), 3);
    assert_eq!(batch.done, [] as [u32; 0], "not done before somebody has them");
    assert_eq!(batch.taken(), Step::Done);
    let why = GivenUp::RetriesExhausted { status_code: 200, function_error: Some("Unhandled".into()) };
    assert_eq!((batch.done, batch.given_up), (vec![0, 1], vec![(vec![0, 1], why)]));
}

#[test]
fn a_destination_that_fails_is_told_again_for_ever_and_nothing_is_done_before() {
    let mut batch = Batch::new(retries(0), 2);
    batch.attempt(&function_error());
    for _ in 0..100 {
        assert_eq!(batch.next(), Next::GiveUp);
        let step = batch.delivery.on_destination_failed(batch.now);
        assert!(wait(&batch, step) >= MS(250));
        assert!(batch.done.is_empty() && !batch.delivery.is_under_way());
    }
    assert_eq!(batch.next(), Next::GiveUp);
    assert_eq!(batch.taken(), Step::Done);
    assert_eq!(batch.done, [0, 1]);
}

#[test]
fn old_records_are_given_up_before_each_attempt() {
    let rules = FailureRules { record_age_max: Some(Duration::from_secs(60)), ..FOR_EVER };
    let mut delivery = Delivery::new(rules, RetryPolicy::default(), 3, 1);
    // Record 1 is the oldest.
    let timestamp_ms = |position| [5_000, 1_000, 9_000][position as usize];
    let mut done = Records::default();
    assert_eq!(delivery.next(NOW, 61_000, timestamp_ms), Next::Invoke, "60 s old is not too old");
    let (_, step) = delivery.on_outcome(&function_error(), NOW, |_, _| None, &mut done);
    let later = step.at().expect("a wait");
    assert_eq!(delivery.next(later, 61_001, timestamp_ms), Next::GiveUp);
    assert_eq!(delivery.given_up(), Some(&GivenUp::RecordAgeExceeded));
    assert_eq!(delivery.part().records(), &Records::of_positions([1]));
    assert_eq!(delivery.on_given_up(&mut done), Step::NextPart);
    done.clear();
    assert_eq!(delivery.next(later, 61_001, timestamp_ms), Next::Invoke);
    assert_eq!(delivery.part().records(), &Records::of_positions([0, 2]));
    let (_, step) = delivery.on_outcome(&unreachable(), later, |_, _| None, &mut done);
    assert_eq!(delivery.next(step.at().expect("a wait"), 1 << 40, timestamp_ms), Next::GiveUp);
    assert_eq!(delivery.on_given_up(&mut done), Step::Done);
}

#[test]
fn a_record_without_a_timestamp_has_no_age() {
    let rules = FailureRules { record_age_max: Some(Duration::from_secs(604_800)), ..FOR_EVER };
    let mut delivery = Delivery::new(rules, RetryPolicy::default(), 1, 1);
    assert_eq!(delivery.next(NOW, 1_700_000_000_000, |_| -1), Next::Invoke);
}

/// A record a second, a function that is throttled for ten minutes: what becomes too old meanwhile is
/// given up, and the function is left alone all the same.
#[test]
fn expiry_does_not_reset_the_backoff_of_a_function_that_is_down() {
    let rules = FailureRules { record_age_max: Some(Duration::from_secs(60)), ..FOR_EVER };
    let mut delivery = Delivery::new(rules, RetryPolicy::default(), 1_000, 1);
    let (mut now, mut invocations) = (NOW, 0);
    let mut done = Records::default();
    while now < NOW + Duration::from_secs(600) {
        let now_ms = i64::try_from((now - NOW).as_millis()).expect("minutes");
        match delivery.next(now, now_ms, |position| i64::from(position) * 1_000) {
            Next::Wait { until } => now = until,
            Next::Invoke => {
                invocations += 1;
                delivery.on_outcome(&throttled(None), now, |_, _| None, &mut done);
            }
            Next::GiveUp => {
                done.clear();
                delivery.on_given_up(&mut done);
            }
            Next::Done => break,
        }
    }
    assert!(invocations < 40, "{invocations} invocations");
}

#[test]
fn a_clock_that_is_behind_makes_nothing_old() {
    let rules = FailureRules { record_age_max: Some(Duration::ZERO), ..FOR_EVER };
    let mut delivery = Delivery::new(rules, RetryPolicy::default(), 1, 1);
    assert_eq!(delivery.next(NOW, i64::MIN, |_| i64::MAX), Next::Invoke);
}

#[test]
fn removed_records_are_not_sent_again() {
    let mut batch = Batch::new(BISECT, 8);
    batch.attempt(&function_error());
    batch.delivery.remove(&[2..4, 6..8].into_iter().collect());
    batch.attempt(&success());
    batch.attempt(&success());
    assert_eq!(batch.invoked[1..], [vec![0, 1], vec![4, 5]]);
    assert!(batch.delivery.is_done());

    let mut batch = Batch::new(BISECT, 4);
    batch.attempt(&function_error());
    batch.delivery.remove(&Records::all(2));
    batch.attempt(&success());
    assert_eq!(batch.invoked[1], [2, 3]);

    let mut batch = Batch::new(retries(0), 4);
    batch.attempt(&function_error());
    batch.delivery.remove(&Records::all(4));
    assert_eq!(batch.next(), Next::Done);
}

#[test]
fn a_record_that_no_event_can_hold_is_given_up_without_an_invocation() {
    let mut batch = Batch::new(FOR_EVER, 1);
    batch.delivery = Delivery::outsized(RetryPolicy::default(), 1);
    assert_eq!(batch.next(), Next::GiveUp);
    assert_eq!((batch.delivery.part().invocations(), batch.taken()), (0, Step::Done));
    assert_eq!(batch.given_up, [(vec![0], GivenUp::PayloadSizeExceeded)]);
}

#[test]
fn an_answer_after_the_end_changes_nothing() {
    let mut batch = Batch::new(FOR_EVER, 1);
    batch.attempt(&success());
    assert_eq!(batch.answer(&unreachable()).0, Verdict::Late);
    assert_eq!((batch.taken(), batch.delivery.attempts()), (Step::NextPart, 1));
}

#[test]
fn a_retry_at_the_end_of_time_does_not_overflow() {
    let mut batch = Batch::new(FOR_EVER, 1);
    batch.now = Nanos::NEVER;
    assert_eq!(batch.attempt(&unreachable()).1.at(), Some(Nanos::NEVER));
}
