//! Which settings are looked at, in which order.
//!
//! First a sample that fills the space is measured on the beginning of the traffic; the best of it, and
//! its front, on more of it, and the best of those on all of it (successive halving). From the best few,
//! each parameter is then moved up and down by ever smaller factors until nothing is better.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::evaluate::{Bench, Evaluation, Fidelity, Lanes, front};
use super::goal::Goal;
use super::space::{Settings, Space};
use super::store::Store;
use crate::traffic::Traffic;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Settings of the first sample.
    pub points: u32,
    /// Of the sample and of all draws.
    pub seed: u64,
    /// The whole sample is measured on all of the traffic, not only the best of it.
    pub thorough: bool,
}

/// The parts of the traffic that the sample, its better half and the best are measured on.
const RUNGS: [f64; 3] = [1.0 / 8.0, 1.0 / 2.0, 1.0];
/// Of each rung, the share that goes on to the next.
const GOES_ON: f64 = 0.25;
/// At least so many go on.
const GOES_ON_MIN: usize = 12;
/// A rung is measured on no fewer records than this: too few say nothing.
const RUNG_RECORDS_MIN: f64 = 20_000.0;
/// The factors by which parameters are moved, one after the other.
const FACTORS: [f64; 4] = [2.0, 1.4, 1.15, 1.05];
/// From so many of the best, parameters are moved.
const STARTS: usize = 3;
/// How often a factor is tried from where it led to.
const MOVES_MAX: usize = 24;

/// What is looked for, and where.
#[derive(Clone, Copy, Debug)]
pub struct Quest<'q> {
    /// Where to look.
    pub space: &'q Space,
    /// What measures a setting.
    pub bench: &'q Bench,
    /// What it is measured on.
    pub traffic: &'q Traffic,
    /// What is wanted.
    pub goal: &'q Goal,
    /// How much is looked at.
    pub effort: Effort,
}

/// Searches. `tell` hears how much is done, from 0 to 1. Ends early when `interrupted`. Returns the
/// settings that were measured on all of the traffic; what came of them is in `store`.
///
/// # Errors
/// If the store's file cannot be written.
pub fn search(
    quest: Quest<'_>,
    store: &mut Store,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(f64),
) -> anyhow::Result<BTreeSet<Settings>> {
    let Quest { space, bench, traffic, goal, effort } = quest;
    let mut search = Search {
        bench,
        goal,
        seed: effort.seed,
        store,
        lanes: Lanes::new(traffic, bench),
        interrupted,
        tell,
        visited: BTreeSet::new(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "any seed scrambles")]
    let mut candidates = space.sample(effort.points, effort.seed as u32);
    // What everybody begins with is always among them.
    for pollers in [*space.pollers.start(), *space.pollers.end()] {
        candidates.push(nearest(space, &Settings::aws_default(pollers)));
    }
    let least_share = (RUNG_RECORDS_MIN / traffic.arrivals.len().max(1) as f64).min(1.0);
    let mut best = Vec::new();
    let rungs = if effort.thorough { &RUNGS[RUNGS.len() - 1..] } else { &RUNGS[..] };
    for (rung, share) in rungs.iter().enumerate() {
        let done = rung as f64 / rungs.len() as f64;
        best = search
            .measure(&candidates, share.max(least_share), |part| 0.7 * (done + part / rungs.len() as f64))?;
        if search.is_over() {
            break;
        }
        let keep = GOES_ON_MIN.max((best.len() as f64 * GOES_ON).ceil() as usize);
        candidates = search.kept(&best, keep);
    }
    if !search.is_over() {
        search.refine(space, &best)?;
    }
    search.store.flush()?;
    Ok(search.visited)
}

/// The best that is found from `settings` by moving one parameter after the other, on all of the
/// traffic; and every setting that was measured for it.
///
/// # Errors
/// If the store's file cannot be written.
pub fn refined(
    quest: Quest<'_>,
    settings: &Settings,
    store: &mut Store,
    interrupted: &AtomicBool,
) -> anyhow::Result<(Evaluation, BTreeSet<Settings>)> {
    let mut search = Search {
        bench: quest.bench,
        goal: quest.goal,
        seed: quest.effort.seed,
        store,
        lanes: Lanes::new(quest.traffic, quest.bench),
        interrupted,
        tell: &mut |_| {},
        visited: BTreeSet::new(),
    };
    let from = search.one(settings, 1.0)?;
    let best = search.moved(quest.space, from)?;
    Ok((best, search.visited))
}

/// The setting of the space that is nearest to `settings`.
fn nearest(space: &Space, settings: &Settings) -> Settings {
    Settings {
        batch_size: settings.batch_size.clamp(*space.batch_size.start(), *space.batch_size.end()),
        maximum_batching_window: crate::workload::units::Span(
            settings.window().clamp(*space.window.start(), *space.window.end()),
        ),
        pollers: settings.pollers.clamp(*space.pollers.start(), *space.pollers.end()),
    }
}

struct Search<'s> {
    bench: &'s Bench,
    goal: &'s Goal,
    seed: u64,
    store: &'s mut Store,
    lanes: Lanes<'s>,
    interrupted: &'s AtomicBool,
    tell: &'s mut dyn FnMut(f64),
    /// On all of the traffic.
    visited: BTreeSet<Settings>,
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn one(&mut self, settings: &Settings, traffic_share: f64) -> anyhow::Result<Evaluation> {
        let with = Fidelity { seed: self.seed, traffic_share, exact: false };
        if traffic_share >= 1.0 {
            self.visited.insert(*settings);
        }
        let (bench, lanes) = (self.bench, &mut self.lanes);
        self.store.evaluation(settings, with, || bench.evaluate(lanes, settings, with))
    }

    /// All of `candidates`, the best first.
    fn measure(
        &mut self,
        candidates: &[Settings],
        traffic_share: f64,
        done: impl Fn(f64) -> f64,
    ) -> anyhow::Result<Vec<Evaluation>> {
        // By pollers, so that the lanes of each number are made once.
        let mut order: Vec<Settings> =
            candidates.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        order.sort_by_key(|settings| (settings.pollers, *settings));
        let mut all = Vec::with_capacity(order.len());
        for (number, settings) in order.iter().enumerate() {
            if self.is_over() {
                break;
            }
            all.push(self.one(settings, traffic_share)?);
            (self.tell)(done(number as f64 / order.len() as f64));
        }
        self.rank(&mut all);
        Ok(all)
    }

    fn rank(&self, all: &mut [Evaluation]) {
        all.sort_by(|one, other| compare(one, other, self.goal));
    }

    /// The `keep` best, and the front.
    fn kept(&self, best: &[Evaluation], keep: usize) -> Vec<Settings> {
        let mut kept: BTreeSet<Settings> = best.iter().take(keep).map(|one| one.settings).collect();
        kept.extend(front(best).iter().map(|one| one.settings));
        kept.into_iter().collect()
    }

    fn refine(&mut self, space: &Space, best: &[Evaluation]) -> anyhow::Result<()> {
        let starts: Vec<Evaluation> = best.iter().take(STARTS).cloned().collect();
        for (start, from) in starts.into_iter().enumerate() {
            self.moved(space, from)?;
            (self.tell)(0.7 + 0.3 * (start + 1) as f64 / STARTS as f64);
        }
        Ok(())
    }

    /// Moves each parameter by ever smaller factors, until nothing is better.
    fn moved(&mut self, space: &Space, from: Evaluation) -> anyhow::Result<Evaluation> {
        let mut here = from;
        for factor in FACTORS {
            for _ in 0..MOVES_MAX {
                let mut beside = Vec::new();
                for (_, settings) in space.beside(&here.settings, factor) {
                    if self.is_over() {
                        return Ok(here);
                    }
                    beside.push(self.one(&settings, 1.0)?);
                }
                self.rank(&mut beside);
                match beside.into_iter().next() {
                    Some(next) if compare(&next, &here, self.goal).is_lt() => here = next,
                    _ => break,
                }
            }
        }
        Ok(here)
    }
}

/// Which is better for `goal`; between equals, the smaller setting, so that the same search ends the
/// same.
#[must_use]
pub fn compare(one: &Evaluation, other: &Evaluation, goal: &Goal) -> std::cmp::Ordering {
    let order = one.score(goal).partial_cmp(&other.score(goal)).unwrap_or(std::cmp::Ordering::Equal);
    order.then_with(|| one.settings.cmp(&other.settings))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::evaluate::tests::{bench, traffic};
    use super::super::goal::Optimise;
    use super::*;

    fn space() -> Space {
        Space {
            batch_size: 1..=10_000,
            window: Duration::ZERO..=Duration::from_secs(5),
            whole_seconds: false,
            pollers: 1..=8,
        }
    }

    fn found(bench: &Bench, traffic: &Traffic, goal: &Goal, points: u32) -> (Evaluation, usize) {
        let mut store = Store::in_memory();
        let never = AtomicBool::new(false);
        let effort = Effort { points, seed: 1, thorough: false };
        let quest = Quest { space: &space(), bench, traffic, goal, effort };
        search(quest, &mut store, &never, &mut |_| {}).unwrap();
        let mut whole = store.evaluations();
        whole.retain(|one| one.with.traffic_share >= 1.0);
        whole.sort_by(|one, other| compare(one, other, goal));
        (whole.remove(0), store.evaluations().len())
    }

    #[test]
    fn a_search_comes_near_what_a_fine_grid_finds() {
        let traffic = traffic("arrival = \"poisson(2k/s)\"\npartitions = 8", 20);
        let bench = bench(15);
        for (age, optimise) in
            [(Some("p99=500ms"), Optimise::Cost), (Some("p99=2s"), Optimise::Cost), (None, Optimise::Age)]
        {
            let age = age.map(|text| text.parse().unwrap());
            let goal = Goal { age, optimise, concurrency_max: None };
            let (best, evaluations) = found(&bench, &traffic, &goal, 128);
            assert!(best.meets(&goal), "{goal}: {best:?}");
            let mut lanes = Lanes::new(&traffic, &bench);
            let mut grid: Option<Evaluation> = None;
            for pollers in 1..=8 {
                for batch_size in [10, 30, 100, 300, 1_000, 3_000, 10_000] {
                    for window_ms in
                        [0, 10, 50, 100, 200, 300, 400, 450, 500, 1_000, 1_500, 1_800, 2_000, 4_000]
                    {
                        let settings =
                            super::super::evaluate::tests::settings(batch_size, window_ms, pollers);
                        let one = bench.evaluate(&mut lanes, &settings, Fidelity::WHOLE);
                        if grid.as_ref().is_none_or(|best| compare(&one, best, &goal).is_lt()) {
                            grid = Some(one);
                        }
                    }
                }
            }
            let grid = grid.unwrap();
            assert!(evaluations < 784, "fewer than the grid's: {evaluations}");
            let (value, best_value) = (best.score(&goal).value, grid.score(&goal).value);
            assert!(value <= best_value * 1.05, "{goal}: {best:?}\ngrid: {grid:?}");
        }
    }

    #[test]
    fn a_search_repeats_itself() {
        let traffic = traffic("arrival = \"poisson(500/s)\"\npartitions = 8", 10);
        let goal =
            Goal { age: Some("p99=1s".parse().unwrap()), optimise: Optimise::Cost, concurrency_max: None };
        assert_eq!(found(&bench(5), &traffic, &goal, 64), found(&bench(5), &traffic, &goal, 64));
    }

    #[test]
    fn an_interrupted_search_keeps_what_it_has() {
        let traffic = traffic("arrival = \"poisson(500/s)\"", 10);
        let goal = Goal { age: None, optimise: Optimise::Cost, concurrency_max: None };
        let (mut store, stop) = (Store::in_memory(), AtomicBool::new(false));
        let effort = Effort { points: 64, seed: 1, thorough: false };
        let mut told = 0;
        let quest = Quest { space: &space(), bench: &bench(5), traffic: &traffic, goal: &goal, effort };
        search(quest, &mut store, &stop, &mut |_| {
            told += 1;
            stop.store(told == 10, Ordering::Relaxed);
        })
        .unwrap();
        assert_eq!(store.evaluations().len(), 10);
    }
}
