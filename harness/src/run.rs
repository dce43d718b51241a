//! One run, from start to end: source, warm-up, load, drain, audit, result.

pub(crate) mod feed;
mod outcome;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use pelton::telemetry::Counters;
use pelton::time::{Clock, Nanos, wall_ms};

use crate::load::{LoadReport, RunningLoad};
use crate::measure::cpu::{CpuTimes, Role, Roles};
use crate::measure::curve::CpuCurve;
use crate::measure::machine::Machine;
use crate::meter::Meter;
use crate::result::RunResult;
use crate::subject::{self, Feed, Subject};
use crate::workload::scenario::{End, Scenario};
use crate::workload::spec::Spec;

use feed::Ground;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// The scenario's name, for the result.
    pub name: String,
    /// The scenario as written, for the result.
    pub spec: Spec,
    /// The scenario.
    pub scenario: Scenario,
}

/// Where a run stands, told about five times a second.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// What it is doing.
    pub phase: Phase,
    /// How much of the load is done, from 0 to 1.
    pub done_share: f64,
    /// Records delivered so far.
    pub records: u64,
    /// Records sent and neither delivered nor filtered out yet; zero from memory.
    pub lag: u64,
    /// Since the run began.
    pub at: Nanos,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Source, loader and engine find each other.
    Starting,
    /// Load that is not measured.
    WarmUp,
    /// Load that is.
    Measuring,
    /// The rest is delivered and committed.
    Draining,
}

/// How often a run looks around.
const LOOK: Duration = Duration::from_millis(10);
/// How often it says what it sees.
const TELL: Duration = Duration::from_millis(200);
/// How long a run waits for the engine when nothing at all is delivered. Longer than the longest
/// pause between two attempts.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `plan`. `interrupted` ends the load early; what was loaded is still delivered, audited and
/// reported.
///
/// # Errors
/// If the run cannot be made: no broker, no engine, a loader that fails at once.
pub fn run(
    plan: &RunPlan,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(Tick),
) -> anyhow::Result<RunResult> {
    run_probed(plan, interrupted, tell, &mut Unwatched)
}

/// Looks on while a run is measured.
pub trait Probe {
    /// The engine is about to start on `feed`.
    fn prepare(&mut self, feed: &mut Feed);

    /// The engine is measured. Called about every 10 ms from the end of the warm-up on.
    fn look(&mut self, view: &View<'_>);

    /// The load is over; what is still under way is delivered afterwards.
    fn over(&mut self, view: &View<'_>);
}

/// What a [`Probe`] sees.
#[derive(Clone, Copy, Debug)]
pub struct View<'v> {
    /// On the run's clock.
    pub now: Nanos,
    /// What the engine has counted.
    pub counters: &'v Counters,
    /// The engine's threads, those of its Kafka client included.
    pub threads: &'v [u32],
}

/// Nobody looks on.
struct Unwatched;

impl Probe for Unwatched {
    fn prepare(&mut self, _: &mut Feed) {}
    fn look(&mut self, _: &View<'_>) {}
    fn over(&mut self, _: &View<'_>) {}
}

/// As [`run`], with somebody looking on.
///
/// # Errors
/// As [`run`].
pub fn run_probed(
    plan: &RunPlan,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(Tick),
    probe: &mut dyn Probe,
) -> anyhow::Result<RunResult> {
    let mut roles = Roles::new();
    roles.claim(Role::Harness);
    let clock = Clock::start();
    let started_at_unix_ms = wall_ms();
    let mut ground = Ground::prepare(&plan.scenario, &mut roles, clock)?;
    let meter = Meter::start(&ground.starts(), ground.origin())?;
    roles.claim(Role::Harness);
    let mut feed = ground.feed();
    probe.prepare(&mut feed);
    let subject =
        subject::start(&plan.scenario.mapping, &feed, &plan.scenario.function, &(meter.tap() as _), clock)?;
    let mut watch = Watch {
        plan,
        meter,
        subject,
        roles,
        clock,
        interrupted,
        tell,
        probe,
        told_at: Nanos::ZERO,
        engine_cpu: CpuCurve::default(),
    };
    let primed = watch.prime(&mut ground)?;
    let (window, load) = watch.load(&mut ground, primed)?;
    let Watch { meter, subject, engine_cpu, .. } = watch;
    let (invocations, remarks) = subject.end();
    let measured = meter.finish();
    let ends = ground.ends();
    let finished = Finished {
        started_at_unix_ms,
        interrupted: interrupted.load(Ordering::Relaxed),
        window,
        engine_cpu,
        load,
        invocations,
        remarks,
        starts: ground.starts(),
        ends,
        outstanding_bytes_peak: ground.outstanding_bytes_peak(),
        machine: Machine::look(),
    };
    let result = outcome::result(plan, &measured, finished);
    ground.end()?;
    Ok(result)
}

/// Everything a result is made of, beside what the meter saw.
struct Finished {
    started_at_unix_ms: i64,
    interrupted: bool,
    window: Window,
    engine_cpu: CpuCurve,
    load: Option<LoadReport>,
    invocations: std::collections::BTreeMap<String, u64>,
    remarks: Vec<String>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    outstanding_bytes_peak: u64,
    machine: Machine,
}

/// What passed between the end of the warm-up and the last delivery.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// The end of the warm-up.
    from: Nanos,
    /// The last delivery.
    until: Nanos,
    /// From the first reading to the last: a little less than between the two.
    elapsed: Duration,
    records: u64,
    bytes: u64,
    cpu: CpuTimes,
    stalls: u64,
}

/// A look at everything that counts.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Nanos,
    records: u64,
    bytes: u64,
    cpu: CpuTimes,
}

/// Watches a run.
struct Watch<'r> {
    plan: &'r RunPlan,
    meter: Meter,
    subject: Subject,
    roles: Roles,
    clock: Clock,
    interrupted: &'r AtomicBool,
    tell: &'r mut dyn FnMut(Tick),
    probe: &'r mut dyn Probe,
    told_at: Nanos,
    engine_cpu: CpuCurve,
}

impl Watch<'_> {
    /// Sends a record to each partition and waits for them: then the engine reads all of them.
    /// Returns how many.
    fn prime(&mut self, ground: &mut Ground) -> anyhow::Result<u64> {
        let primed = ground.prime()?;
        let since = self.clock.now();
        while self.meter.progress().reached() < primed {
            self.look(Phase::Starting, 0.0, 0)?;
            if self.interrupted.load(Ordering::Relaxed) {
                bail!("interrupted before anything was measured");
            }
            if self.clock.now() - since > PATIENCE {
                bail!(
                    "the engine has delivered {} of the first {primed} records in {} s; run with RUST_LOG=pelton=debug \
                     to see what it waits for",
                    self.meter.progress().reached(),
                    PATIENCE.as_secs()
                );
            }
        }
        Ok(primed)
    }

    /// Loads, and waits until everything sent was delivered.
    fn load(&mut self, ground: &mut Ground, primed: u64) -> anyhow::Result<(Window, Option<LoadReport>)> {
        let scenario = &self.plan.scenario;
        let start = self.clock.now();
        let measure_from = start + scenario.warm_up;
        let (until, records_max) = match scenario.end {
            End::After(duration) => (measure_from + duration, u64::MAX),
            End::Records(records) => (Nanos::NEVER, records),
        };
        self.meter.progress().measure_from(measure_from);
        // Whoever has appeared so far and is not claimed is the engine; who comes next, the loader.
        self.roles.claim(Role::Engine);
        let load = ground.load(start, until, records_max, measure_from)?;
        self.roles.claim(Role::Load);
        let mut first = None;
        while !self.is_loaded(ground, load.as_ref(), until) {
            let now = self.clock.now();
            if now >= measure_from && first.is_none() {
                first = Some(self.read());
            }
            let phase = if first.is_some() { Phase::Measuring } else { Phase::WarmUp };
            if phase == Phase::Measuring {
                self.show(|probe, view| probe.look(view));
            }
            let (share, sent) = self.share(load.as_ref(), measure_from, until, records_max);
            self.look(phase, share, sent + primed)?;
        }
        self.show(|probe, view| probe.over(view));
        ground.stop();
        let report = load.map(RunningLoad::join);
        let at_end = self.read();
        let total = ground.total();
        self.drain(total)?;
        // From memory there is always more, so the end of the load ends the window. From a broker
        // the rest belongs to it.
        let last = if report.is_some() { self.read() } else { at_end };
        let window = first.map(|first| Window {
            from: measure_from,
            until: last.at,
            elapsed: last.at - first.at,
            records: last.records - first.records,
            bytes: last.bytes - first.bytes,
            cpu: last.cpu.since(&first.cpu),
            stalls: self.meter.progress().stalls(),
        });
        Ok((window.unwrap_or_default(), report))
    }

    /// Shows the engine to whoever looks on.
    fn show(&mut self, to: impl FnOnce(&mut dyn Probe, &View<'_>)) {
        let threads = self.roles.threads(Role::Engine);
        let view =
            View { now: self.clock.now(), counters: self.subject.engine.counters(), threads: &threads };
        to(self.probe, &view);
    }

    fn is_loaded(&self, ground: &Ground, load: Option<&RunningLoad>, until: Nanos) -> bool {
        let over = self.interrupted.load(Ordering::Relaxed);
        match load {
            Some(load) => {
                if over {
                    load.stop();
                }
                load.is_finished()
            }
            None => over || self.clock.now() >= until || ground.is_exhausted(),
        }
    }

    /// How much of the load is done, and how many records were sent.
    #[expect(clippy::cast_precision_loss, reason = "a share for a progress bar")]
    fn share(
        &self,
        load: Option<&RunningLoad>,
        measure_from: Nanos,
        until: Nanos,
        records_max: u64,
    ) -> (f64, u64) {
        let sent = load.map_or(0, RunningLoad::records);
        let share = if until == Nanos::NEVER {
            sent.max(self.meter.progress().reached()) as f64 / records_max as f64
        } else {
            let start = measure_from.0 - self.plan.scenario.warm_up.as_nanos() as u64;
            (self.clock.now().0 - start) as f64 / (until.0 - start) as f64
        };
        (share.min(1.0), sent)
    }

    /// Waits until deliveries have reached the last of `total` records. Gives up, and leaves it to
    /// the audit to say what is missing, when nothing moves any more.
    fn drain(&mut self, total: Option<u64>) -> anyhow::Result<()> {
        let Some(total) = total else { return Ok(()) };
        let mut moved = (self.clock.now(), 0);
        while self.meter.progress().reached() < total && self.subject.engine.is_running() {
            self.look(Phase::Draining, 1.0, total)?;
            let reached = self.meter.progress().reached();
            if reached > moved.1 {
                moved = (self.clock.now(), reached);
            }
            if self.clock.now() - moved.0 > PATIENCE {
                break;
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Reading {
        let progress = self.meter.progress();
        let reading = Reading {
            at: self.clock.now(),
            records: progress.records(),
            bytes: progress.bytes(),
            cpu: self.roles.read(Role::Engine),
        };
        self.engine_cpu.add(reading.at, reading.cpu.engine);
        reading
    }

    /// Sleeps a moment, and tells what there is.
    fn look(&mut self, phase: Phase, done_share: f64, sent: u64) -> anyhow::Result<()> {
        std::thread::park_timeout(LOOK);
        let now = self.clock.now();
        if now - self.told_at >= TELL {
            self.told_at = now;
            let (records, reached) = (self.meter.progress().records(), self.meter.progress().reached());
            (self.tell)(Tick { phase, done_share, records, lag: sent.saturating_sub(reached), at: now });
        }
        if self.engine_cpu.is_due(now) {
            self.engine_cpu.add(now, self.roles.read(Role::Engine).engine);
        }
        if !self.subject.engine.is_running() && phase == Phase::Starting {
            bail!("the engine ended before it had delivered anything; its last words are in the log");
        }
        Ok(())
    }
}

impl RunResult {
    /// The exit code of a run: 0 if it is clean, 1 if not.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.is_clean())
    }
}
