//! A consumer thread: serves its client, gives each poller its turn, commits, sleeps.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::commit::Cadence;
use crate::ids::{Offset, Partition};
use crate::payload::Pool;
use crate::scale::ScalingRules;
use crate::source::{Source, SourceError, SourceEvent, SourceState, Start};
use crate::telemetry::{ArenaBytes, EngineState, ErrorKind, Writer};
use crate::time::Nanos;

use super::commits::Outgoing;
use super::partitions::Owned;
use super::poller::{Bench, Poller};
use super::rebalance::{Change, Rebalance};
use super::repeats::Repeats;
use super::scaling::Scaling;
use super::world::World;
use super::{EngineSettings, Observer};

/// The longest sleep: the client's own timers are served at least this often.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// How soon to look again for a free buffer: one whose frames the HTTP client has not yet let go
/// announces itself to nobody.
const STARVED_SLEEP: Duration = Duration::from_millis(1);
/// How long leaving the group may take.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// What a consumer thread is told at its start.
pub struct ConsumerPlan {
    /// The mapping's, the same for all threads.
    pub settings: Arc<EngineSettings>,
    /// Where it counts.
    pub counters: Writer,
    /// Who is told of its batches.
    pub observer: Option<Arc<dyn Observer>>,
    /// Set from outside when it is to end.
    pub draining: Arc<AtomicBool>,
    /// Its pollers, numbered over all threads: as many as its source has queues.
    pub pollers: Range<usize>,
    /// How many of them are in use, by its lag; `None` for all. Without effect if the source cannot
    /// move partitions.
    pub scaling: Option<ScalingRules>,
}

impl fmt::Debug for ConsumerPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerPlan").field("pollers", &self.pollers).finish_non_exhaustive()
    }
}

/// What a consumer thread does, without the thread: one client, its pollers, its commits.
///
/// [`run`](Self::run) does it until the end. A driver that has its own time, and other members to
/// look after, calls [`turn`](Self::turn) instead.
pub struct ConsumerThread<S: Source> {
    pub(super) source: S,
    pub(super) pollers: Vec<Poller>,
    pub(super) settings: Arc<EngineSettings>,
    pub(super) world: Box<dyn World>,
    pub(super) pool: Pool,
    pub(super) counters: Writer,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) draining: Arc<AtomicBool>,
    pub(super) cadence: Cadence,
    pub(super) rebalance: Rebalance,
    pub(super) problems: Repeats,
    pub(super) scratch: Scratch,
    /// `None` if all pollers are in use all the time.
    pub(super) scaling: Option<Box<Scaling>>,
    /// When a drain that has begun is at its end.
    drain_until: Option<Nanos>,
}

impl<S: Source> fmt::Debug for ConsumerThread<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerThread").field("pollers", &self.pollers).finish_non_exhaustive()
    }
}

/// What comes after one turn of a consumer thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Another turn, at once.
    Again,
    /// Another turn when something arrives, or after so long at the latest.
    Sleep(Duration),
    /// [`ConsumerThread::finish`]: it is drained, or cannot go on.
    End(Result<(), SourceError>),
}

/// Lists kept between turns so that none is allocated in steady state.
#[derive(Default)]
pub(super) struct Scratch {
    events: Vec<SourceEvent>,
    pub(super) offsets: Vec<(Partition, Offset)>,
    pub(super) outgoing: Outgoing,
    pub(super) routes: Vec<(Partition, usize)>,
    pub(super) starts: Vec<Start>,
}

macro_rules! bench {
    ($thread:expr) => {
        Bench {
            settings: &$thread.settings,
            world: &*$thread.world,
            pool: &mut $thread.pool,
            counters: &$thread.counters,
            observer: $thread.observer.as_deref(),
        }
    };
}

impl<S: Source> ConsumerThread<S> {
    /// A thread that reads from `source`, which must have a queue for each poller of `plan`.
    #[must_use]
    pub fn new(plan: ConsumerPlan, source: S, world: Box<dyn World>) -> Self {
        let ConsumerPlan { settings, counters, observer, draining, pollers, scaling } = plan;
        let scaling = scaling.filter(|_| S::REROUTES);
        let scaling = scaling.and_then(|rules| Scaling::new(&rules, pollers.len(), world.now()));
        let in_use = scaling.as_ref().map_or(pollers.len(), |scaling| scaling.pollers());
        counters.set_pollers(in_use as u64);
        Self {
            source,
            pollers: pollers
                .enumerate()
                .map(|(number, name)| Poller::new(number, name, settings.filters.as_ref()))
                .collect(),
            pool: Pool::new(
                settings.arena_budget_bytes,
                settings.limits.payload_bytes_max as usize,
                settings.limits.batch_size as usize,
            ),
            world,
            counters,
            observer,
            draining,
            cadence: Cadence::new(settings.commit_interval),
            rebalance: Rebalance::default(),
            problems: Repeats::default(),
            scratch: Scratch::default(),
            scaling: scaling.map(Box::new),
            settings,
            drain_until: None,
        }
    }

    /// Runs until drained, or until the client cannot go on.
    ///
    /// # Errors
    /// What the client cannot get over.
    pub fn run(mut self) -> Result<(), SourceError> {
        loop {
            match self.turn() {
                Turn::Again => {}
                Turn::Sleep(at_most) => self.world.sleep(at_most),
                Turn::End(verdict) => {
                    self.finish();
                    return verdict;
                }
            }
        }
    }

    /// Serves the client and the answers, gives each poller its turn, commits what is due.
    #[must_use]
    pub fn turn(&mut self) -> Turn {
        if let Err(fatal) = self.serve() {
            return Turn::End(Err(fatal));
        }
        let mut moved = self.answers();
        if self.drain_until.is_none() && self.draining.load(Ordering::Acquire) {
            self.drain_until = Some(self.world.now() + self.settings.drain_deadline);
        }
        let drain_until = self.drain_until;
        for (number, poller) in self.pollers.iter_mut().enumerate() {
            let bench = &mut bench!(self);
            if drain_until.is_some() {
                poller.seal_for_drain(bench);
            }
            moved |= poller.turn(self.source.queue(number), drain_until.is_none(), bench);
        }
        match self.rebalance() {
            Ok(stepped) => moved |= stepped,
            Err(fatal) => return Turn::End(Err(fatal)),
        }
        if drain_until.is_none() {
            moved |= self.scale();
        }
        if moved {
            self.note_moved();
        }
        self.commit_when_due();
        self.report();
        if drain_until.is_some_and(|until| self.is_drained(until)) {
            return Turn::End(Ok(()));
        }
        if moved {
            return Turn::Again;
        }
        match self.sleep_at_most() {
            Duration::ZERO => Turn::Again,
            at_most => Turn::Sleep(at_most),
        }
    }

    /// Takes in what the client has to say.
    pub(super) fn serve(&mut self) -> Result<(), SourceError> {
        let mut events = std::mem::take(&mut self.scratch.events);
        self.source.serve(&mut events);
        let mut verdict = Ok(());
        for event in events.drain(..) {
            match event {
                SourceEvent::Assigned(partitions) => self.rebalance.on_change(Change::Assigned(partitions)),
                SourceEvent::Revoked { partitions, lost } => {
                    self.rebalance.on_change(Change::Revoked { partitions, lost });
                }
                SourceEvent::Committed { error: Some(error), .. } => self.on_commit_failed(&error),
                SourceEvent::Committed { offsets, error: None } => {
                    self.cadence.on_committed(&offsets);
                    self.tell_committed(&offsets);
                }
                SourceEvent::Lag { partition, end } => self.on_end(partition, end),
                SourceEvent::State(state) => {
                    tracing::info!(?state, "source");
                    self.counters.counters().set_state(engine_state(state));
                }
                SourceEvent::Problem(problem) => self.on_problem(&problem, ""),
                SourceEvent::Fatal(fatal) => {
                    tracing::error!("{fatal}");
                    verdict = Err(fatal);
                }
            }
        }
        self.scratch.events = events;
        verdict
    }

    /// Something failed that is tried again, and says so at most every few seconds.
    pub(super) fn on_problem(&mut self, problem: &SourceError, more: &str) {
        self.counters.error(ErrorKind::Polling);
        let text = problem.to_string();
        self.counters.counters().note_problem(&text);
        match self.problems.note(&text, self.world.now()) {
            Some(0) => tracing::warn!("{text}{more}"),
            Some(untold) => tracing::warn!(untold, "{text}{more}"),
            None => {}
        }
    }

    fn answers(&mut self) -> bool {
        let mut any = false;
        while let Some(answer) = self.world.answer() {
            let poller = answer.poller;
            self.pollers[poller].on_answer(&answer, &mut bench!(self));
            any = true;
        }
        any
    }

    fn on_end(&mut self, partition: Partition, end: Offset) {
        if let Some(owned) = self.owned(partition) {
            owned.gauges.set_end(end);
        }
    }

    pub(super) fn owned(&mut self, partition: Partition) -> Option<&mut Owned> {
        self.pollers
            .iter_mut()
            .flat_map(|poller| poller.partitions.owned_mut())
            .find(|owned| owned.partition == partition)
    }

    fn report(&self) {
        let in_flight = self.pollers.iter().filter(|poller| poller.is_in_flight()).count();
        self.counters.set_in_flight(in_flight as u64);
        self.counters.set_arena(ArenaBytes {
            in_use: self.pool.in_use_bytes() as u64,
            free: (self.pool.touched_bytes() - self.pool.in_use_bytes()) as u64,
        });
    }

    fn sleep_at_most(&self) -> Duration {
        let deadlines = self.pollers.iter().filter_map(Poller::deadline);
        let scaling = self.scaling.as_ref().filter(|_| self.drain_until.is_none());
        let scaling = scaling.map(|scaling| scaling.deadline());
        let others = [self.rebalance.deadline(), self.cadence.deadline(), self.drain_until, scaling];
        let next = deadlines.chain(others.into_iter().flatten()).min().unwrap_or(Nanos::NEVER);
        let sleep = next.since(self.world.now()).min(SLEEP_MAX);
        if self.pollers.iter().any(Poller::is_starved) { sleep.min(STARVED_SLEEP) } else { sleep }
    }

    fn is_drained(&self, until: Nanos) -> bool {
        let done = self.pollers.iter().all(Poller::is_idle);
        if !done && self.world.now() >= until {
            let open = self.pollers.iter().filter(|poller| !poller.is_idle()).count();
            tracing::warn!(
                pollers = open,
                "the drain deadline has passed with batches undelivered; they are delivered again after the next start"
            );
            return true;
        }
        done
    }

    /// The memory of its batches.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Commits what is done and leaves the group. What is not done is delivered again, by whoever
    /// reads its partition next.
    pub fn finish(mut self) {
        for poller in &mut self.pollers {
            poller.abandon();
        }
        // What is fatal was logged, and this is the end either way.
        drop(self.commit_and_wait(|_| true));
        self.source.close(CLOSE_DEADLINE);
    }
}

fn engine_state(state: SourceState) -> EngineState {
    match state {
        SourceState::Connecting => EngineState::Starting,
        SourceState::Connected => EngineState::Running,
        SourceState::Disconnected => EngineState::Disconnected,
    }
}
