//! Any schedule of faults.

use proptest::prelude::*;

use super::*;

/// How one attempt ends in a random schedule.
#[derive(Clone, Debug)]
enum Fate {
    Success,
    Report(Vec<u8>),
    Garbage,
    Error,
    TimedOut,
    Throttled,
    Unreachable,
    /// And the wall clock jumps to so many seconds.
    Jump(u8),
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let one = prop_oneof![
        2 => Just(Fate::Success),
        2 => proptest::collection::vec(any::<u8>(), 0..6).prop_map(Fate::Report),
        1 => Just(Fate::Garbage),
        3 => Just(Fate::Error),
        1 => Just(Fate::TimedOut),
        1 => Just(Fate::Throttled),
        1 => Just(Fate::Unreachable),
        1 => any::<u8>().prop_map(Fate::Jump),
    ];
    proptest::collection::vec(one, 0..60)
}

fn rules() -> impl Strategy<Value = FailureRules> {
    (
        proptest::option::of(0_u32..4),
        proptest::option::of((0_u64..200).prop_map(Duration::from_secs)),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(retries_max, record_age_max, bisect, report_item_failures)| FailureRules {
            retries_max,
            record_age_max,
            bisect,
            report_item_failures,
        })
}

proptest! {
    /// Whatever happens: every record is done exactly once, none is sent after it is done, none
    /// overtakes an earlier one that is not done, and once the faults end so does the batch.
    #[test]
    fn every_record_is_done_once_and_in_order(
        rules in rules(),
        records in 1_u32..40,
        fates in fates(),
        seed in any::<u64>(),
    ) {
        let mut batch = Batch::new(rules, records);
        batch.delivery = Delivery::new(rules, RetryPolicy::default(), records, seed);
        let mut fates = fates.into_iter();
        let mut invocations = vec![0_u32; records as usize];
        let mut steps = 0;
        loop {
            steps += 1;
            prop_assert!(steps < 60 + 4 * records, "it does not end");
            let next = batch.next();
            let part = batch.part();
            prop_assert!(next == Next::Done || part.iter().all(|at| !batch.done.contains(at)));
            match next {
                Next::Invoke => {
                    let earliest = (0..records).find(|at| !batch.done.contains(at));
                    prop_assert_eq!(earliest, part.first().copied(), "overtaken");
                    let fate = fates.next().unwrap_or(Fate::Success);
                    let outcome = match &fate {
                        Fate::Success => success(),
                        Fate::Report(which) => {
                            let offsets: Vec<u32> =
                                which.iter().map(|at| part[usize::from(*at) % part.len()]).collect();
                            reported(&offsets)
                        }
                        Fate::Garbage => response("{\"batchItemFailures\":[{}]}"),
                        Fate::Error => function_error(),
                        Fate::TimedOut => Outcome::TimedOut { after: MS(1) },
                        Fate::Throttled => throttled(Some(MS(5))),
                        Fate::Unreachable => unreachable(),
                        Fate::Jump(seconds) => {
                            batch.now_ms = i64::from(*seconds) * 1_000;
                            unreachable()
                        }
                    };
                    let reached = outcome.reached_function();
                    part.iter().for_each(|at| invocations[*at as usize] += u32::from(reached));
                    batch.answer(&outcome);
                }
                Next::GiveUp => {
                    let why = batch.delivery.given_up().expect("a reason");
                    let tried = batch.delivery.part().invocations();
                    prop_assert!(part.iter().all(|at| invocations[*at as usize] == tried));
                    match (why, rules.retries_max) {
                        (GivenUp::RetriesExhausted { .. }, Some(most)) => prop_assert!(tried > most),
                        (GivenUp::RetriesExhausted { .. }, None) => prop_assert!(false, "for ever is for ever"),
                        (GivenUp::RecordAgeExceeded, _) => prop_assert!(rules.record_age_max.is_some()),
                        (GivenUp::PayloadSizeExceeded, _) => prop_assert!(false, "none is too large"),
                    }
                    if matches!(fates.next(), Some(Fate::Error | Fate::TimedOut)) {
                        batch.delivery.on_destination_failed(batch.now);
                    } else {
                        batch.taken();
                    }
                }
                Next::Done => break,
                Next::Wait { .. } => prop_assert!(false, "waited for already"),
            }
        }
        batch.done.sort_unstable();
        prop_assert_eq!(batch.done, (0..records).collect::<Vec<_>>());
    }
}
