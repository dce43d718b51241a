//! What will happen when: drawn from one seed, before anything happens.
//!
//! A seed repeats the plan, not the interleaving: what meets what is up to the machine.

use std::time::Duration;

use super::content::mix;

/// Something that is done to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// SIGKILL to an engine, and another is started.
    KillEngine,
    /// SIGTERM to an engine, and another is started.
    StopEngine,
    /// SIGSTOP to an engine for longer than its session, then SIGCONT.
    FreezeEngine,
    /// One engine more.
    AddEngine,
    /// SIGTERM to an engine, and none is started.
    RemoveEngine,
    /// The broker is stopped and started.
    RestartBroker,
    /// The broker is killed and started.
    KillBroker,
    /// SIGSTOP to the broker for longer than the session, then SIGCONT.
    PauseBroker,
    /// The topic gets more partitions.
    AddPartitions,
    /// A topic of its own is deleted under the engine that reads it.
    DeleteTopic,
    /// A report is written where there is no room.
    FullDisk,
}

/// How often each is drawn, once each has come once.
const WEIGHTS: [(Kind, u64); 11] = [
    (Kind::KillEngine, 30),
    (Kind::StopEngine, 12),
    (Kind::FreezeEngine, 12),
    (Kind::AddEngine, 14),
    (Kind::RemoveEngine, 10),
    (Kind::RestartBroker, 5),
    (Kind::KillBroker, 6),
    (Kind::PauseBroker, 5),
    (Kind::AddPartitions, 2),
    (Kind::DeleteTopic, 2),
    (Kind::FullDisk, 2),
];

impl Kind {
    /// In words, for the verdict.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::KillEngine => "engine killed (SIGKILL)",
            Self::StopEngine => "engine stopped (SIGTERM)",
            Self::FreezeEngine => "engine frozen (SIGSTOP)",
            Self::AddEngine => "engine added",
            Self::RemoveEngine => "engine removed (SIGTERM)",
            Self::RestartBroker => "broker restarted",
            Self::KillBroker => "broker killed (SIGKILL)",
            Self::PauseBroker => "broker paused (SIGSTOP)",
            Self::AddPartitions => "partitions added",
            Self::DeleteTopic => "topic deleted under an engine",
            Self::FullDisk => "report on a full disk",
        }
    }
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// After the start of the run, in milliseconds.
    pub at_ms: u64,
    /// What is done.
    pub kind: Kind,
    /// Chooses to whom.
    pub dice: u64,
}

/// When the first comes: the group has formed by then.
const FIRST: Duration = Duration::from_secs(6);
/// The shortest time between two.
const PAUSE_MIN_MS: u64 = 2_500;
/// The longest, less the shortest.
const PAUSE_SPREAD_MS: u64 = 6_000;

/// The steps of a run of `time`. Each kind comes once, in drawn order, before any comes twice.
#[must_use]
pub fn plan(seed: u64, time: Duration) -> Vec<Step> {
    let mut count = 0;
    let mut draw = || {
        count += 1;
        mix(seed ^ mix(count))
    };
    let mut deck: Vec<Kind> = WEIGHTS.iter().map(|(kind, _)| *kind).collect();
    for left in (1..deck.len()).rev() {
        let other = usize::try_from(draw() % (left as u64 + 1)).unwrap_or(0);
        deck.swap(left, other);
    }
    let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut at_ms = u64::try_from(FIRST.as_millis()).unwrap_or(0);
    let mut steps = Vec::new();
    while at_ms + PAUSE_MIN_MS < time_ms {
        let kind = deck.pop().unwrap_or_else(|| weighted(draw()));
        steps.push(Step { at_ms, kind, dice: draw() });
        at_ms += PAUSE_MIN_MS + draw() % PAUSE_SPREAD_MS;
    }
    steps
}

fn weighted(dice: u64) -> Kind {
    let total: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    let mut dice = dice % total;
    for (kind, weight) in WEIGHTS {
        match dice.checked_sub(weight) {
            None => return kind,
            Some(rest) => dice = rest,
        }
    }
    Kind::KillEngine
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_repeats_the_plan_and_another_changes_it() {
        let minute = Duration::from_secs(60);
        assert_eq!(plan(1, minute), plan(1, minute));
        assert_ne!(plan(1, minute), plan(2, minute));
        assert!(plan(1, minute * 10).starts_with(&plan(1, minute)));
    }

    #[test]
    fn every_kind_comes_before_any_comes_twice() {
        let steps = plan(7, Duration::from_secs(600));
        let kinds: BTreeSet<Kind> = steps.iter().take(WEIGHTS.len()).map(|step| step.kind).collect();
        assert_eq!(kinds.len(), WEIGHTS.len());
        assert!(steps.len() > 60, "{}", steps.len());
        assert!(steps.windows(2).all(|two| two[1].at_ms >= two[0].at_ms + PAUSE_MIN_MS));
        assert!(steps.iter().all(|step| step.at_ms < 600_000));
    }
}
