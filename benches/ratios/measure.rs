//! Times a row: every round takes all contestants in turn, in an order drawn anew, so that a noisy
//! neighbour disturbs all of them alike, and ratios are made within a round.

use super::result::{Counted, Made, Measured, Over, Spread, Timed};
use crate::contest::{Contestant, DerivedKind, Role, Row};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use std::time::{Duration, Instant};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// A sample repeats short work until it takes at least this long.
    pub sample: Duration,
    /// A row ends after this long, but not before `rounds_min` rounds.
    pub row: Duration,
    /// The fewest rounds.
    pub rounds_min: usize,
    /// The most rounds.
    pub rounds_max: usize,
}

impl Effort {
    /// A minute for the headline rows.
    pub const QUICK: Self = Self {
        sample: Duration::from_micros(100),
        row: Duration::from_millis(800),
        rounds_min: 7,
        rounds_max: 301,
    };
    /// For all rows.
    pub const FULL: Self = Self {
        sample: Duration::from_micros(200),
        row: Duration::from_millis(2500),
        rounds_min: 9,
        rounds_max: 501,
    };
    /// Each contestant once.
    pub const ONCE: Self = Self { sample: Duration::ZERO, row: Duration::ZERO, rounds_min: 1, rounds_max: 1 };
}

/// Runs a row's contestants.
///
/// # Panics
/// If a derived number names a contestant that the row does not have.
#[must_use]
pub fn measure(mut row: Row<'_>, effort: Effort) -> Measured {
    let repeats: Vec<u32> =
        row.contestants.iter_mut().map(|contestant| repeats(contestant, effort.sample)).collect();
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); row.contestants.len()];
    let mut order: Vec<usize> = (0..row.contestants.len()).collect();
    let mut rng = SmallRng::seed_from_u64(11);
    let mut spent = Duration::ZERO;
    let mut rounds = 0;
    while rounds < effort.rounds_min || (spent < effort.row && rounds < effort.rounds_max) {
        order.shuffle(&mut rng);
        for &at in &order {
            let contestant = &mut row.contestants[at];
            if row.hot {
                (contestant.run)();
            }
            let took = time(contestant, repeats[at]);
            spent += took;
            samples[at].push(took.as_nanos() as f64 / (f64::from(repeats[at]) * contestant.units));
        }
        rounds += 1;
    }
    let derived = row
        .derived
        .iter()
        .map(|derived| {
            let (of, against) = (position(&row, &derived.of), position(&row, &derived.against));
            let pairs = samples[of].iter().zip(&samples[against]);
            let (unit, value) = match derived.kind {
                DerivedKind::Difference => ("ns", Spread::of(pairs.map(|(of, against)| of - against))),
                DerivedKind::Ratio => ("x", Spread::of(pairs.map(|(of, against)| of / against))),
            };
            Made { name: derived.name.clone(), unit, value }
        })
        .collect();
    Measured {
        rounds,
        contestants: (0..samples.len()).map(|at| timed(&row, &samples, at)).collect(),
        derived,
        counted: row
            .counted
            .iter()
            .map(|(name, count)| Counted { name: name.clone(), count: *count })
            .collect(),
        group: row.group,
        case: row.case,
        unit: row.unit,
    }
}

fn position(row: &Row<'_>, full_name: &str) -> usize {
    let named = |contestant: &Contestant<'_>| format!("{}/{}", contestant.role, contestant.name) == full_name;
    row.contestants.iter().position(named).expect("a derived number names contestants of its row")
}

fn timed(row: &Row<'_>, samples: &[Vec<f64>], at: usize) -> Timed {
    let contestant = &row.contestants[at];
    let others = row.contestants.iter().enumerate();
    let ns_per_unit = Spread::of(samples[at].iter().copied());
    let bytes_per_unit = contestant.bytes as f64 / contestant.units;
    Timed {
        role: contestant.role.to_string(),
        name: contestant.name.clone(),
        ns_per_unit,
        input_gigabytes_per_second: (contestant.bytes > 0).then(|| bytes_per_unit / ns_per_unit.median),
        time_over: others
            .filter(|(other, contestant)| *other != at && contestant.role != Role::Pelton)
            .map(|(other, contestant)| Over {
                role: contestant.role.to_string(),
                name: contestant.name.clone(),
                ratio: Spread::of(samples[at].iter().zip(&samples[other]).map(|(of, over)| of / over)),
            })
            .collect(),
    }
}

/// How often work must be repeated to take `sample`. Warms it up, too.
fn repeats(contestant: &mut Contestant<'_>, sample: Duration) -> u32 {
    let mut repeats = 1;
    loop {
        let took = time(contestant, repeats);
        if took >= sample || repeats >= 1 << 20 {
            return repeats;
        }
        repeats *= 2;
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn time(contestant: &mut Contestant<'_>, repeats: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..repeats {
        (contestant.run)();
    }
    start.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn every_contestant_takes_part_in_every_round_and_ratios_are_of_their_units() {
        let runs = [Cell::new(0), Cell::new(0)];
        let count = |at: usize| runs[at].set(runs[at].get() + 1);
        let mut row = Row::new("group", "case", "unit", 4, 8);
        row.contestant(Role::Pelton, "ours", &(), || count(0));
        row.part(Role::Floor, "floor", 0.5, &(), || count(1));
        row.derive("more", DerivedKind::Difference, "pelton/ours", "floor/floor");
        let measured = measure(row, Effort { rounds_min: 5, rounds_max: 5, ..Effort::ONCE });
        // Once when it was added, once to find out how long it takes, and twice in each round.
        assert_eq!([runs[0].get(), runs[1].get()], [12, 12]);
        assert_eq!((measured.rounds, measured.derived.len()), (5, 1));
        let ours = measured.of_role("pelton").next().unwrap();
        assert_eq!((ours.time_over.len(), ours.time_over[0].name.as_str()), (1, "floor"));
        assert!(measured.of_role("floor").next().unwrap().time_over.is_empty());
    }

    #[test]
    fn an_answer_that_is_not_the_expected_one_ends_the_bench() {
        let wrong = std::panic::catch_unwind(|| {
            Row::new("group", "case", "unit", 1, 0).contestant(Role::Peer, "peer", &1, || 2);
        });
        assert!(wrong.is_err());
    }
}
