//! The simulated function and the simulated destination.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use pelton::batch::Payload;
use pelton::deliver::{FunctionErrorKind, Outcome};
use pelton::destination::{DestinationError, Failure};
use pelton::pipeline::{Answer, Answered};
use pelton::time::Nanos;

use super::deliveries::{Carried, Said};
use super::scenario::TOPIC;
use super::tamper::Tamper;
use super::universe::{Event, Universe, note};

/// Something that a member has under way.
#[derive(Debug)]
pub(crate) struct Call {
    number: u64,
    at: Nanos,
    carried: Vec<Carried>,
    what: What,
    answer: Answer,
    /// The bytes are held until the answer, as by an HTTP client.
    _payload: Payload,
}

impl Call {
    /// When its answer comes.
    #[must_use]
    pub(crate) const fn at(&self) -> Nanos {
        self.at
    }
}

#[derive(Debug)]
enum What {
    /// What the answer says of every record.
    All(Said),
    /// These are reported as failed.
    Partial(BTreeSet<(usize, usize)>),
    /// Whether the destination took it.
    GivenUp(bool),
}

/// How an invocation is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Success,
    Error,
    Throttled,
    Refused,
    ServiceFault,
    Unreachable,
    /// It takes longer than the invoker waits: the function may have run.
    TimedOut,
    Partial,
    BadResponse,
}

impl Way {
    const FAULTS: [Self; 8] = [
        Self::Error,
        Self::Throttled,
        Self::Refused,
        Self::ServiceFault,
        Self::Unreachable,
        Self::TimedOut,
        Self::Partial,
        Self::BadResponse,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "function_error",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::ServiceFault => "service_fault",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Partial => "partial",
            Self::BadResponse => "bad_response",
        }
    }

    const fn says(self) -> Said {
        match self {
            Self::Success | Self::Partial => Said::Done,
            Self::Error | Self::TimedOut | Self::BadResponse => Said::Failed,
            Self::Throttled | Self::Refused | Self::ServiceFault | Self::Unreachable => Said::NotReached,
        }
    }
}

impl Universe {
    /// A member invokes the function.
    pub(crate) fn invoke(&mut self, member: usize, poller: usize, payload: Payload) {
        if self.members[member].calls.iter().any(|call| call.answer.poller == poller) {
            self.checker
                .fail("one invocation at a time", format!("poller {poller} of member {member} has two"));
        }
        let number = self.number();
        let in_full = number.is_multiple_of(self.in_full_every);
        let carried = self.checker.on_invoked(&self.logs, member, number, &payload, in_full);
        let poisoned = self.poisoned(&carried);
        let way = self.goes(!poisoned.is_empty());
        let mut takes = match way {
            Way::TimedOut => self.scenario.function_timeout,
            Way::Success | Way::Error | Way::Partial if self.goes_wrong(30) => {
                self.tally.fault("function_slow");
                self.random.ms(100, 3_000)
            }
            _ => self.random.ms(0, 20),
        };
        let way = if takes > self.scenario.function_timeout { Way::TimedOut } else { way };
        takes = takes.min(self.scenario.function_timeout);
        note!(
            self,
            "call {number} of member {member}, poller {poller}: {} ({}) takes {takes:?}",
            self.shown(&carried),
            way.label()
        );
        self.tally.invocation(way.label());
        let reported = if way == Way::Partial { self.reported(&carried, poisoned) } else { BTreeSet::new() };
        let outcome = self.outcome(way, &reported);
        let what = if way == Way::Partial { What::Partial(reported) } else { What::All(way.says()) };
        if self.goes_wrong(50) {
            // The client lets go of the bytes long after the answer.
            let after = takes + self.random.ms(0, 3_000);
            self.tally.fault("bytes_held");
            self.plan(after, Event::Free(payload.clone()));
        }
        self.begin(member, poller, number, (Answered::Invoked(outcome), what), carried, (payload, takes));
    }

    fn begin(
        &mut self,
        member: usize,
        poller: usize,
        number: u64,
        (result, what): (Answered, What),
        carried: Vec<Carried>,
        (payload, takes): (Payload, Duration),
    ) {
        let at = self.now + takes;
        let answer = Answer { poller, result, started_at: self.now, done_at: at };
        self.members[member].calls.push(Call { number, at, carried, what, answer, _payload: payload });
        self.wake(member, at);
    }

    fn shown(&self, carried: &[Carried]) -> String {
        let mut text = String::new();
        for group in carried {
            let log = &self.logs[group.partition];
            let offset = |place: Option<&usize>| place.map_or(0, |place| log.records[*place].offset);
            let (first, last) = (offset(group.places.first()), offset(group.places.last()));
            // Writing to a string does not fail.
            let _ = write!(text, "[{}]@{first}..={last} ({}) ", group.partition, group.places.len());
        }
        text.truncate(text.trim_end().len());
        text
    }

    fn poisoned(&self, carried: &[Carried]) -> BTreeSet<(usize, usize)> {
        if self.calm && !self.scenario.gives_up() {
            return BTreeSet::new();
        }
        let all = carried.iter().flat_map(|group| group.places.iter().map(|&place| (group.partition, place)));
        all.filter(|&(partition, place)| self.logs[partition].records[place].poisoned).collect()
    }

    fn goes(&mut self, poisoned: bool) -> Way {
        let reports = self.scenario.rules.report_item_failures;
        if self.now < self.function_out_until || self.goes_wrong(self.faults.invocation) {
            let most = if reports { Way::FAULTS.len() } else { Way::FAULTS.len() - 2 };
            let way = self.random.pick(&Way::FAULTS[..most]);
            self.tally.fault(way.label());
            return way;
        }
        match poisoned {
            false => Way::Success,
            // A function that reports item failures may still fail as a whole.
            true if reports && !self.random.chance(200) => Way::Partial,
            true => Way::Error,
        }
    }

    /// The records that a function reports: the poisoned ones, or any.
    fn reported(
        &mut self,
        carried: &[Carried],
        poisoned: BTreeSet<(usize, usize)>,
    ) -> BTreeSet<(usize, usize)> {
        if !poisoned.is_empty() {
            return poisoned;
        }
        let mut reported = BTreeSet::new();
        for group in carried {
            for &place in &group.places {
                if self.random.chance(300) {
                    reported.insert((group.partition, place));
                }
            }
        }
        reported
    }

    fn outcome(&mut self, way: Way, reported: &BTreeSet<(usize, usize)>) -> Outcome {
        let reason = || "simulated".to_owned();
        match way {
            Way::Success => {
                let replies: &[&str] = &["", "null", "{}", r#"{"batchItemFailures":[]}"#, r#""a string""#, "17"];
                // Without partial responses nobody reads what is returned.
                let most = if self.scenario.rules.report_item_failures { 4 } else { replies.len() };
                respond(self.random.pick(&replies[..most]))
            }
            Way::Error => Outcome::FunctionError {
                kind: if self.random.chance(500) { FunctionErrorKind::Unhandled } else { FunctionErrorKind::Handled },
                error_type: Some(reason()),
                message: None,
            },
            Way::Throttled => Outcome::Throttled {
                retry_after: self.random.chance(300).then_some(Duration::from_millis(700)),
                reason: None,
            },
            Way::Refused => Outcome::Refused { status: 403, code: None, message: Some(reason()) },
            Way::ServiceFault => Outcome::ServiceFault { status: 502, code: None, message: Some(reason()) },
            Way::Unreachable => Outcome::Unreachable { reason: reason() },
            Way::TimedOut => Outcome::TimedOut { after: self.scenario.function_timeout },
            Way::Partial => {
                let items: Vec<String> = reported.iter().map(|&(partition, place)| self.item(partition, place)).collect();
                respond(&format!(r#"{{"batchItemFailures":[{}]}}"#, items.join(",")))
            }
            Way::BadResponse => respond(self.random.pick(&[
                "not json",
                "[]",
                r#"{"batchItemFailures":17}"#,
                r#"{"batchItemFailures":[{}]}"#,
                r#"{"batchItemFailures":[{"itemIdentifier":{"partition":"orders-0","offset":4611686018427387904}}]}"#,
            ])),
        }
    }

    fn item(&mut self, partition: usize, place: usize) -> String {
        let offset = self.logs[partition].records[place].offset;
        let name = self.random.pick(&["partition", "topic-partition"]);
        format!(r#"{{"itemIdentifier":{{"{name}":"{TOPIC}-{partition}","offset":{offset}}}}}"#)
    }

    /// A member gives records to the destination.
    pub(crate) fn give_up(&mut self, member: usize, poller: usize, failure: &Failure) {
        let number = self.number();
        let wall_ms = self.wall_ms();
        if self.members[member].calls.iter().any(|call| call.answer.poller == poller) {
            self.checker
                .fail("one thing at a time", format!("poller {poller} of member {member} has two under way"));
        }
        let carried = self.checker.on_giving_up(&self.logs, member, number, failure, wall_ms);
        let taken = !self.goes_wrong(self.faults.destination);
        if !taken {
            self.tally.fault("destination_failed");
        }
        let slow = self.goes_wrong(50);
        let takes = if slow { self.random.ms(100, 4_000) } else { self.random.ms(0, 20) };
        note!(
            self,
            "call {number} of member {member}, poller {poller}: gives up {} ({:?}), taken: {taken}",
            self.shown(&carried),
            failure.condition
        );
        let told = taken || self.breaks(Tamper::FalseKeeping);
        let result = if told { Ok(()) } else { Err(DestinationError::new("simulated", "out of order")) };
        let payload = failure.event.clone();
        self.begin(
            member,
            poller,
            number,
            (Answered::GivenUp(result), What::GivenUp(taken)),
            carried,
            (payload, takes),
        );
    }

    /// The member takes the next answer that has come.
    pub(crate) fn answer(&mut self, member: usize) -> Option<Answer> {
        let now = self.now;
        let calls = &mut self.members[member].calls;
        let ready = calls.iter().enumerate().filter(|(_, call)| call.at <= now);
        let (at, _) = ready.min_by_key(|(_, call)| (call.at, call.number))?;
        let Call { number, carried, what, mut answer, .. } = calls.remove(at);
        if self.calm && self.breaks(Tamper::LoseAnswer) {
            return None;
        }
        note!(self, "call {number} of member {member} is answered");
        match what {
            What::All(said) => {
                self.checker.on_answered(member, number, &carried, |_, _| said);
                if said != Said::Done && self.breaks(Tamper::FalseSuccess) {
                    answer.result = Answered::Invoked(respond(""));
                }
            }
            What::Partial(reported) => {
                self.checker.on_answered(member, number, &carried, |partition, place| {
                    if reported.contains(&(partition, place)) { Said::Reported } else { Said::Done }
                });
            }
            What::GivenUp(taken) => self.checker.on_kept(member, number, &carried, taken),
        }
        Some(answer)
    }
}

fn respond(body: &str) -> Outcome {
    Outcome::Success { response_bytes: body.len(), response: bytes::Bytes::copy_from_slice(body.as_bytes()) }
}
