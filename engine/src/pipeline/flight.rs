//! The batch in flight: from hand-over to done, through retries, splits and giving up.

use crate::batch::SealedBatch;
use crate::deliver::{GivenUp, Next, Outcome, Records, Step, Verdict};
use crate::ids::{Partition, Topic};
use crate::telemetry::{Count, ErrorKind, Writer};
use crate::time::Nanos;

use super::listing;
use super::parcel::{Flight, Parcel};
use super::poller::{Bench, Poller, ordered};
use super::world::Answer;
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

    /// The invocation in flight was answered.
    pub(super) fn on_answer(&mut self, answer: &Answer, bench: &mut Bench<'_>) {
        let Some(flight) = self.flight.as_mut() else {
            debug_assert!(false, "an answer without an invocation");
            return;
        };
        flight.sent_at.get_or_insert(answer.started_at);
        flight.done_at = answer.done_at;
        let Parcel { batch, delivery, .. } = &mut flight.parcel;
        let sent = delivery.part().records().clone();
        let find = |key: &str, offset| batch.find(partition_of(key, &bench.settings.topic)?, offset);
        self.done.clear();
        let (verdict, step) = delivery.on_outcome(&answer.outcome, answer.done_at, find, &mut self.done);
        flight.due = Nanos::ZERO;
        if verdict == Verdict::Late {
            debug_assert!(false, "an answer that nobody waits for");
            return;
        }
        count(&verdict, &sent, &self.done, answer, bench.counters);
        if verdict != Verdict::Delivered {
            log_failure(self.name, flight, &sent, answer, (&verdict, step), bench.settings);
        }
        self.note_delivered(bench);
        self.shed(bench.pool);
        self.pursue(bench);
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

    /// Gives up the records that the delivery says.
    fn give_up(&mut self, bench: &Bench<'_>) {
        let Some(flight) = self.flight.as_mut() else { return };
        let Parcel { batch, delivery, .. } = &mut flight.parcel;
        let given_up = delivery.part().records();
        let why = delivery.given_up().map_or("", GivenUp::label);
        tracing::warn!(
            mapping = &*bench.settings.name,
            poller = self.name,
            topic = %bench.settings.topic,
            records = given_up.count(),
            offsets = listing::offsets(batch, given_up),
            condition = why,
            invocations = delivery.part().invocations(),
            "records dropped: given up, and there is no on-failure destination (destination_config)"
        );
        bench.counters.records(Count::Dropped, u64::from(given_up.count()));
        if let Some(observer) = bench.observer {
            for piece in batch.pieces(given_up.ranges()) {
                observer.on_given_up(piece.run.partition, piece.first, piece.last, false);
            }
        }
        self.done.clear();
        delivery.on_given_up(&mut self.done);
        self.mark_done(&bench.settings.topic);
    }

    /// Nothing of the batch in flight is left.
    fn complete(&mut self, bench: &mut Bench<'_>) {
        let Some(flight) = self.flight.take() else { return };
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

fn count(verdict: &Verdict, sent: &Records, done: &Records, answer: &Answer, counters: &Writer) {
    let label = match verdict {
        Verdict::Partial { .. } => "partial",
        Verdict::BadResponse(_) => "bad_response",
        _ => answer.outcome.label(),
    };
    counters.invocation(label, answer.done_at - answer.started_at);
    counters.records(Count::Delivered, u64::from(done.count()));
    if *verdict != Verdict::Delivered {
        counters.error(ErrorKind::Invoke);
        counters.records(Count::Failed, u64::from(sent.count() - done.count()));
    }
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

/// One event for each attempt that failed, wholly or in part. What the function said of it is in
/// it; payloads and responses never are.
fn log_failure(
    poller: usize,
    flight: &Flight,
    sent: &Records,
    answer: &Answer,
    (verdict, step): (&Verdict, Step),
    settings: &EngineSettings,
) {
    let (error_type, error_message) = match &answer.outcome {
        Outcome::FunctionError { error_type, message, .. } => (error_type.as_deref(), message.as_deref()),
        Outcome::Throttled { reason, .. } => (None, reason.as_deref()),
        Outcome::Refused { code, message, .. } | Outcome::ServiceFault { code, message, .. } => {
            (code.as_deref(), message.as_deref())
        }
        _ => (None, None),
    };
    let failed = match verdict {
        Verdict::Partial { failed } => *failed,
        _ => sent.count(),
    };
    tracing::warn!(
        mapping = &*settings.name,
        poller,
        topic = %settings.topic,
        records = sent.count(),
        failed,
        offsets = listing::offsets(&flight.parcel.batch, sent),
        attempt = flight.parcel.delivery.attempts(),
        outcome = answer.outcome.label(),
        error_type,
        error_message,
        next = step.label(),
        wait_ms = step.at().map(|at| u64::try_from((at - answer.done_at).as_millis()).unwrap_or(u64::MAX)),
        "invocation failed: {}",
        Told { verdict, outcome: &answer.outcome }
    );
}

/// An attempt in words.
struct Told<'a> {
    verdict: &'a Verdict,
    outcome: &'a Outcome,
}

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.verdict {
            Verdict::Partial { failed } => write!(f, "the function reports {failed} records as failed"),
            Verdict::BadResponse(error) => write!(f, "{error}"),
            _ => write!(f, "{}", self.outcome),
        }
    }
}
