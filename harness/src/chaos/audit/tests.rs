use super::*;

fn audit(give_up: Option<u8>) -> Audit {
    let mut audit = Audit::new(Terms { name: "test", function_timeout_ms: 1_000, give_up });
    audit.on_start(0, 0);
    audit.on_start(1, 0);
    audit
}

fn deliver(audit: &mut Audit, engine: u16, offsets: std::ops::Range<u64>, said: Said<'_>, now_ms: u64) {
    let ticket = audit.begin(engine, vec![(0, offsets.collect())], now_ms);
    audit.finish(&ticket, said, now_ms + 1);
}

fn verdict(audit: &Audit, end: u64) -> MappingVerdict {
    audit.verdict(&[end], &[], 0)
}

#[test]
fn a_faultless_run_is_clean_and_a_retry_is_explained() {
    let mut audit = audit(None);
    deliver(&mut audit, 0, 0..10, Said::Done, 10);
    deliver(&mut audit, 0, 10..20, Said::Failed, 20);
    deliver(&mut audit, 0, 10..20, Said::Done, 30);
    audit.on_committed(0, 20, 40);
    let verdict = verdict(&audit, 20);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!((verdict.done, verdict.deliveries), (20, 30));
    assert_eq!(verdict.again, [("retry after a failed answer".to_owned(), 10)].into());
}

#[test]
fn what_was_never_taken_is_lost_and_a_letter_accounts_for_it() {
    let mut audit = audit(Some(2));
    deliver(&mut audit, 0, 0..4, Said::Partly(&[(0, 2)]), 10);
    deliver(&mut audit, 0, 2..3, Said::Failed, 20);
    deliver(&mut audit, 0, 4..6, Said::Done, 30);
    audit.on_committed(0, 6, 40);
    let without = audit.verdict(&[7], &[], 50);
    assert_eq!((without.lost, without.order_violations), (2, 0), "{without:?}");
    let with = audit.verdict(&[6], &[(0, 2), (0, 2), (0, 3), (0, 9)], 50);
    assert_eq!((with.lost, with.dead_lettered, with.dead_lettered_again), (0, 2, 1));
    assert_eq!((with.dead_lettered_and_done, with.foreign), (1, 1));
}

#[test]
fn passing_a_record_that_is_not_done_is_a_violation() {
    for give_up in [None, Some(2)] {
        let mut audit = audit(give_up);
        deliver(&mut audit, 0, 0..10, Said::Failed, 10);
        deliver(&mut audit, 0, 10..12, Said::Done, 20);
        assert_eq!(verdict(&audit, 12).order_violations, 1);
    }
    let mut skipping = audit(None);
    deliver(&mut skipping, 0, 3..5, Said::Done, 10);
    assert_eq!(verdict(&skipping, 5).order_violations, 1);
}

#[test]
fn a_record_that_comes_again_without_a_reason_is_found() {
    let mut audit = audit(None);
    deliver(&mut audit, 0, 0..10, Said::Done, 10);
    deliver(&mut audit, 0, 9..10, Said::Done, 20);
    let verdict = verdict(&audit, 10);
    assert_eq!((verdict.unexplained, verdict.is_clean()), (1, false));
    assert_eq!(verdict.findings[0].offset, Some(9));
}

#[test]
fn a_kill_explains_what_was_in_flight_and_what_was_not_committed_and_nothing_else() {
    let mut audit = audit(None);
    deliver(&mut audit, 0, 0..10, Said::Done, 10);
    audit.on_committed(0, 4, 15);
    let orphan = audit.begin(0, vec![(0, (10..13).collect())], 20);
    audit.on_kill(0, 30);
    audit.finish(&orphan, Said::Done, 40);
    deliver(&mut audit, 1, 4..13, Said::Done, 50);
    let clean = verdict(&audit, 13);
    assert!(clean.is_clean(), "{clean:?}");
    let kill = &clean.kills[0];
    assert_eq!((kill.in_flight, kill.since_commit), (3, 6));
    assert_eq!((kill.again_in_flight, kill.again_since_commit), (3, 6));
    deliver(&mut audit, 1, 3..4, Said::Done, 60);
    assert_eq!(verdict(&audit, 13).unexplained, 1, "3 was committed before");
}

#[test]
fn one_who_was_frozen_may_repeat_what_others_have_committed_only_until_it_has_settled() {
    let mut audit = audit(None);
    deliver(&mut audit, 0, 0..10, Said::Failed, 10);
    audit.on_freeze(0, true, 20);
    deliver(&mut audit, 1, 0..10, Said::Done, 8_000);
    audit.on_committed(0, 10, 8_500);
    audit.on_freeze(0, false, 9_000);
    deliver(&mut audit, 0, 0..10, Said::Done, 9_001);
    assert!(verdict(&audit, 10).is_clean());
    deliver(&mut audit, 0, 0..1, Said::Done, 9_001 + causes::SETTLE_MS);
    assert_eq!(verdict(&audit, 10).unexplained, 1);
}

#[test]
fn commits_that_pass_what_is_not_done_or_go_back_are_found() {
    let mut audit = audit(None);
    deliver(&mut audit, 0, 0..10, Said::Done, 10);
    audit.on_committed(0, 8, 20);
    audit.on_committed(0, 7, 30);
    audit.on_committed(0, 11, 40);
    assert_eq!(verdict(&audit, 11).commits_wrong, 2);
}

#[test]
fn an_answer_that_could_not_be_sent_is_no_success() {
    let mut audit = audit(None);
    let ticket = audit.begin(0, vec![(0, vec![0, 1])], 10);
    audit.finish(&ticket, Said::Done, 20);
    audit.unsay(&ticket, 21);
    assert_eq!(verdict(&audit, 2).lost, 2);
    deliver(&mut audit, 0, 0..2, Said::Done, 30);
    assert!(verdict(&audit, 2).is_clean());
}

#[test]
fn offsets_that_nobody_produced_are_foreign() {
    let mut audit = audit(None);
    deliver(&mut audit, 0, 0..10, Said::Done, 10);
    assert_eq!(verdict(&audit, 8).foreign, 2);
}
