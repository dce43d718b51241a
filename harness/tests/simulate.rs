//! The engine in virtual time: it holds on fixed seeds and on fresh ones, and the checker can fail.

use pelton_harness::simulate::{Random, Scenario, Tally, Tamper, run, run_with, trace_of};

/// Seeds that are run each time, so that a change shows before it lands.
const FIXED_SEEDS: u64 = 300;
/// Seeds that nobody has run before.
const FRESH_SEEDS: u64 = 300;

fn hold(first: u64, seeds: u64) -> Tally {
    let mut tally = Tally::default();
    for number in 0..seeds {
        match run(first.wrapping_add(number)) {
            Ok(one) => tally.add(&one),
            Err(found) => panic!("{}", pelton_harness::report::simulate::failure(&found)),
        }
    }
    tally
}

#[test]
fn every_invariant_holds_on_the_fixed_seeds_and_they_reach_every_fault() {
    let tally = hold(1, FIXED_SEEDS);
    let all = [
        ("crash", &tally.faults),
        ("stop", &tally.faults),
        ("expired_session", &tally.faults),
        ("stall", &tally.faults),
        ("rebalance", &tally.faults),
        ("clock_jump", &tally.faults),
        ("retention", &tally.faults),
        ("compaction", &tally.faults),
        ("function_outage", &tally.faults),
        ("broker_outage", &tally.faults),
        ("fatal_error", &tally.faults),
        ("assignment_refused", &tally.faults),
        ("move_refused", &tally.faults),
        ("destination_failed", &tally.faults),
        ("commit_refused", &tally.faults),
        ("commit_not_sent", &tally.faults),
        ("commit_answer_lost", &tally.faults),
        ("commit_answer_late", &tally.faults),
        ("commit_slow", &tally.faults),
        ("commit_during_rebalance", &tally.faults),
        ("metadata_too_long", &tally.faults),
        ("bytes_held", &tally.faults),
        ("success", &tally.invocations),
        ("partial", &tally.invocations),
        ("bad_response", &tally.invocations),
        ("function_error", &tally.invocations),
        ("throttled", &tally.invocations),
        ("refused", &tally.invocations),
        ("service_fault", &tally.invocations),
        ("unreachable", &tally.invocations),
        ("timed_out", &tally.invocations),
        ("failed_attempt", &tally.duplicates),
        ("reported_failed", &tally.duplicates),
        ("crash", &tally.duplicates),
        ("lost_partition", &tally.duplicates),
        ("moved_undone", &tally.duplicates),
        ("done_behind_undone", &tally.duplicates),
        ("count", &tally.batches),
        ("window", &tally.batches),
        ("bytes", &tally.batches),
        ("memory", &tally.batches),
        ("drain", &tally.batches),
    ];
    for (kind, counts) in all {
        assert!(counts.get(kind).is_some_and(|count| *count > 0), "{kind} never happened: {counts:?}");
    }
    assert!(tally.kept > 0 && tally.dropped > 0 && tally.resumed > 0 && tally.moves > 0, "{tally:?}");
}

#[test]
fn every_invariant_holds_on_fresh_seeds() {
    let first = Random::new(pelton::time::wall_ms().cast_unsigned()).bits();
    println!("pelton-harness simulate --from {first:#018x} --seeds {FRESH_SEEDS}");
    hold(first, FRESH_SEEDS);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 1..40 {
        let scenario = Scenario::draw(seed);
        assert_eq!(trace_of(&scenario, None), trace_of(&scenario, None), "seed {seed}");
    }
}

#[test]
fn what_is_broken_on_purpose_is_caught() {
    let expected = [
        (Tamper::LoseRecord, &["nothing is lost", "a commit never passes an undone record"][..]),
        (Tamper::FalseSuccess, &["a commit never passes an undone record", "order per partition"]),
        (Tamper::CommitAhead, &["a commit never passes an undone record"]),
        (Tamper::FalseKeeping, &["nothing is lost", "a commit never passes an undone record"]),
        (Tamper::ReadAgain, &["every duplicate is explained"]),
        (Tamper::MoveAhead, &["nothing is lost", "a commit never passes an undone record"]),
        (
            // The engine stops, or takes it for a log that was cut back.
            Tamper::Reorder,
            &[
                "the engine does not panic",
                "order per partition",
                "a commit never passes an undone record",
                "nothing is lost",
            ],
        ),
        (Tamper::OtherBytes, &["events say what was produced", "what is filtered out is not delivered"]),
        (Tamper::LoseAnswer, &["everything ends once the faults end"]),
    ];
    assert_eq!(expected.len(), Tamper::ALL.len());
    for (tamper, rules) in expected {
        let (mut caught, mut missed) = (0, 0);
        for seed in 0..60 {
            match run_with(&Scenario::draw(seed), Some(tamper)) {
                Ok(tally) => missed += tally.faults.get("tampered").copied().unwrap_or(0),
                Err(found) => {
                    assert!(
                        rules.contains(&found.violation.rule),
                        "{tamper:?}, seed {seed}: {}",
                        found.violation
                    );
                    caught += 1;
                }
            }
        }
        println!("{tamper:?}: caught {caught}, missed {missed}");
        // A crash or a rebalance may undo the damage before it shows; most of the time none does.
        assert!(caught > missed, "{tamper:?}: caught {caught}, missed {missed}");
    }
}
