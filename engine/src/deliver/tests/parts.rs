//! Parts of a batch: splits, and records that the function reports.

use super::*;
use crate::deliver::response::ResponseError;

#[test]
fn a_batch_is_split_until_the_poisoned_record_is_alone() {
    let mut batch = Batch::new(BISECT, 8);
    batch.run_poisoned(&[5]);
    let shown: Vec<&[u32]> = batch.invoked.iter().map(Vec::as_slice).collect();
    let all = [0, 1, 2, 3, 4, 5, 6, 7];
    assert_eq!(shown, [&all[..], &all[..4], &all[4..], &all[4..6], &[4], &[5], &[6, 7]]);
    assert_eq!(batch.given_up.len(), 1);
    assert_eq!(batch.given_up[0].0, [5]);
    assert_eq!(batch.done, all);
}

#[test]
fn finding_one_record_of_ten_thousand_takes_two_invocations_per_halving() {
    for poisoned in [0, 1, 4_999, 5_000, 7_777, 9_999] {
        let mut batch = Batch::new(BISECT, 10_000);
        batch.run_poisoned(&[poisoned]);
        assert!(batch.invoked.len() <= 2 * 14 + 1, "{} for record {poisoned}", batch.invoked.len());
        assert_eq!(batch.given_up.len(), 1);
        assert_eq!(batch.given_up[0].0, [poisoned]);
        let seconds = (batch.now - NOW).as_secs();
        assert!(seconds < 10, "{seconds} s: waits must not double with each split");
    }
}

#[test]
fn a_split_uses_up_no_retry() {
    let mut batch = Batch::new(FailureRules { bisect: true, ..retries(1) }, 2);
    assert!(matches!(batch.attempt(&function_error()).1, Step::Split { .. }));
    assert!(matches!(batch.attempt(&function_error()).1, Step::Retry { .. }));
    assert_eq!(batch.attempt(&function_error()).1, Step::GiveUp);
    assert_eq!(batch.next(), Next::GiveUp);
    assert_eq!(batch.given_up[0].0, [0]);
    assert_eq!(batch.delivery.part().invocations(), 3, "with record 1, and twice alone");
    assert_eq!(batch.taken(), Step::NextPart);
    assert_eq!(batch.attempt(&success()).1, Step::Done);
}

#[test]
fn only_what_is_reported_is_tried_again() {
    let mut batch = Batch::new(REPORTING, 6);
    let (verdict, step) = batch.attempt(&reported(&[4, 1]));
    assert_eq!(verdict, Verdict::Partial { failed: 2 });
    assert!(matches!(step, Step::Retry { .. }));
    assert_eq!(batch.done, [0, 2, 3, 5]);
    assert_eq!(batch.attempt(&response(r#"{"batchItemFailures":[]}"#)).1, Step::Done);
    assert_eq!(batch.invoked[1], [1, 4]);
    assert_eq!(batch.done, [0, 2, 3, 5, 1, 4]);
}

#[test]
fn a_record_of_the_batch_that_was_not_in_the_event_fails_the_whole_event() {
    let mut batch = Batch::new(REPORTING, 4);
    batch.attempt(&reported(&[1, 2]));
    let (verdict, _) = batch.attempt(&reported(&[3]));
    assert!(matches!(verdict, Verdict::BadResponse(ResponseError::NotInEvent { .. })), "{verdict:?}");
    batch.attempt(&success());
    assert_eq!(batch.invoked[1..], [vec![1, 2], vec![1, 2]]);
}

#[test]
fn a_response_that_cannot_be_followed_fails_all_and_splits() {
    let mut batch = Batch::new(FailureRules { bisect: true, ..REPORTING }, 2);
    let (verdict, step) = batch.attempt(&response(r#"{"batchItemFailures":7}"#));
    assert_eq!(verdict, Verdict::BadResponse(ResponseError::NotAnArray));
    assert!(matches!(step, Step::Split { .. }));
}

#[test]
fn reported_records_are_not_split_even_if_they_are_all() {
    let mut batch = Batch::new(FailureRules { bisect: true, ..REPORTING }, 3);
    let (verdict, step) = batch.attempt(&reported(&[0, 1, 2]));
    assert_eq!(verdict, Verdict::Partial { failed: 3 });
    assert!(matches!(step, Step::Retry { .. }));
}

#[test]
fn records_reported_too_often_are_given_up_without_a_function_error() {
    let mut batch = Batch::new(FailureRules { retries_max: Some(1), ..REPORTING }, 3);
    batch.attempt(&reported(&[1]));
    assert_eq!(batch.attempt(&reported(&[1])).1, Step::GiveUp);
    assert_eq!(batch.next(), Next::GiveUp);
    let why = GivenUp::RetriesExhausted { status_code: 200, function_error: None };
    assert_eq!(batch.given_up, [(vec![1], why)]);
}

#[test]
fn a_response_that_was_not_kept_makes_nothing_done() {
    let mut batch = Batch::new(REPORTING, 3);
    let outcome = Outcome::Success { response_bytes: 57, response: Bytes::new() };
    assert_eq!(batch.attempt(&outcome).0, Verdict::BadResponse(ResponseError::NotKept));
    assert!(batch.done.is_empty());
}

#[test]
fn an_event_that_is_refused_as_too_large_is_split_and_uses_up_no_retry() {
    let mut batch = Batch::new(retries(0), 2);
    let too_large = Outcome::Refused { status: 413, code: None, message: None };
    assert!(matches!(batch.attempt(&too_large), (Verdict::NotReached, Step::Split { .. })));
    assert!(matches!(batch.attempt(&too_large), (Verdict::NotReached, Step::Retry { .. })));
    batch.attempt(&success());
    batch.attempt(&success());
    assert_eq!(batch.invoked, [vec![0, 1], vec![0], vec![0], vec![1]]);
}

#[test]
fn a_response_is_ignored_unless_it_was_asked_for() {
    let mut batch = Batch::new(FOR_EVER, 3);
    assert_eq!(batch.attempt(&reported(&[1])), (Verdict::Delivered, Step::Done));
}
