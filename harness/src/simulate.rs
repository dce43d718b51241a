//! The engine in virtual time: everything that can go wrong, from one number.
//!
//! A run draws a [`Scenario`] from its seed: a topic, a group of a few members, a mapping, and how much
//! goes wrong. Its members are the engine's own [`ConsumerThread`]s, the code that runs in production;
//! around them stands a universe (`universe`) of our own: clocks, a cluster with a
//! group coordinator, a function, a destination. After each step the [`Checker`](checker::Checker)
//! holds what went through the engine's seams against what must be true. Faults end at some moment, and from then on the
//! run must come to its end: every record done, every offset committed.
//!
//! One thread, no clock but the virtual one, all chance from the seed: the same seed is the same run,
//! byte for byte. A run that fails is run again with its trace on.
//!
//! What is not in it: the Kafka client itself and HTTP (tests against real ones have those), a log that is
//! cut back and written anew, mappings that begin at the end of the log, and members that run at the
//! same instant (a turn is one step).

pub mod checker;
mod commits;
mod deliveries;
mod destination;
mod faults;
mod function;
mod group;
mod log;
mod random;
mod scenario;
mod source;
pub mod tally;
pub mod tamper;
mod trace;
mod universe;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pelton::pipeline::{ConsumerPlan, ConsumerThread, EngineSettings, Turn};
use pelton::telemetry::Counters;
use pelton::time::Nanos;

pub use checker::Violation;
pub use random::Random;
pub use scenario::Scenario;
pub use tally::Tally;
pub use tamper::Tamper;

use checker::{End, Fate};
use source::SimSource;
use universe::{Order, Shared, Universe, lock, note};
use world::{SimObserver, SimWorld};

/// Virtual time after the calm within which everything must have ended.
const CALM_PATIENCE: Duration = Duration::from_secs(600);
/// Turns of a run, at most: what goes on for ever at one moment does not reach the patience's end.
const TURNS_MAX: u64 = 400_000;
/// How many of a trace's last lines are shown.
const SHOWN_LINES: usize = 40;

/// A run that went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// What it was.
    pub scenario: Scenario,
    /// What was violated.
    pub violation: Violation,
    /// The last lines of its trace.
    pub trace: Vec<String>,
}

/// Runs `seed`.
///
/// # Errors
/// What it violates, with the end of its trace.
pub fn run(seed: u64) -> Result<Tally, Box<Failure>> {
    run_with(&Scenario::draw(seed), None)
}

/// Runs `scenario`, with something broken on purpose.
///
/// # Errors
/// What it violates, with the end of its trace.
pub fn run_with(scenario: &Scenario, tamper: Option<Tamper>) -> Result<Tally, Box<Failure>> {
    Simulation::new(scenario, tamper, false).run().map_err(|violation| {
        let mut trace = trace_of(scenario, tamper);
        trace.drain(..trace.len().saturating_sub(SHOWN_LINES));
        Box::new(Failure { seed: scenario.seed, scenario: scenario.clone(), violation, trace })
    })
}

/// Everything that happens in a run of `scenario`, line by line.
#[must_use]
pub fn trace_of(scenario: &Scenario, tamper: Option<Tamper>) -> Vec<String> {
    let mut simulation = Simulation::new(scenario, tamper, true);
    let verdict = simulation.run();
    let mut guard = lock(&simulation.universe);
    let universe = &mut *guard;
    if let Err(violation) = verdict {
        note!(universe, "VIOLATED {violation}");
    }
    std::mem::take(&mut universe.trace).into_lines()
}

/// One process of the group.
struct Process {
    thread: ConsumerThread<SimSource>,
    draining: Arc<AtomicBool>,
    counters: Arc<Counters>,
}

struct Simulation {
    universe: Shared,
    settings: Arc<EngineSettings>,
    /// By member; `None` once it has ended.
    processes: Vec<Option<Process>>,
    turns: u64,
    tally: Tally,
}

impl Simulation {
    fn new(scenario: &Scenario, tamper: Option<Tamper>, trace: bool) -> Self {
        Self {
            universe: Arc::new(Mutex::new(Universe::new(scenario, tamper, trace))),
            settings: Arc::new(scenario.settings()),
            processes: Vec::new(),
            turns: 0,
            tally: Tally::default(),
        }
    }

    fn run(&mut self) -> Result<Tally, Violation> {
        let verdict = match catch_unwind(AssertUnwindSafe(|| self.steps())) {
            Ok(verdict) => verdict,
            Err(panic) => Err(Violation { rule: "the engine does not panic", detail: words(&*panic) }),
        };
        // What is left of the engine goes first: it holds the universe.
        for process in &mut self.processes {
            if let Some(process) = process.take() {
                count_batches(&mut self.tally, &process.counters);
            }
        }
        verdict?;
        let mut universe = lock(&self.universe);
        let mut tally = std::mem::take(&mut universe.tally);
        tally.add(&self.tally);
        tally.runs = 1;
        tally.turns = self.turns;
        tally.records = universe.scenario.records;
        tally.time(universe.now.since(Nanos::ZERO));
        tally.deliveries = universe.checker.deliveries;
        tally.duplicates(&universe.checker.duplicates);
        tally.resumed = universe.checker.resumed;
        tally.kept = universe.checker.count(Fate::Kept);
        tally.dropped = universe.checker.count(Fate::Dropped);
        Ok(tally)
    }

    fn steps(&mut self) -> Result<(), Violation> {
        let patience = lock(&self.universe).scenario.calm_at + CALM_PATIENCE;
        loop {
            let (next, orders) = {
                let universe = &mut *lock(&self.universe);
                if let Some(violation) = universe.checker.violation() {
                    return Err(violation.clone());
                }
                if universe.is_finished() {
                    return Ok(());
                }
                if universe.now > Nanos::ZERO + patience || self.turns > TURNS_MAX {
                    return Err(unfinished(universe, self.turns));
                }
                (next_turn(universe), std::mem::take(&mut universe.orders))
            };
            if !orders.is_empty() {
                orders.into_iter().for_each(|order| self.obey(order));
                continue;
            }
            if let Some(member) = next {
                self.turn(member);
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start => self.start(),
            Order::Stop(member) => {
                if let Some(Some(process)) = self.processes.get(member) {
                    process.draining.store(true, Ordering::Release);
                    let universe = &mut *lock(&self.universe);
                    universe.wake(member, universe.now);
                }
            }
            Order::Crash(member) => {
                let Some(process) = self.processes.get_mut(member).and_then(Option::take) else { return };
                let mut universe = lock(&self.universe);
                universe.end_member(member, End::Crash);
                universe.plan_restart();
                drop(universe);
                count_batches(&mut self.tally, &process.counters);
            }
        }
    }

    fn start(&mut self) {
        let (member, pollers) = {
            let universe = &mut *lock(&self.universe);
            // A member that scales has all of them, so that there is something to scale.
            let most = universe.scenario.pollers_max;
            let least = if universe.scenario.scaling.is_some() { most } else { 1 };
            let pollers = usize::try_from(universe.random.between(least, most)).unwrap_or(1);
            (universe.start_member(), pollers)
        };
        let counters = Counters::new(1);
        let draining = Arc::new(AtomicBool::new(false));
        let plan = ConsumerPlan {
            settings: Arc::clone(&self.settings),
            counters: counters.writer(0),
            observer: Some(Arc::new(SimObserver::new(&self.universe, member))),
            draining: Arc::clone(&draining),
            pollers: 4 * member..4 * member + pollers,
            scaling: self.settings.scaling.clone(),
        };
        let source = SimSource::new(&self.universe, member, pollers);
        let world = Box::new(SimWorld::new(&self.universe, member));
        let thread = ConsumerThread::new(plan, source, world);
        self.processes.push(Some(Process { thread, draining, counters }));
    }

    fn turn(&mut self, member: usize) {
        self.turns += 1;
        let Some(process) = self.processes[member].as_mut() else { return };
        let turn = process.thread.turn();
        let pool = process.thread.pool();
        let mut guard = lock(&self.universe);
        let universe = &mut *guard;
        universe.checker.on_memory(member, pool.touched_bytes(), pool.budget_bytes(), pool.in_use());
        let now = universe.now;
        match turn {
            Turn::Again => {
                let after = Duration::from_micros(universe.random.between(1, 30));
                universe.wake(member, now + after);
            }
            Turn::Sleep(at_most) => {
                universe.wake(member, now + at_most);
                universe.wake_for_answers(member);
            }
            Turn::End(verdict) => {
                note!(universe, "member {member} is at its end: {verdict:?}");
                drop(guard);
                self.finish(member);
            }
        }
    }

    fn finish(&mut self, member: usize) {
        let Some(process) = self.processes[member].take() else { return };
        process.thread.finish();
        count_batches(&mut self.tally, &process.counters);
        lock(&self.universe).plan_restart();
    }
}

/// Lets time pass until something is to be done by the driver. Returns whose turn it is.
fn next_turn(universe: &mut Universe) -> Option<usize> {
    if !universe.orders.is_empty() {
        return None;
    }
    let due = universe.members.iter().map(|member| member.wake_at).min().unwrap_or(Nanos::NEVER);
    let next = universe.next_at();
    if next <= due {
        if next == Nanos::NEVER {
            universe.checker.fail("everything ends once the faults end", "nothing is left to happen");
            return None;
        }
        universe.advance_to(next);
        return None;
    }
    universe.now = universe.now.max(due);
    let ready: Vec<usize> =
        (0..universe.members.len()).filter(|&at| universe.members[at].wake_at <= universe.now).collect();
    let member = universe.random.pick(&ready);
    universe.members[member].wake_at = Nanos::NEVER;
    Some(member)
}

fn unfinished(universe: &mut Universe, turns: u64) -> Violation {
    let mut detail = format!("after {:?} and {turns} turns", universe.now.since(Nanos::ZERO));
    for partition in 0..universe.logs.len() {
        let log = &universe.logs[partition];
        let undone = universe.checker.first_undone(log, partition);
        let committed = universe.committed_offset(partition);
        detail.push_str(&format!(
            "; [{partition}] committed {committed:?}, first undone {undone}, end {}",
            log.end
        ));
    }
    Violation { rule: "everything ends once the faults end", detail }
}

fn count_batches(tally: &mut Tally, counters: &Arc<Counters>) {
    let totals = counters.totals();
    for cause in pelton::batch::FlushCause::ALL {
        *tally.batches.entry(cause.label()).or_default() += totals.batches(cause.label());
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words").to_owned()
}
