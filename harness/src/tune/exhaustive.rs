//! Further settings in real runs: whether any of them would have been better than the recommended one.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::evaluate::{Fidelity, Lanes};
use super::goal::{Goal, Optimise};
use super::space::Settings;
use super::store::Store;
use super::verify::Measured;
use super::{TuneTick, Tuning};
use crate::traffic::Traffic;

/// What runs of many settings say of the recommended one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exhaustive {
    /// Settings that were looked at and not run: by the simulator they do not keep up.
    pub left_out: u32,
    /// Settings that were run, in that order, without those of [`Tuned::runs`](super::tuned::Tuned).
    pub runs: Vec<Measured>,
    /// Of those and the others, how many kept the limits.
    pub kept: u32,
    /// The best that kept the limits; `None` if none did, or runs do not say what is optimised.
    pub best: Option<Settings>,
    /// What is optimised, as that one's run measured it.
    pub best_value: Option<f64>,
    /// By how much the recommended setting's run is behind, as a share of that; zero if it is the best,
    /// `None` if it did not keep the limits.
    pub behind_share: Option<f64>,
}

/// Around the recommended setting, each parameter is moved by these.
const FACTORS: [f64; 3] = [1.1, 1.3, 2.0];
/// Of the settings to be run, the share that lies around the recommended one at most.
const AROUND_SHARE: f64 = 0.4;

impl Exhaustive {
    /// What `runs`, and those of the finalists in `others`, say of `recommended`.
    fn judge(
        goal: &Goal,
        recommended: &Settings,
        left_out: u32,
        runs: Vec<Measured>,
        others: &[Measured],
    ) -> Self {
        let all = || runs.iter().chain(others);
        let keeping = || all().filter(|run| run.is_clean && run.keeps(goal.age));
        let valued = || keeping().filter_map(|run| Some((run.settings, value(run, goal)?)));
        let best = valued().min_by(|(_, one), (_, other)| one.total_cmp(other));
        let own = valued().find(|(settings, _)| settings == recommended);
        Self {
            left_out,
            kept: u32::try_from(keeping().count()).unwrap_or(u32::MAX),
            best: best.map(|(settings, _)| settings),
            best_value: best.map(|(_, value)| value),
            behind_share: best.zip(own).map(|((_, best), (_, own))| own / best - 1.0),
            runs,
        }
    }
}

/// What is optimised, the smaller the better; `None` if a run does not say it.
fn value(run: &Measured, goal: &Goal) -> Option<f64> {
    match goal.optimise {
        Optimise::Cost => run.real.per_million_records,
        Optimise::Age => Some(goal.quantile().of(&run.real.age) as f64),
        // At a given rate a run does not show what more would come through.
        Optimise::Throughput => None,
    }
}

impl Tuning<'_> {
    /// Runs so many further settings as the plan says; `None` if it says none.
    pub(super) fn exhaustive(
        &self,
        store: &mut Store,
        traffic: &Traffic,
        (recommended, others): (&Settings, &[Measured]),
        (remarks, tell): (&mut Vec<String>, &mut dyn FnMut(TuneTick)),
    ) -> anyhow::Result<Option<Exhaustive>> {
        if self.plan.exhaustive == 0 || self.interrupted.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let (chosen, left_out) = self.spread(store, traffic, recommended, others)?;
        let runs = self.run_each(store, &chosen, remarks, tell)?;
        Ok(Some(Exhaustive::judge(&self.plan.goal, recommended, left_out, runs, others)))
    }

    /// Settings that keep up by the simulator's word: some around the recommended one, the others spread
    /// over the space as evenly as the search's first sample, but at other places. And how many were
    /// left out.
    fn spread(
        &self,
        store: &mut Store,
        traffic: &Traffic,
        recommended: &Settings,
        others: &[Measured],
    ) -> anyhow::Result<(Vec<Settings>, u32)> {
        /// Points of the sample for each setting that is wanted, at most: few may keep up.
        const POINTS_EACH: u32 = 20;
        let wanted = self.plan.exhaustive as usize;
        let space = &self.plan.space;
        let around = FACTORS.into_iter().flat_map(|factor| space.beside(recommended, factor));
        let around = around.map(|(_, settings)| settings).take((wanted as f64 * AROUND_SHARE) as usize);
        let points = self.plan.exhaustive.saturating_mul(POINTS_EACH).min(65_536);
        #[expect(clippy::cast_possible_truncation, reason = "any seed scrambles")]
        let spread = space.sample(points, (self.plan.effort.seed as u32).wrapping_add(1));
        // In handfuls, each by pollers, so that the lanes of each number are made once for a handful.
        let mut candidates: Vec<Settings> = around.collect();
        let near = candidates.len();
        candidates.extend(spread);
        candidates[near..]
            .chunks_mut((2 * wanted).max(1))
            .for_each(|some| some.sort_by_key(|one| one.pollers));
        let mut lanes = Lanes::new(traffic, &self.bench);
        let with = Fidelity { seed: self.plan.effort.seed, ..Fidelity::WHOLE };
        let (mut chosen, mut left_out) = (Vec::new(), 0);
        for settings in candidates {
            if chosen.len() == wanted || self.interrupted.load(Ordering::Relaxed) {
                break;
            }
            if chosen.contains(&settings) || others.iter().any(|run| run.settings == settings) {
                continue;
            }
            let evaluation =
                store.evaluation(&settings, with, || self.bench.evaluate(&mut lanes, &settings, with))?;
            if evaluation.keeps_up {
                chosen.push(settings);
            } else {
                left_out += 1;
            }
        }
        Ok((chosen, left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluate::tests::settings;
    use super::super::verify::Figures;
    use super::*;
    use crate::measure::histogram::LatencySummary;

    fn run(pollers: usize, p99_ms: u64, cost: f64) -> Measured {
        let age = LatencySummary { count: 10, p99_us: p99_ms * 1_000, ..LatencySummary::default() };
        Measured {
            settings: settings(100, 100, pollers),
            real: Figures { age, per_million_records: Some(cost), ..Figures::default() },
            simulated: Figures::default(),
            is_clean: true,
            remarks: Vec::new(),
        }
    }

    fn goal() -> Goal {
        Goal { age: Some("p99=1s".parse().unwrap()), optimise: Optimise::Cost, concurrency_max: None }
    }

    #[test]
    fn the_best_is_the_cheapest_that_keeps_the_limit() {
        let others = [run(1, 900, 2.2)];
        let runs = vec![run(2, 1_100, 1.0), run(3, 990, 2.0), run(4, 500, 3.0)];
        let judged = Exhaustive::judge(&goal(), &others[0].settings, 5, runs, &others);
        assert_eq!((judged.best, judged.kept, judged.left_out), (Some(settings(100, 100, 3)), 3, 5));
        assert!((judged.behind_share.unwrap() - 0.1).abs() < 1e-9);
    }

    #[test]
    fn a_recommended_setting_that_is_the_best_is_behind_nothing() {
        let others = [run(1, 900, 1.5)];
        let judged = Exhaustive::judge(&goal(), &others[0].settings, 0, vec![run(2, 900, 2.0)], &others);
        assert_eq!((judged.best, judged.behind_share), (Some(others[0].settings), Some(0.0)));
        let late = Exhaustive::judge(&goal(), &others[0].settings, 0, vec![], &[run(1, 2_000, 1.0)]);
        assert_eq!((late.best, late.behind_share, late.kept), (None, None, 0));
        // One that missed the limit is not the best because it was cheaper.
        let missed = [run(1, 2_000, 1.0)];
        let judged = Exhaustive::judge(&goal(), &missed[0].settings, 0, vec![run(2, 900, 2.0)], &missed);
        assert_eq!((judged.best, judged.behind_share), (Some(settings(100, 100, 2)), None));
    }

    #[test]
    fn runs_that_do_not_say_their_cost_still_keep_limits() {
        let mut failed = run(1, 900, 0.0);
        failed.real.per_million_records = None;
        let judged = Exhaustive::judge(&goal(), &failed.settings, 0, vec![], std::slice::from_ref(&failed));
        assert_eq!((judged.kept, judged.best), (1, None));
    }
}
