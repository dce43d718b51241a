//! One batch's way from sealed to done.

use super::backoff::{Backoff, RetryPolicy};
use super::outcome::Outcome;
use super::part::{Part, Records};
use super::plan::{GivenUp, Next, Step, Verdict};
use super::response::{self, Report, ResponseError};
use super::rules::FailureRules;
use crate::ids::Offset;
use crate::time::Nanos;

#[derive(Clone, Debug)]
enum State {
    /// The part may be invoked from then on.
    Due(Nanos),
    /// It is being invoked.
    Invoked,
    /// It is given up; `due` is when to tell the destination, `None` while that is under way.
    GivenUp {
        why: GivenUp,
        due: Option<Nanos>,
    },
    Done,
}

/// The attempts of one batch: which of its records to invoke with, when, and when to stop.
///
/// Make one when a batch is sealed. Ask [`next`](Self::next), do it, report by
/// [`on_outcome`](Self::on_outcome), [`on_given_up`](Self::on_given_up) or
/// [`on_destination_failed`](Self::on_destination_failed), and again until [`Next::Done`].
///
/// A batch is one **part** at first. A part is split in two where the function fails on it
/// (`bisect`), and shrinks to the records that the function reports (`report_item_failures`). Parts
/// are delivered one at a time, earlier records first, each until it is delivered or given up: so
/// records of a partition stay in order, but for those that the function itself picked out.
///
/// What counts, as AWS has it:
/// - An attempt that did not reach the function (throttled, refused, service fault, not connected)
///   waits and is made again, for ever. It uses up no retry and splits nothing, but for an event that
///   was refused as too large (413): that is split, or it would be refused for ever.
/// - A function error, a timeout and a response that cannot be followed fail the whole part.
/// - An attempt that is followed by a split uses up no retry: a poisoned record is found however
///   few retries there are, and each half keeps the retries that the part had.
/// - A part that was reported in full by the function is tried again as it is, not split: the
///   function has said which records it means.
///
/// Waits double with each failure in a row of one part; after a split they begin anew, or finding
/// one record of 10,000 would take minutes.
///
/// Positions only: the batch's bytes are not touched, and nothing is encoded again. Allocates only
/// when a part is split or shrinks.
#[derive(Clone, Debug)]
pub struct Delivery {
    rules: FailureRules,
    backoff: Backoff,
    /// That of the on-failure destination.
    destination: Backoff,
    part: Part,
    /// Later ones; the next is the last.
    rest: Vec<Part>,
    state: State,
    /// Positions that a response reported.
    failed: Vec<u32>,
    attempts_used: u32,
    attempts_apart: u32,
}

impl Delivery {
    /// A batch of `records` that has not been tried. Give each batch its own `seed`, or those that
    /// fail together return together.
    #[must_use]
    pub const fn new(rules: FailureRules, retry: RetryPolicy, records: u32, seed: u64) -> Self {
        Self {
            rules,
            backoff: Backoff::new(retry, seed),
            destination: Backoff::new(retry, !seed),
            part: Part::all(records),
            rest: Vec::new(),
            state: State::Due(Nanos::ZERO),
            failed: Vec::new(),
            attempts_used: 0,
            attempts_apart: 0,
        }
    }

    /// A batch of one record that no event can hold: given up from the start.
    #[must_use]
    pub fn outsized(retry: RetryPolicy, seed: u64) -> Self {
        let why = GivenUp::PayloadSizeExceeded;
        let state = State::GivenUp { why, due: Some(Nanos::ZERO) };
        Self { state, ..Self::new(FailureRules::default(), retry, 1, seed) }
    }

    /// What to do now. Call at the start, after each report, and when a wait is over; what it says
    /// must be done, for it is said once.
    ///
    /// `now_ms` is the wall clock and `timestamp_ms` the timestamp of the record at a position, both
    /// in milliseconds since the Unix epoch; they are asked only if there is a limit to record age.
    pub fn next(&mut self, now: Nanos, now_ms: i64, timestamp_ms: impl Fn(u32) -> i64) -> Next {
        match self.state {
            State::Done => return Next::Done,
            State::Invoked | State::GivenUp { due: None, .. } => return Next::Wait { until: Nanos::NEVER },
            State::Due(until) | State::GivenUp { due: Some(until), .. } if now < until => {
                return Next::Wait { until };
            }
            State::Due(_) | State::GivenUp { .. } => {}
        }
        if let State::GivenUp { due, .. } = &mut self.state {
            *due = None;
            Next::GiveUp
        } else if self.expire(now_ms, timestamp_ms) {
            Next::GiveUp
        } else {
            self.state = State::Invoked;
            Next::Invoke
        }
    }

    /// Splits off what is too old to be sent, to be given up first.
    fn expire(&mut self, now_ms: i64, timestamp_ms: impl Fn(u32) -> i64) -> bool {
        let Some(max) = self.rules.record_age_max else { return false };
        let max_ms = i64::try_from(max.as_millis()).unwrap_or(i64::MAX);
        // Records of brokers before 0.10 have no timestamp, which Kafka says as -1.
        let too_old = |position| {
            let timestamp_ms = timestamp_ms(position);
            timestamp_ms >= 0 && now_ms.saturating_sub(timestamp_ms) > max_ms
        };
        if !self.part.records.ranges().flatten().any(too_old) {
            return false;
        }
        let expired = self.part.records.take(too_old);
        let expired = self.part.with(expired);
        let left = std::mem::replace(&mut self.part, expired);
        if !left.records.is_empty() {
            self.rest.push(left);
        }
        self.state = State::GivenUp { why: GivenUp::RecordAgeExceeded, due: None };
        true
    }

    /// The invocation that [`Next::Invoke`] asked for ended at `now`. What is delivered by it is
    /// given to `done`.
    ///
    /// `find` is the position of the record with this offset under this key of the event
    /// (`TOPIC-PARTITION`), if it was in the event; asked only if item failures are reported.
    pub fn on_outcome(
        &mut self,
        outcome: &Outcome,
        now: Nanos,
        find: impl FnMut(&str, Offset) -> Option<u32>,
        done: &mut Records,
    ) -> (Verdict, Step) {
        if !matches!(self.state, State::Invoked) {
            return (Verdict::Late, Step::NextPart);
        }
        if !outcome.reached_function() {
            self.attempts_apart = self.attempts_apart.saturating_add(1);
            if matches!(outcome, Outcome::Refused { status: 413, .. }) && self.part.records.count() > 1 {
                return (Verdict::NotReached, self.split(now));
            }
            let at = now + self.backoff.on_failure(outcome.retry_after());
            self.state = State::Due(at);
            return (Verdict::NotReached, Step::Retry { at });
        }
        self.attempts_used = self.attempts_used.saturating_add(1);
        self.part.invocations = self.part.invocations.saturating_add(1);
        match outcome {
            Outcome::Success { response, response_bytes } => match self.read(response, *response_bytes, find)
            {
                Ok(Report::Complete) => {
                    done.extend(self.part.records.ranges());
                    self.backoff.reset();
                    (Verdict::Delivered, self.advance())
                }
                Ok(Report::Partial) => self.on_partial(now, done),
                Err(error) => {
                    let step = self.on_failure(Some("Unhandled"), now);
                    (Verdict::BadResponse(error), step)
                }
            },
            Outcome::FunctionError { kind, .. } => {
                (Verdict::Failed, self.on_failure(Some(kind.as_str()), now))
            }
            // AWS ends a function that runs into its timeout as an unhandled error.
            _ => (Verdict::Failed, self.on_failure(Some("Unhandled"), now)),
        }
    }

    fn read(
        &mut self,
        response: &[u8],
        response_bytes: usize,
        mut find: impl FnMut(&str, Offset) -> Option<u32>,
    ) -> Result<Report, ResponseError> {
        if !self.rules.report_item_failures {
            return Ok(Report::Complete);
        }
        if response.len() != response_bytes {
            return Err(ResponseError::NotKept);
        }
        let records = &self.part.records;
        let find = |key: &str, offset| find(key, offset).filter(|position| records.contains(*position));
        response::parse(response, find, &mut self.failed)
    }

    /// The function reported some of the part's records.
    fn on_partial(&mut self, now: Nanos, done: &mut Records) -> (Verdict, Step) {
        let failed = Records::of_positions(self.failed.iter().copied());
        done.extend(self.part.records.without(&failed).ranges());
        let verdict = Verdict::Partial { failed: failed.count() };
        self.part.records = failed;
        (verdict, self.retry(None, now))
    }

    /// The whole part failed.
    fn on_failure(&mut self, function_error: Option<&str>, now: Nanos) -> Step {
        if !self.rules.bisect || self.part.records.count() < 2 {
            return self.retry(function_error, now);
        }
        self.split(now)
    }

    /// Two halves instead of the part.
    fn split(&mut self, now: Nanos) -> Step {
        let later = self.part.records.split();
        self.rest.push(self.part.with(later));
        self.backoff.reset();
        let at = now + self.backoff.on_failure(None);
        self.state = State::Due(at);
        Step::Split { at }
    }

    /// An attempt is used up.
    fn retry(&mut self, function_error: Option<&str>, now: Nanos) -> Step {
        self.part.used = self.part.used.saturating_add(1);
        if self.rules.retries_max.is_some_and(|most| self.part.used > most) {
            let why = GivenUp::RetriesExhausted {
                // A function that fails is answered with 200 as one that returns.
                status_code: 200,
                function_error: function_error.map(str::to_owned),
            };
            self.state = State::GivenUp { why, due: Some(now) };
            return Step::GiveUp;
        }
        let at = now + self.backoff.on_failure(None);
        self.state = State::Due(at);
        Step::Retry { at }
    }

    /// The part is at its end.
    fn advance(&mut self) -> Step {
        match self.rest.pop() {
            Some(part) => {
                self.part = part;
                self.state = State::Due(Nanos::ZERO);
                Step::NextPart
            }
            None => {
                self.state = State::Done;
                Step::Done
            }
        }
    }

    /// Why the records of [`part`](Self::part) are given up, between [`Next::GiveUp`] and its
    /// report.
    #[must_use]
    pub const fn given_up(&self) -> Option<&GivenUp> {
        match &self.state {
            State::GivenUp { why, .. } => Some(why),
            _ => None,
        }
    }

    /// The destination has taken what [`Next::GiveUp`] gave up, or there is none: these records are
    /// done, and given to `done`.
    pub fn on_given_up(&mut self, done: &mut Records) -> Step {
        if !matches!(self.state, State::GivenUp { due: None, .. }) {
            return Step::NextPart;
        }
        done.extend(self.part.records.ranges());
        self.destination.reset();
        // What remains of a part whose oldest records are too old fails for the same reason as before:
        // to begin anew there would be to call a function that is down again and again.
        if !matches!(self.state, State::GivenUp { why: GivenUp::RecordAgeExceeded, .. }) {
            self.backoff.reset();
        }
        self.advance()
    }

    /// The destination has not taken them: it is told again, for ever, as failures are spaced. No
    /// record is done before it is somewhere.
    pub fn on_destination_failed(&mut self, now: Nanos) -> Step {
        let at = now + self.destination.on_failure(None);
        match &mut self.state {
            State::GivenUp { due: due @ None, .. } => {
                *due = Some(at);
                Step::Retry { at }
            }
            _ => Step::NextPart,
        }
    }

    /// Takes out records that somebody else delivers now (their partition was revoked). Not while
    /// [`is_under_way`](Self::is_under_way). The batch is done if none is left.
    pub fn remove(&mut self, gone: &Records) {
        debug_assert!(!self.is_under_way(), "what is under way cannot be changed");
        for part in &mut self.rest {
            part.records = part.records.without(gone);
        }
        self.rest.retain(|part| !part.records.is_empty());
        self.part.records = self.part.records.without(gone);
        if self.part.records.is_empty() && !self.is_done() {
            self.advance();
        }
    }

    /// The records that are invoked, given up or waited for now.
    #[must_use]
    pub const fn part(&self) -> &Part {
        &self.part
    }

    /// Whether the part is the whole batch, as long as nothing was removed.
    #[must_use]
    pub fn is_whole(&self, records: u32) -> bool {
        self.rest.is_empty() && self.part.records == Records::all(records)
    }

    /// Whether an invocation runs, or the destination is being told.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        matches!(self.state, State::Invoked | State::GivenUp { due: None, .. })
    }

    /// Whether every record is delivered or given up.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Attempts so far, over all parts, however they ended.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts_used.saturating_add(self.attempts_apart)
    }

    /// Attempts that reached the function, over all parts.
    #[must_use]
    pub const fn attempts_used(&self) -> u32 {
        self.attempts_used
    }

    /// Attempts that never reached the function: throttled, refused, not connected. They wait, and
    /// use nothing up.
    #[must_use]
    pub const fn attempts_apart(&self) -> u32 {
        self.attempts_apart
    }
}
