//! The audit closed: counts, and what was found.

use std::collections::BTreeMap;

use super::Audit;
use super::bits::Bits;

/// A kill, and what came again because of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct KillCount {
    /// The mapping whose engine it was.
    pub mapping: String,
    /// When, in milliseconds after the start.
    pub at_ms: u64,
    /// Records in flight at that moment.
    pub in_flight: u64,
    /// Records that the function had taken and nobody had committed.
    pub since_commit: u64,
    /// Records whose last answer was a failure: they come again in any case.
    pub failed: u64,
    /// Of those in flight, delivered again.
    pub again_in_flight: u64,
    /// Of those taken and not committed, delivered again.
    pub again_since_commit: u64,
    /// Of those that had failed, delivered again.
    pub again_after_failure: u64,
}

impl KillCount {
    /// Records delivered twice because of it.
    #[must_use]
    pub const fn twice(&self) -> u64 {
        self.again_in_flight + self.again_since_commit
    }

    /// What may be delivered twice at most.
    #[must_use]
    pub const fn bound(&self) -> u64 {
        self.in_flight + self.since_commit
    }
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The partition, where it is about one.
    pub partition: Option<u32>,
    /// The offset, where it is about one.
    pub offset: Option<u64>,
    /// When, in milliseconds after the start.
    pub at_ms: u64,
    /// What.
    pub what: String,
}

/// What the audit of a mapping says.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct MappingVerdict {
    /// The mapping.
    pub mapping: String,
    /// Records that the broker has.
    pub produced: u64,
    /// Records that the function has taken, each counted once.
    pub done: u64,
    /// Records in the on-failure topic, each counted once.
    pub dead_lettered: u64,
    /// Of these, records that the function has taken too.
    pub dead_lettered_and_done: u64,
    /// Copies in the on-failure topic beside the first of each record.
    pub dead_lettered_again: u64,
    /// Records that are neither taken nor in the on-failure topic.
    pub lost: u64,
    /// Deliveries of offsets that were never produced.
    pub foreign: u64,
    /// Invocations that the function was handed whole.
    pub invocations: u64,
    /// Records handed over, repeats included.
    pub deliveries: u64,
    /// Records handed over or passed over before an earlier one was done.
    pub order_violations: u64,
    /// Commits that went back, or past a record that was not done.
    pub commits_wrong: u64,
    /// Events, letters or requests that are not what they should be.
    pub malformed: u64,
    /// Deliveries of what was delivered before and nothing explains.
    pub unexplained: u64,
    /// Deliveries of what was delivered before, by explanation.
    pub again: BTreeMap<String, u64>,
    /// The kills.
    pub kills: Vec<KillCount>,
    /// The longest time in which the function took nothing new, in milliseconds, and its start.
    pub longest_stall_ms: u64,
    /// When that began, in milliseconds after the start.
    pub longest_stall_at_ms: u64,
    /// What must not be; the first few.
    pub findings: Vec<Finding>,
}

impl MappingVerdict {
    /// Whether all that must hold holds.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost
            + self.foreign
            + self.order_violations
            + self.commits_wrong
            + self.malformed
            + self.unexplained
            == 0
            && self.kills.iter().all(|kill| kill.twice() <= kill.bound())
    }
}

/// Ranges of lost offsets that a verdict lists.
const LOST_RANGES_MAX: usize = 10;

impl Audit {
    /// Closes the ledger. `ends` are one past the last offset produced, per partition; `letters` is
    /// what lies in the on-failure topic.
    #[must_use]
    pub(in super::super) fn verdict(
        &self,
        ends: &[u64],
        letters: &[(u32, u64)],
        now_ms: u64,
    ) -> MappingVerdict {
        let mut verdict = MappingVerdict {
            mapping: self.terms.name.to_owned(),
            produced: ends.iter().sum(),
            done: self.done(),
            invocations: self.invocations,
            deliveries: self.deliveries,
            order_violations: self.order_violations,
            commits_wrong: self.commits_wrong,
            malformed: self.malformed,
            unexplained: self.unexplained,
            again: self.again.clone(),
            kills: self.kills.clone(),
            findings: self.findings.clone(),
            ..MappingVerdict::default()
        };
        if let Some((stall_ms, at_ms)) = self.stall {
            (verdict.longest_stall_ms, verdict.longest_stall_at_ms) = (stall_ms, at_ms);
        }
        let mut dead: Vec<Bits> = vec![Bits::default(); ends.len().max(self.lanes.len())];
        for &(partition, offset) in letters {
            let known = ends.get(partition as usize).is_some_and(|end| offset < *end);
            if !known {
                verdict.foreign += 1;
            } else if !dead[partition as usize].insert(offset) {
                verdict.dead_lettered_again += 1;
            } else if self.is_done(partition, offset) {
                verdict.dead_lettered_and_done += 1;
            }
        }
        verdict.dead_lettered = dead.iter().map(Bits::count).sum();
        for ((partition, end), dead) in (0..).zip(ends).zip(&dead) {
            let lane_end = self.lanes.get(partition as usize).map_or(0, super::lane::Lane::end);
            verdict.foreign += lane_end.saturating_sub(*end);
            let mut offset = 0;
            let lost = |offset: u64| !self.is_done(partition, offset) && !dead.contains(offset);
            while let Some(first) = (offset..*end).find(|&offset| lost(offset)) {
                let past = (first..*end).find(|&offset| !lost(offset)).unwrap_or(*end);
                verdict.lost += past - first;
                if verdict.findings.len() < super::FINDINGS_MAX + LOST_RANGES_MAX {
                    let what = format!("lost: {first} to {}", past - 1);
                    let (partition, offset) = (Some(partition), Some(first));
                    verdict.findings.push(Finding { partition, offset, at_ms: now_ms, what });
                }
                offset = past;
            }
        }
        verdict
    }

    fn is_done(&self, partition: u32, offset: u64) -> bool {
        self.lanes.get(partition as usize).is_some_and(|lane| lane.done.contains(offset))
    }
}
