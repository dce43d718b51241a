//! Every offset of a mapping: what the function was handed, what it answered, what was done to the
//! engines meanwhile, and what follows.
//!
//! The rules for a partition:
//! - A record is handed over for the first time only when every record before it is done, given up, or
//!   in the same batch.
//! - What is committed is done or given up, and a commit never goes back.
//! - A record that comes again has a reason: its last answer was a failure; the answer may have come
//!   too late or not at all; or its engine was killed, stopped, frozen, cut off from the broker, or
//!   lost the partition, and the record was not committed.
//!
//! Done and committed costs a bit per record; details are kept of what is not committed only.

mod bits;
mod causes;
mod lane;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use summary::{Finding, KillCount, MappingVerdict};

use causes::{Cause, Causes};
use lane::{Entry, Lane, State};

/// What the function said of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// All is done.
    Done,
    /// Nothing is done.
    Failed,
    /// These are not done, as (partition, offset); the others are.
    Partly(&'a [(u32, u64)]),
}

/// An invocation in flight.
#[derive(Debug)]
#[must_use]
pub(super) struct Ticket {
    number: u32,
    engine: u16,
    begun_ms: u64,
    /// Per partition, its offsets.
    groups: Vec<(u32, Vec<u64>)>,
}

impl Ticket {
    /// Its records.
    pub(super) fn records(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.groups.iter().flat_map(|(partition, offsets)| offsets.iter().map(|offset| (*partition, *offset)))
    }
}

/// What the audit has to know of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Its name.
    pub(super) name: &'static str,
    /// The engine's `function_timeout`.
    pub(super) function_timeout_ms: u64,
    /// How many failed attempts a record has at least when it is given up; `None` where it never is.
    pub(super) give_up: Option<u8>,
}

/// The audit of one mapping.
#[derive(Debug)]
pub(super) struct Audit {
    terms: Terms,
    lanes: Vec<Lane>,
    causes: Causes,
    next_ticket: u32,
    kills: Vec<KillCount>,
    /// Deliveries of what was delivered before, by explanation.
    again: BTreeMap<String, u64>,
    deliveries: u64,
    first_deliveries: u64,
    invocations: u64,
    order_violations: u64,
    unexplained: u64,
    commits_wrong: u64,
    malformed: u64,
    findings: Vec<Finding>,
    last_done_ms: u64,
    stall: Option<(u64, u64)>,
}

/// Findings that are shown; the rest is only counted.
const FINDINGS_MAX: usize = 20;

impl Audit {
    /// An audit of a topic that holds nothing yet.
    #[must_use]
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            lanes: Vec::new(),
            causes: Causes::default(),
            next_ticket: 0,
            kills: Vec::new(),
            again: BTreeMap::new(),
            deliveries: 0,
            first_deliveries: 0,
            invocations: 0,
            order_violations: 0,
            unexplained: 0,
            commits_wrong: 0,
            malformed: 0,
            findings: Vec::new(),
            last_done_ms: 0,
            stall: None,
        }
    }

    /// The function was handed these offsets, per partition in the event's order.
    pub(super) fn begin(&mut self, engine: u16, groups: Vec<(u32, Vec<u64>)>, now_ms: u64) -> Ticket {
        self.next_ticket += 1;
        self.invocations += 1;
        let ticket = Ticket { number: self.next_ticket, engine, begun_ms: now_ms, groups };
        for (partition, offsets) in &ticket.groups {
            let mut last = None;
            for &offset in offsets {
                if last.is_some_and(|last| offset <= last) {
                    self.order_violations += 1;
                    self.note(*partition, offset, now_ms, format!("follows {last:?} in its batch"));
                }
                last = Some(offset);
                self.hand_over(&ticket, *partition, offset, now_ms);
            }
        }
        ticket
    }

    fn hand_over(&mut self, ticket: &Ticket, partition: u32, offset: u64, now_ms: u64) {
        self.deliveries += 1;
        let give_up = self.terms.give_up;
        let lane = lane(&mut self.lanes, partition);
        let end = lane.end();
        let fresh = offset >= end;
        if fresh {
            self.first_deliveries += 1;
            // Behind a record of this batch that was new too, everything has been looked at.
            let checked = offset == end
                && end
                    .checked_sub(1)
                    .and_then(|last| lane.entry(last))
                    .is_some_and(|e| e.ticket == ticket.number);
            let first = if checked { offset } else { lane.first_unfinished(give_up) };
            let undone = (first..offset).find(|&before| {
                !lane.done.contains(before)
                    && lane.entry(before).is_none_or(|entry| {
                        let given_up = give_up.is_some_and(|limit| entry.failures >= limit);
                        entry.ticket != ticket.number && !given_up
                    })
            });
            if let Some(undone) = undone {
                self.order_violations += 1;
                self.note(partition, offset, now_ms, format!("handed over before {undone} was done"));
            }
        } else {
            self.hand_over_again(ticket, partition, offset, now_ms);
        }
        if let Some(kill) = self.causes.killed(ticket.engine) {
            // The request of one who was killed, read only now.
            self.kills[kill].in_flight += 1;
        }
        if let Some(entry) = lane_of(&mut self.lanes, partition).reach(offset) {
            *entry = Entry {
                state: State::InFlight,
                engine: ticket.engine,
                ticket: ticket.number,
                at_ms: now_ms,
                ..*entry
            };
        }
    }

    /// Finds out why a record comes again.
    fn hand_over_again(&mut self, ticket: &Ticket, partition: u32, offset: u64, now_ms: u64) {
        let timeout_ms = self.terms.function_timeout_ms;
        let Some(entry) = lane_of(&mut self.lanes, partition).entry(offset).copied() else {
            match self.causes.was_cut_off(ticket.engine, now_ms) {
                Some(cause) => self.count(format!("committed, by one cut off ({})", cause.words())),
                None => {
                    let engine = ticket.engine;
                    let what = format!("by engine {engine} after its commit");
                    self.surprise(partition, offset, now_ms, &what);
                }
            }
            return;
        };
        let cause = self.causes.cause(entry.engine, entry.at_ms, ticket.engine, now_ms);
        match (entry.state, cause) {
            (State::New, _) => self.first_deliveries += 1,
            (State::Failed, Some((Cause::Kill(kill), _))) => {
                self.kills[kill].again_after_failure += 1;
                self.count("retry after a failed answer".to_owned());
            }
            (State::Failed, _) => self.count("retry after a failed answer".to_owned()),
            // The engine hangs up and tries again before this end of the connection has seen it.
            (State::InFlight, _)
                if entry.engine == ticket.engine && now_ms >= entry.at_ms + timeout_ms * 3 / 4 =>
            {
                self.count("retry after no answer in time".to_owned());
            }
            (State::InFlight | State::Done, Some((cause, before))) => {
                let in_flight = entry.state == State::InFlight || !before;
                if let Cause::Kill(kill) = cause {
                    let count = &mut self.kills[kill];
                    *(if in_flight { &mut count.again_in_flight } else { &mut count.again_since_commit }) +=
                        1;
                }
                let what = if in_flight { "in flight" } else { "done since the last commit" };
                self.count(format!("{what} at a {}", cause.words()));
            }
            (State::Done, None) if entry.late && entry.engine == ticket.engine => {
                self.count("retry after an answer that came late".to_owned());
            }
            (state, None) => {
                let ago = now_ms.saturating_sub(entry.at_ms);
                let (last, engine) = (entry.engine, ticket.engine);
                let text = format!("by engine {engine}; {state:?} {ago} ms before, by engine {last}");
                self.surprise(partition, offset, now_ms, &text);
            }
        }
    }

    /// The function has decided. To be called before the answer is sent, so that whoever acts on the
    /// answer finds it said.
    pub(super) fn finish(&mut self, ticket: &Ticket, said: Said<'_>, now_ms: u64) {
        let late = now_ms.saturating_sub(ticket.begun_ms) * 2 >= self.terms.function_timeout_ms;
        let mut progress = false;
        for (partition, offset) in ticket.records() {
            let done = match said {
                Said::Done => true,
                Said::Failed => false,
                Said::Partly(failed) => failed.binary_search(&(partition, offset)).is_err(),
            };
            let lane = lane_of(&mut self.lanes, partition);
            progress |= done && lane.done.insert(offset);
            if let Some(entry) = lane.entry(offset) {
                entry.failures = entry.failures.saturating_add(u8::from(!done));
                if entry.ticket == ticket.number {
                    entry.state = if done { State::Done } else { State::Failed };
                    (entry.at_ms, entry.late) = (now_ms, late);
                }
            }
        }
        if progress {
            let stall_ms = now_ms.saturating_sub(self.last_done_ms);
            if self.last_done_ms > 0 && self.stall.is_none_or(|(longest, _)| stall_ms > longest) {
                self.stall = Some((stall_ms, self.last_done_ms));
            }
            self.last_done_ms = now_ms;
        }
    }

    /// The answer could not be sent: what it said to be done is not, until it is said again.
    pub(super) fn unsay(&mut self, ticket: &Ticket, now_ms: u64) {
        for (partition, offset) in ticket.records() {
            let lane = lane_of(&mut self.lanes, partition);
            let Some(entry) = lane.entry(offset) else { continue };
            if entry.ticket == ticket.number && entry.state == State::Done {
                (entry.state, entry.at_ms) = (State::Failed, now_ms);
                lane.done.remove(offset);
                lane.unfinish(offset);
            }
        }
    }

    /// The broker says that everything of `partition` below `offset` is committed.
    pub(super) fn on_committed(&mut self, partition: u32, offset: u64, now_ms: u64) {
        let lane = lane(&mut self.lanes, partition);
        let finished = lane.first_unfinished(self.terms.give_up);
        let base = lane.base;
        if offset > finished || offset < base {
            self.commits_wrong += 1;
            let what = if offset < base {
                format!("committed, and {base} was committed before")
            } else {
                format!("committed, and {finished} is not done")
            };
            self.note(partition, offset, now_ms, what);
        }
        lane_of(&mut self.lanes, partition).commit(offset);
    }

    /// An engine joins.
    pub(super) fn on_start(&mut self, engine: u16, now_ms: u64) {
        self.causes.on_start(engine, now_ms);
    }

    /// An engine was killed; what it had in its hands is counted. To be called right after the last
    /// commits have been told.
    pub(super) fn on_kill(&mut self, engine: u16, now_ms: u64) {
        let number = self.causes.on_kill(engine, now_ms);
        let mut count =
            KillCount { mapping: self.terms.name.to_owned(), at_ms: now_ms, ..KillCount::default() };
        for lane in &self.lanes {
            for entry in lane.window.iter().filter(|entry| entry.engine == engine) {
                match entry.state {
                    State::InFlight => count.in_flight += 1,
                    State::Done => count.since_commit += 1,
                    State::Failed => count.failed += 1,
                    State::New => {}
                }
            }
        }
        debug_assert_eq!(number, self.kills.len());
        self.kills.push(count);
    }

    /// An engine was told to stop.
    pub(super) fn on_stop(&mut self, engine: u16, now_ms: u64) {
        self.causes.on_stop(engine, now_ms);
    }

    /// An engine is frozen, or wakes.
    pub(super) fn on_freeze(&mut self, engine: u16, frozen: bool, now_ms: u64) {
        if frozen {
            self.causes.on_freeze(engine, now_ms);
        } else {
            self.causes.on_thaw(engine, now_ms);
        }
    }

    /// The broker goes away, or is back.
    pub(super) fn on_outage(&mut self, away: bool, now_ms: u64) {
        if away {
            self.causes.on_outage(now_ms);
        } else {
            self.causes.on_return(now_ms);
        }
    }

    /// The topic has more partitions.
    pub(super) fn on_growth(&mut self, now_ms: u64) {
        self.causes.on_growth(now_ms);
    }

    /// Something about an event itself is wrong.
    pub(super) fn malformed(&mut self, what: String, now_ms: u64) {
        self.malformed += 1;
        self.list(Finding { partition: None, offset: None, at_ms: now_ms, what });
    }

    /// Records that are done.
    #[must_use]
    pub(super) fn done(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.done.count()).sum()
    }

    /// How often a record has failed so far.
    pub(super) fn failures(&mut self, partition: u32, offset: u64) -> u8 {
        lane(&mut self.lanes, partition).entry(offset).map_or(0, |entry| entry.failures)
    }

    fn count(&mut self, why: String) {
        *self.again.entry(why).or_default() += 1;
    }

    fn surprise(&mut self, partition: u32, offset: u64, now_ms: u64, what: &str) {
        self.unexplained += 1;
        self.note(partition, offset, now_ms, format!("delivered again without a reason: {what}"));
    }

    fn note(&mut self, partition: u32, offset: u64, at_ms: u64, what: String) {
        self.list(Finding { partition: Some(partition), offset: Some(offset), at_ms, what });
    }

    fn list(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

fn lane(lanes: &mut Vec<Lane>, partition: u32) -> &mut Lane {
    let number = partition as usize;
    if number >= lanes.len() {
        lanes.resize_with(number + 1, Lane::default);
    }
    &mut lanes[number]
}

/// The lane of a partition that was seen before.
fn lane_of(lanes: &mut [Lane], partition: u32) -> &mut Lane {
    &mut lanes[partition as usize]
}
