//! Which of the settings that a search has found is recommended.
//!
//! A search knows one draw of the traffic; a limit that is kept just so with that one is missed by half
//! of the others. So the best setting is measured with all draws, record by record, and where it misses
//! the limit with one of them, the search goes on for a tighter limit: tighter by what it was missed by.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::evaluate::{Evaluation, Fidelity, front};
use super::goal::Goal;
use super::search::{compare, refined};
use super::space::Settings;
use super::store::Store;
use super::tuned::{Estimate, Finalist};
use super::verify::Measured;
use super::{TuneTick, Tuning};
use crate::traffic::{Habit, Traffic};

/// Settings in the report's table of finalists, at most.
const FINALISTS: usize = 10;
/// How often the limit is made tighter.
const ROUNDS: usize = 7;
/// A tightened limit is this much tighter than it seems to have to be.
const SPARE_SHARE: f64 = 0.01;
/// Limits of age are not searched for more finely than this.
const SHARE_STEP: f64 = 0.03;
/// The limit of a fallback, should the recommended setting miss the goal in its real run.
const FALLBACK_SHARE: f64 = 0.88;

/// The factors by which the best finalist's parameters are moved,
const POLISH_FACTORS: [f64; 3] = [1.4, 1.15, 1.05];
/// and the records, of all draws together, that are simulated for that at most: some seconds.
const POLISHED_RECORDS_MAX: usize = 200_000_000;

/// All draws of the traffic, kept if they are small.
struct Draws<'t> {
    first: &'t Traffic,
    others: Vec<Option<Traffic>>,
}

/// Records of kept draws together: 32 bytes each.
const KEPT_RECORDS_MAX: usize = 20_000_000;

impl Tuning<'_> {
    /// Settings that were measured exactly, with all draws: those between which the answer lies, and
    /// some of the front, which other goals would choose. And the goal, with a limit of age so tight that
    /// what is best for it with the first draw keeps the real one with all.
    pub(super) fn finalists(
        &self,
        store: &mut Store,
        traffic: &Traffic,
        whole: &[Evaluation],
        visited: &mut BTreeSet<Settings>,
        tell: &mut dyn FnMut(TuneTick),
    ) -> anyhow::Result<(Vec<Finalist>, Goal)> {
        let seeds = self.plan.seeds.max(1) as usize;
        let mut draws = Draws { first: traffic, others: (1..seeds).map(|_| None).collect() };
        let mut finalists: Vec<Finalist> = Vec::new();
        // Of the limit: what misses, and what keeps it.
        let (mut misses, mut keeps, mut share) = (None, None, 1.0_f64);
        for round in 0..ROUNDS {
            tell(TuneTick {
                phase: "finalists, record by record".into(),
                done_share: round as f64 / (ROUNDS + 1) as f64,
            });
            let goal = self.plan.goal.tightened(share);
            let settings = self.best_for(&goal, store, traffic, whole, visited)?;
            let finalist = self.finalist(&settings, store, &mut draws)?;
            let worst = Estimate::worst(&finalist, &self.plan.goal);
            self.push(&mut finalists, finalist);
            if self.interrupted.load(Ordering::Relaxed) || self.plan.goal.age.is_none() {
                break;
            }
            if worst <= 0.0 {
                keeps = Some(share);
                // As near to the limit as is worth looking for.
                match misses {
                    Some(misses) if misses - share > SHARE_STEP => share = f64::midpoint(misses, share),
                    _ => break,
                }
            } else {
                misses = Some(share);
                share = match keeps {
                    Some(keeps) if share - keeps > SHARE_STEP => f64::midpoint(keeps, share),
                    Some(_) => break,
                    // Not keeping up is no matter of a limit.
                    None if worst >= 1.0 => share * 0.5,
                    None => share / (1.0 + worst) * (1.0 - SPARE_SHARE),
                };
            }
        }
        let goal = self.plan.goal.tightened(keeps.or(misses).unwrap_or(1.0));
        self.polish(&mut finalists, (whole, &goal), store, &mut draws)?;
        let fallback = self.plan.goal.tightened(keeps.unwrap_or(1.0) * FALLBACK_SHARE);
        let fallback = self.best_for(&fallback, store, traffic, whole, visited)?;
        let mut further = vec![fallback];
        let front = front(whole);
        let places =
            [0, front.len() / 4, front.len() / 2, front.len() * 3 / 4, front.len().saturating_sub(1)];
        further.extend(places.into_iter().filter_map(|place| front.get(place)).map(|one| one.settings));
        for settings in further {
            if !self.interrupted.load(Ordering::Relaxed) {
                let finalist = self.finalist(&settings, store, &mut draws)?;
                self.push(&mut finalists, finalist);
            }
        }
        finalists.sort_by(|one, other| self.order(one, other));
        // Run after the first: should that one be too old in its run, its nearest neighbours would be too.
        if let Some(at) = finalists.iter().position(|one| one.settings == fallback).filter(|at| *at > 1) {
            finalists[1..=at].rotate_right(1);
        }
        finalists.truncate(FINALISTS);
        Ok((finalists, goal))
    }

    /// Moves the parameters of the best finalist for as long as that is better with all draws, and the
    /// records to be simulated are not too many. Then those of the best for `goal` with a poller less
    /// and with one more: another number of pollers wants another batch size and window too.
    fn polish(
        &self,
        finalists: &mut Vec<Finalist>,
        (whole, goal): (&[Evaluation], &Goal),
        store: &mut Store,
        draws: &mut Draws<'_>,
    ) -> anyhow::Result<()> {
        let each = draws.first.arrivals.len() * (draws.others.len() + 1);
        let mut left = POLISHED_RECORDS_MAX / each.max(1);
        let Some(best) = finalists.iter().min_by(|one, other| self.order(one, other)).cloned() else {
            return Ok(());
        };
        let pollers = best.settings.pollers;
        let polished = self.polished(best, &mut left, store, draws)?;
        self.push(finalists, polished);
        for pollers in [pollers.saturating_sub(1), pollers + 1] {
            let with_as_many = whole.iter().filter(|one| one.settings.pollers == pollers);
            let Some(start) = with_as_many.min_by(|one, other| compare(one, other, goal)) else { continue };
            if left == 0 || self.interrupted.load(Ordering::Relaxed) {
                break;
            }
            left -= 1;
            let start = self.finalist(&start.settings, store, draws)?;
            let polished = self.polished(start, &mut left, store, draws)?;
            self.push(finalists, polished);
        }
        Ok(())
    }

    /// What moving the parameters of `here` makes of it, while there are settings `left` to be measured.
    fn polished(
        &self,
        mut here: Finalist,
        left: &mut usize,
        store: &mut Store,
        draws: &mut Draws<'_>,
    ) -> anyhow::Result<Finalist> {
        for factor in POLISH_FACTORS {
            loop {
                let from = here.settings;
                for (_, settings) in self.plan.space.beside(&from, factor) {
                    if *left == 0 || self.interrupted.load(Ordering::Relaxed) {
                        return Ok(here);
                    }
                    *left -= 1;
                    let finalist = self.finalist(&settings, store, draws)?;
                    if self.order(&finalist, &here).is_lt() {
                        here = finalist;
                    }
                }
                if here.settings == from {
                    break;
                }
            }
        }
        Ok(here)
    }

    /// The best setting for `goal` with the first draw: the best that was found, and what moving its
    /// parameters makes of it.
    fn best_for(
        &self,
        goal: &Goal,
        store: &mut Store,
        traffic: &Traffic,
        whole: &[Evaluation],
        visited: &mut BTreeSet<Settings>,
    ) -> anyhow::Result<Settings> {
        let best = whole.iter().min_by(|one, other| compare(one, other, goal)).unwrap_or(&whole[0]);
        let (best, moved) = refined(self.quest(traffic, goal), &best.settings, store, self.interrupted)?;
        visited.extend(moved);
        Ok(best.settings)
    }

    fn finalist(
        &self,
        settings: &Settings,
        store: &mut Store,
        draws: &mut Draws<'_>,
    ) -> anyhow::Result<Finalist> {
        let mut finalist = Finalist { settings: *settings, by_seed: Vec::new() };
        for draw in 0..=draws.others.len() {
            let seed = self.plan.effort.seed.wrapping_add(draw as u64);
            let with = Fidelity { seed, traffic_share: 1.0, exact: true };
            let evaluation = match store.known(settings, with) {
                Some(known) => known.clone(),
                None => {
                    let made;
                    let traffic = match draw.checked_sub(1).map(|other| &mut draws.others[other]) {
                        None => draws.first,
                        Some(Some(kept)) => kept,
                        Some(empty) => {
                            made = self.traffic(seed, Habit::AsIs)?;
                            if draws.first.arrivals.len() * (self.plan.seeds as usize) <= KEPT_RECORDS_MAX {
                                empty.insert(made)
                            } else {
                                &made
                            }
                        }
                    };
                    store
                        .evaluation(settings, with, || self.bench.evaluate_exactly(traffic, settings, seed))?
                }
            };
            finalist.by_seed.push(evaluation);
            if self.interrupted.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(finalist)
    }

    /// The best first: those that keep all limits with every draw, by the draw in the middle.
    fn order(&self, one: &Finalist, other: &Finalist) -> std::cmp::Ordering {
        let goal = &self.plan.goal;
        other
            .meets(self.plan)
            .cmp(&one.meets(self.plan))
            .then_with(|| compare(&one.middle(goal), &other.middle(goal), goal))
    }

    /// Another finalist than the first, if that missed the limit of age in its run and another one did
    /// not.
    pub(super) fn after_runs(&self, finalists: &[Finalist], runs: &[Measured]) -> usize {
        let limit = self.plan.goal.age;
        let kept = |finalist: &Finalist| {
            let run = runs.iter().find(|run| run.settings == finalist.settings);
            run.map(|run| run.is_clean && run.keeps(limit))
        };
        if kept(&finalists[0]) != Some(false) {
            return 0;
        }
        let keeping =
            finalists.iter().enumerate().filter(|(_, one)| kept(one) == Some(true) && one.meets(self.plan));
        keeping.min_by(|(_, one), (_, other)| self.order(one, other)).map_or(0, |(at, _)| at)
    }

    /// Adds `finalist`, unless it is there, or lacks draws that others have.
    fn push(&self, finalists: &mut Vec<Finalist>, finalist: Finalist) {
        if finalists.is_empty()
            || (finalist.is_whole(self.plan) && finalists.iter().all(|one| one.settings != finalist.settings))
        {
            finalists.push(finalist);
        }
    }
}
