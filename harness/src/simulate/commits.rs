//! Commits on their way: granted, refused, lost, late, overtaken.

use std::time::Duration;

use pelton::ids::Offset;
use pelton::source::{Commit, CommitMode, SourceError, SourceEvent};

use super::log::number;
use super::universe::{Committed, Event, Universe, note};

/// A commit that has left its member.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    member: usize,
    generation: u32,
    /// The order in which commits were sent.
    number: u64,
    commits: Vec<(usize, Committed)>,
    /// How the member hears of it; `None` if it waits for the answer itself.
    answer: Option<Answer>,
}

/// The answer to an asynchronous commit.
#[derive(Clone, Copy, Debug)]
struct Answer {
    after: Duration,
    /// It is an error though the commit was granted.
    lost: bool,
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    Refused,
    NotSent,
    AnswerLost,
    AnswerLate,
    /// It reaches the coordinator late, perhaps after a newer one.
    Slow,
}

fn refusal(reason: &str) -> SourceError {
    SourceError::Commit { reason: reason.to_owned() }
}

impl Universe {
    fn way(&mut self) -> Way {
        let out = self.now < self.broker_out_until;
        if !out && !self.goes_wrong(self.faults.commit) {
            return Way::Plain;
        }
        let way = if out {
            Way::Refused
        } else {
            self.random.pick(&[
                Way::Refused,
                Way::Refused,
                Way::NotSent,
                Way::AnswerLost,
                Way::AnswerLate,
                Way::Slow,
            ])
        };
        self.tally.fault(match way {
            Way::Plain | Way::Refused => "commit_refused",
            Way::NotSent => "commit_not_sent",
            Way::AnswerLost => "commit_answer_lost",
            Way::AnswerLate => "commit_answer_late",
            Way::Slow => "commit_slow",
        });
        way
    }

    /// A member commits. `mode` says whether it waits, in which case time passes here.
    ///
    /// # Errors
    /// As [`pelton::source::Source::commit`].
    pub(crate) fn commit(
        &mut self,
        member: usize,
        commits: &[Commit],
        mode: CommitMode,
    ) -> Result<(), SourceError> {
        let mut own = Vec::new();
        for commit in commits {
            let at = usize::try_from(commit.partition.0).unwrap_or(usize::MAX);
            let offset = self.tampered(at, commit.offset.0);
            self.checker.on_commit(&self.logs[at], member, at, offset);
            self.checker.on_commit_failed(member, at);
            // As the client does: what it knows to be lost is not sent.
            if self.members[member].owned.contains(&at) {
                own.push((at, Committed { offset, metadata: commit.metadata.clone() }));
            }
        }
        note!(self, "member {member} commits {own:?} ({mode:?})");
        if own.is_empty() {
            if mode == CommitMode::Async {
                self.say(member, Duration::ZERO, SourceEvent::Committed { offsets: Vec::new(), error: None });
            }
            return Ok(());
        }
        let way = self.way();
        let sent = Sent {
            member,
            generation: self.members[member].generation,
            number: self.number(),
            commits: own,
            answer: None,
        };
        let bytes_max = self.scenario.metadata_bytes_max;
        if sent.commits.iter().any(|(_, commit)| commit.metadata.len() > bytes_max) {
            self.tally.fault("metadata_too_long");
            let error = SourceError::MetadataTooLong { reason: format!("simulated: above {bytes_max} B") };
            if mode == CommitMode::Async {
                let after = self.random.ms(0, 5);
                self.say(member, after, SourceEvent::Committed { offsets: Vec::new(), error: Some(error) });
                return Ok(());
            }
            return Err(error);
        }
        if way == Way::NotSent || self.members[member].broken {
            return Err(refusal("simulated: not sent"));
        }
        match mode {
            CommitMode::Async => self.commit_async(sent, way),
            CommitMode::Sync => return self.commit_sync(&sent, way),
        }
        Ok(())
    }

    fn commit_async(&mut self, mut sent: Sent, way: Way) {
        let (arrives, answered) = match way {
            Way::AnswerLost => (self.random.ms(0, 500), self.random.ms(500, 4_000)),
            Way::AnswerLate => (self.random.ms(0, 50), self.random.ms(100, 8_000)),
            Way::Slow => (self.random.ms(500, 9_000), Duration::ZERO),
            _ => (self.random.ms(0, 5), self.random.ms(0, 3)),
        };
        if way == Way::Refused {
            // Of a generation that never was.
            sent.generation = u32::MAX;
        }
        sent.answer = Some(Answer { after: answered, lost: way == Way::AnswerLost });
        self.plan(arrives, Event::Commit(sent));
    }

    fn commit_sync(&mut self, sent: &Sent, way: Way) -> Result<(), SourceError> {
        let passes = match way {
            Way::AnswerLate | Way::Slow => self.random.ms(100, 3_000),
            _ => self.random.ms(0, 5),
        };
        self.advance_to(self.now + passes);
        if way == Way::Refused {
            return Err(refusal("simulated: refused"));
        }
        let verdict = self.decide(sent);
        if way == Way::AnswerLost {
            let passes = self.random.ms(500, 2_000);
            self.advance_to(self.now + passes);
            return Err(refusal("simulated: no answer in time"));
        }
        verdict
    }

    /// The coordinator decides.
    fn decide(&mut self, sent: &Sent) -> Result<(), SourceError> {
        if !self.group.members.contains(&sent.member) {
            return Err(refusal("simulated: unknown member"));
        }
        if sent.generation != self.group.generation {
            return Err(refusal("simulated: illegal generation"));
        }
        if self.group.revoking.is_some() && self.goes_wrong(self.faults.commit) {
            self.tally.fault("commit_during_rebalance");
            return Err(refusal("simulated: rebalance in progress"));
        }
        for (partition, commit) in &sent.commits {
            let (partition, offset) = (*partition, commit.offset);
            let before = self.committed_offset(partition).unwrap_or(0);
            let overtaken = sent.number < self.granted[partition];
            self.granted[partition] = self.granted[partition].max(sent.number);
            self.committed[partition] = Some(commit.clone());
            self.checker.on_committed(&self.logs[partition], partition, before, offset, overtaken);
            self.checker.on_commit_granted(sent.member, partition);
        }
        Ok(())
    }

    /// A commit has reached the coordinator.
    pub(crate) fn on_commit_arrived(&mut self, sent: &Sent) {
        let verdict = self.decide(sent);
        note!(self, "commit of member {} {:?}: {verdict:?}", sent.member, sent.commits);
        let (member, Some(answer)) = (sent.member, sent.answer.as_ref()) else { return };
        let error = if answer.lost { Some(refusal("simulated: no answer in time")) } else { verdict.err() };
        let offsets = sent.commits.iter().map(|(at, commit)| (number(*at), Offset(commit.offset))).collect();
        if self.members[member].alive {
            self.say(member, answer.after, SourceEvent::Committed { offsets, error });
        }
    }

    /// A member's client is to say something.
    pub(crate) fn say(&mut self, member: usize, after: Duration, event: SourceEvent) {
        let at = self.now + after;
        self.members[member].news.push((at, event));
        self.wake(member, at);
    }
}
