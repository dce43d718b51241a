//! The batch in flight: from hand-over to done, through retries, splits and giving up.

use std::fmt;
use std::sync::Arc;

use crate::batch::SealedBatch;
use crate::deliver::{GivenUp, Next, Outcome, Records, Step, Verdict};
use crate::destination::{Condition, Destination, DestinationError, FailedResponse, Failure};
use crate::ids::{Partition, Topic};
use crate::telemetry::{Count, ErrorKind, Writer};
use crate::time::Nanos;

use super::listing;
use super::parcel::{Flight, Parcel};
use super::poller::{Bench, Poller, ordered};
use super::world::{Answer, Answered};
use super::{BatchTrace, EngineSettings};

impl Poller {
    /// Hands over the ready batch, unless one is in flight.
    pub(super) fn launch(&mut self, bench: &mut Bench<'_>) {
        if self.flight.is_some() {
            return;
        }
        let Some(parcel) = self.ready.take() else { return };
        let now = bench.world.now();
        self.flight = Some(Flight { parcel, handed_at: now, sent_at: None, done_at: now, due: now });
        self.effort.begin(now);
        self.pursue(bench);
    }

    /// Does what the delivery of the batch in flight asks for, if that is due. Returns whether
    /// anything moved.
    pub(super) fn pursue(&mut self, bench: &mut Bench<'_>) -> bool {
        let mut moved = false;
        while let Some(flight) = self.flight.as_mut() {
            let now = bench.world.now();
            if now < flight.due {
                break;
            }
            let Parcel { batch, delivery, .. } = &mut flight.parcel;
            match delivery.next(now, bench.world.wall_ms(), |position| batch.timestamp_ms(position)) {
                Next::Wait { until } => {
                    flight.due = until;
                    break;
                }
                Next::Invoke => {
                    flight.due = Nanos::NEVER;
                    let payload = flight.parcel.payload();
                    bench.counters.records(Count::Invoked, u64::from(payload.records()));
                    bench.world.invoke(self.number, payload);
                }
                Next::GiveUp => self.give_up(bench),
                Next::Done => self.complete(bench),
            }
            moved = true;
        }
        moved
    }

    /// What was in flight was answered.
    pub(super) fn on_answer(&mut self, answer: &Answer, bench: &mut Bench<'_>) {
        let Some(flight) = self.flight.as_mut() else {
            debug_assert!(false, "an answer without anything in flight");
            return;
        };
        flight.done_at = answer.done_at;
        flight.due = Nanos::ZERO;
        match &answer.result {
            Answered::Invoked(outcome) => self.on_invoked(outcome, answer, bench),
            Answered::GivenUp(Ok(())) => self.on_given_up(bench, true),
            Answered::GivenUp(Err(error)) => self.on_destination_failed(error, answer.done_at, bench),
        }
        self.shed(bench.pool);
        self.pursue(bench);
    }

    fn on_invoked(&mut self, outcome: &Outcome, answer: &Answer, bench: &Bench<'_>) {
        let Some(flight) = self.flight.as_mut() else { return };
        flight.sent_at.get_or_insert(answer.started_at);
        let Parcel { batch, delivery, .. } = &mut flight.parcel;
        let sent = delivery.part().records().clone();
        let find = |key: &str, offset| batch.find(partition_of(key, &bench.settings.topic)?, offset);
        self.done.clear();
        let (verdict, step) = delivery.on_outcome(outcome, answer.done_at, find, &mut self.done);
        if verdict == Verdict::Late {
            debug_assert!(false, "an answer that nobody waits for");
            return;
        }
        let attempt = Attempt { sent: &sent, outcome, verdict: &verdict, step, answer };
        attempt.count(&self.done, bench.counters);
        self.effort.on_attempt(matches!(outcome, Outcome::Throttled { .. }));
        if verdict != Verdict::Delivered {
            attempt.log(self.name, flight, bench.settings);
        }
        self.note_delivered(bench);
    }

    /// Moves watermarks past what was delivered, and tells who measures.
    fn note_delivered(&mut self, bench: &Bench<'_>) {
        let Some(flight) = self.flight.as_ref().filter(|_| !self.done.is_empty()) else { return };
        note_ages(&flight.parcel.batch, &self.done, bench.world.wall_ms(), bench.counters);
        if let Some(observer) = bench.observer {
            observer.on_delivered(&BatchTrace {
                batch: &flight.parcel.batch,
                records: &self.done,
                poller: self.name,
                attempts: flight.parcel.delivery.attempts(),
                encode: flight.parcel.encode,
                handed_at: flight.handed_at,
                sent_at: flight.sent_at.unwrap_or(flight.handed_at),
                done_at: flight.done_at,
            });
        }
        self.mark_done(&bench.settings.topic);
    }

    /// Moves watermarks past what is done now.
    fn mark_done(&mut self, topic: &Topic) {
        let Some(flight) = self.flight.as_ref() else { return };
        for piece in flight.parcel.batch.pieces(self.done.ranges()) {
            if let Some(owned) = self.partitions.get_mut(piece.run.slot) {
                ordered(owned.watermark.on_done(piece.first, piece.reaches), topic, owned.partition);
            }
        }
    }

    /// Gives up the records that the delivery says: to the destination, if there is one.
    fn give_up(&mut self, bench: &Bench<'_>) {
        let Some(flight) = self.flight.as_mut() else { return };
        let Some(why) = flight.parcel.delivery.given_up() else { return };
        if bench.settings.destination.is_none() {
            return self.on_given_up(bench, false);
        }
        flight.due = Nanos::NEVER;
        let failure = Failure {
            event: flight.parcel.payload(),
            condition: Condition::from(why),
            invocations: flight.parcel.delivery.part().invocations(),
            response: match why {
                GivenUp::RetriesExhausted { status_code, function_error } => Some(FailedResponse {
                    status_code: *status_code,
                    executed_version: bench.settings.function_version.as_ref().to_owned(),
                    function_error: function_error.clone(),
                }),
                GivenUp::RecordAgeExceeded | GivenUp::PayloadSizeExceeded => None,
            },
            at_ms: bench.world.wall_ms(),
        };
        bench.world.give_up(self.number, Arc::new(failure));
    }

    /// The records that are given up are done: the destination has `kept` them, or there is none.
    fn on_given_up(&mut self, bench: &Bench<'_>, kept: bool) {
        let Some(flight) = self.flight.as_mut() else { return };
        let Parcel { batch, delivery, .. } = &mut flight.parcel;
        let Some(condition) = delivery.given_up().map(Condition::from) else { return };
        self.done.clear();
        let invocations = delivery.part().invocations();
        delivery.on_given_up(&mut self.done);
        let records = u64::from(self.done.count());
        let destination = bench.settings.destination.as_deref().map(Destination::name);
        let offsets = listing::offsets(batch, &self.done);
        tracing::warn!(
            mapping = &*bench.settings.name,
            poller = self.name,
            topic = %bench.settings.topic,
            records,
            offsets,
            condition = condition.name(),
            invocations,
            destination,
            "records given up: {}",
            if kept { "the on-failure destination has them" } else { "dropped, as there is no destination_config" }
        );
        bench.counters.records(if kept { Count::ToDestination } else { Count::Dropped }, records);
        if let Some(observer) = bench.observer {
            for piece in batch.pieces(self.done.ranges()) {
                observer.on_given_up(piece.run.partition, piece.first, piece.last, kept);
            }
        }
        self.mark_done(&bench.settings.topic);
    }

    fn on_destination_failed(&mut self, error: &DestinationError, at: Nanos, bench: &Bench<'_>) {
        let Some(flight) = self.flight.as_mut() else { return };
        let Parcel { batch, delivery, .. } = &mut flight.parcel;
        let step = delivery.on_destination_failed(at);
        bench.counters.error(ErrorKind::Destination);
        let text = error.to_string();
        bench.counters.counters().note_problem(&text);
        tracing::warn!(
            mapping = &*bench.settings.name,
            poller = self.name,
            topic = %bench.settings.topic,
            records = delivery.part().records().count(),
            offsets = listing::offsets(batch, delivery.part().records()),
            next = step.label(),
            wait_ms = wait_ms(step, at),
            "the on-failure destination has not taken records: {text}; they stay undone and are given to it again"
        );
    }

    /// Nothing of the batch in flight is left.
    fn complete(&mut self, bench: &mut Bench<'_>) {
        let Some(flight) = self.flight.take() else { return };
        self.effort.end(flight.done_at);
        if let Some(open) = self.open.as_mut() {
            open.on_idle(flight.done_at);
        }
        bench.pool.give_back(flight.parcel.batch);
        self.partitions.reclaim();
    }
}

/// The partition that a key of an event (`TOPIC-PARTITION`) means.
fn partition_of(key: &str, topic: &Topic) -> Option<Partition> {
    let digits = key.strip_prefix(topic.as_str())?.strip_prefix('-')?;
    // As the event spells it: no sign, no leading zero.
    let canonical = digits == "0" || digits.starts_with(|c: char| ('1'..='9').contains(&c));
    digits.parse().ok().filter(|_| canonical).map(Partition)
}

/// Counts how old the delivered records are by their own timestamps.
fn note_ages(batch: &SealedBatch, records: &Records, now_ms: i64, counters: &Writer) {
    let mut same = (0, 0);
    for position in records.ranges().flatten() {
        // Records of one producer batch share a timestamp more often than not.
        let timestamp_ms = batch.timestamp_ms(position);
        if same.0 != timestamp_ms {
            counters.record_age(now_ms.saturating_sub(same.0), same.1);
            same = (timestamp_ms, 0);
        }
        same.1 += 1;
    }
    counters.record_age(now_ms.saturating_sub(same.0), same.1);
}

/// One attempt that was answered.
struct Attempt<'a> {
    sent: &'a Records,
    outcome: &'a Outcome,
    verdict: &'a Verdict,
    step: Step,
    answer: &'a Answer,
}

impl Attempt<'_> {
    fn label(&self) -> &'static str {
        match self.verdict {
            Verdict::Partial { .. } => "partial",
            Verdict::BadResponse(_) => "bad_response",
            _ => self.outcome.label(),
        }
    }

    fn count(&self, done: &Records, counters: &Writer) {
        counters.invocation(self.label(), self.answer.done_at - self.answer.started_at);
        counters.records(Count::Delivered, u64::from(done.count()));
        if *self.verdict != Verdict::Delivered {
            counters.error(ErrorKind::Invoke);
            counters.records(Count::Failed, u64::from(self.sent.count() - done.count()));
        }
    }

    /// One event for each attempt that failed, wholly or in part. What the function says of its error
    /// is in it; payloads and responses never are.
    fn log(&self, poller: usize, flight: &Flight, settings: &EngineSettings) {
        let (error_type, error_message) = match self.outcome {
            Outcome::FunctionError { error_type, message, .. } => (error_type.as_deref(), message.as_deref()),
            Outcome::Throttled { reason, .. } => (None, reason.as_deref()),
            Outcome::Refused { code, message, .. } | Outcome::ServiceFault { code, message, .. } => {
                (code.as_deref(), message.as_deref())
            }
            _ => (None, None),
        };
        let failed = match self.verdict {
            Verdict::Partial { failed } => *failed,
            _ => self.sent.count(),
        };
        tracing::warn!(
            mapping = &*settings.name,
            poller,
            topic = %settings.topic,
            records = self.sent.count(),
            failed,
            offsets = listing::offsets(&flight.parcel.batch, self.sent),
            attempt = flight.parcel.delivery.attempts(),
            outcome = self.label(),
            error_type,
            error_message,
            next = self.step.label(),
            wait_ms = wait_ms(self.step, self.answer.done_at),
            "invocation failed: {self}"
        );
    }
}

fn wait_ms(step: Step, since: Nanos) -> Option<u64> {
    step.at().map(|at| u64::try_from((at - since).as_millis()).unwrap_or(u64::MAX))
}

impl fmt::Display for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Partial { failed } => write!(f, "the function reports {failed} records as failed"),
            Verdict::BadResponse(error) => write!(f, "{error}"),
            _ => write!(f, "{}", self.outcome),
        }
    }
}
