//! Slices of a run, profiled and not, in turns.
//!
//! Both kinds see the same load on the same threads, so that comparing them says what profiling
//! itself costs. Their order is turned with each pair, lest one of them always comes second.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::Duration;

use pelton::telemetry::{Count, Counters, Totals};
use pelton::time::Nanos;

use super::counters::{Counting, HardwareCounters};
use super::objects::{self, CodeObject};
use super::sampler::{self, Sampler};
use super::stages::ThreadKind;
use super::unwind::Unwinder;
use crate::run::{Probe, View};
use crate::subject::Feed;

/// How a profile is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionSettings {
    /// CPU time of a thread between two samples.
    pub interval: Duration,
    /// How long a slice without samples is; one with them is three times as long.
    pub slice: Duration,
}

/// Takes a profile of whatever engine it is shown.
pub struct Session {
    settings: SessionSettings,
    sampler: Sampler,
    unwinder: Unwinder,
    objects: Vec<CodeObject>,
    hardware: Option<(HardwareCounters, Delivered)>,
    current: Option<(bool, Mark)>,
    shares: HashMap<u32, Share>,
    seen: Seen,
}

/// What of a thread's CPU time in profiled slices no sample stands for yet. A thread that runs a
/// little at a time is seldom running when the kernel's clock ticks: its next sample stands for all
/// the time since the one before, in earlier slices too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    /// Left from earlier slices.
    carried: Duration,
    /// What the samples of this slice stand for by themselves.
    sampled: Duration,
}

impl Share {
    /// A sample that stands for `intervals`. Returns how many it stands for with what was carried.
    fn on_sample(&mut self, intervals: u64, interval: Duration) -> u64 {
        self.sampled += interval.saturating_mul(u32::try_from(intervals).unwrap_or(u32::MAX));
        let carried = u64::try_from(self.carried.as_nanos() / interval.as_nanos().max(1)).unwrap_or(0);
        self.carried -= interval.saturating_mul(u32::try_from(carried).unwrap_or(0)).min(self.carried);
        intervals + carried
    }

    /// A profiled slice has ended, in which the thread has used `used`.
    fn on_slice(&mut self, used: Duration) {
        self.carried += used.saturating_sub(self.sampled);
        self.sampled = Duration::ZERO;
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// In order of time.
    pub slices: Vec<Slice>,
    /// Threads of the engine.
    pub threads: BTreeMap<u32, Thread>,
    /// Intervals of CPU time for each thread's stacks, as addresses, innermost first.
    pub stacks: HashMap<(u32, Vec<u64>), Weight>,
    /// Intervals whose samples were lost.
    pub dropped_intervals: u64,
    /// Samples whose stack could not be read.
    pub without_stack: u64,
    /// What the hardware counted, or why it did not.
    pub counting: Option<Counting>,
}

/// How often a stack was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Samples.
    pub samples: u64,
    /// Intervals that they stand for.
    pub intervals: u64,
}

/// A thread of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// As the kernel knows it.
    pub name: String,
    /// Whose it is.
    pub kind: ThreadKind,
    /// CPU time in profiled slices.
    pub cpu_profiled: Duration,
}

/// One slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Whether samples were taken.
    pub profiled: bool,
    /// How long it was.
    pub elapsed: Duration,
    /// What was delivered in it.
    pub delivered: Delivered,
    /// CPU time of the engine's threads.
    pub cpu: Duration,
}

struct Mark {
    at: Nanos,
    delivered: Delivered,
    cpu: Vec<(u32, Duration)>,
}

/// What an engine has delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Records that the function has acknowledged.
    pub records: u64,
    /// Batches that were sealed.
    pub batches: u64,
    /// Bytes of their events.
    pub payload_bytes: u64,
}

impl Session {
    /// A session that begins when it is shown an engine that is measured.
    ///
    /// # Errors
    /// If there is one in this process already, or the kernel does not say what code is mapped.
    pub fn new(settings: SessionSettings) -> anyhow::Result<Self> {
        let objects = objects::of_this_process()?;
        Ok(Self {
            settings,
            sampler: Sampler::new(settings.interval)?,
            unwinder: Unwinder::new(&objects),
            objects,
            hardware: None,
            current: None,
            shares: HashMap::new(),
            seen: Seen::default(),
        })
    }

    /// Whether anything was delivered in a profiled slice so far.
    #[must_use]
    pub fn has_profiled(&self) -> bool {
        self.seen.slices.iter().any(|slice| slice.profiled && slice.delivered.records > 0)
    }

    /// Slices so far.
    #[must_use]
    pub fn slices(&self) -> usize {
        self.seen.slices.len()
    }

    /// Ends it. Returns what was seen, and the code to look it up in.
    #[must_use]
    pub fn finish(mut self) -> (Seen, Vec<CodeObject>) {
        self.drain();
        self.seen.dropped_intervals = self.sampler.dropped_intervals();
        (self.seen, self.objects)
    }

    /// How long a slice is: most of the time is for samples.
    fn length(&self, profiled: bool) -> Duration {
        if profiled { PROFILED_SLICES * self.settings.slice } else { self.settings.slice }
    }

    fn drain(&mut self) {
        let Self { sampler, unwinder, seen, shares, settings, .. } = self;
        sampler.drain(|sample| {
            seen.without_stack += u64::from(sample.stack.is_empty());
            let weight = seen.stacks.entry((sample.thread, unwinder.walk(&sample))).or_default();
            weight.samples += 1;
            let share = shares.entry(sample.thread).or_default();
            weight.intervals += share.on_sample(sample.intervals, settings.interval);
        });
    }

    /// Begins a slice.
    fn begin(&mut self, profiled: bool, view: &View<'_>) {
        for thread in view.threads {
            self.seen.threads.entry(*thread).or_insert_with(|| Thread::look(*thread));
        }
        if self.hardware.is_none() {
            let threads: Vec<_> =
                self.seen.threads.iter().map(|(number, thread)| (*number, thread.kind)).collect();
            self.hardware = Some((HardwareCounters::open(&threads), Delivered::of(view.counters)));
        }
        if profiled && let Err(error) = self.sampler.arm(view.threads) {
            tracing::error!("no samples in this slice: {error}");
        }
        self.current = Some((profiled, Mark::new(view)));
    }

    /// Ends the slice that is open.
    fn end(&mut self, view: &View<'_>) {
        let Some((profiled, mark)) = self.current.take() else { return };
        let now = Mark::new(view);
        if profiled {
            self.sampler.disarm();
        }
        self.drain();
        let mut cpu = Duration::ZERO;
        for (thread, used) in &now.cpu {
            let before =
                mark.cpu.iter().find(|(other, _)| other == thread).map_or(Duration::ZERO, |(_, cpu)| *cpu);
            let used = used.saturating_sub(before);
            cpu += used;
            if profiled && let Some(seen) = self.seen.threads.get_mut(thread) {
                seen.cpu_profiled += used;
                self.shares.entry(*thread).or_default().on_slice(used);
            }
        }
        self.seen.slices.push(Slice {
            profiled,
            elapsed: now.at - mark.at,
            delivered: now.delivered.since(&mark.delivered),
            cpu,
        });
    }
}

impl Probe for Session {
    fn prepare(&mut self, feed: &mut Feed) {
        if let Feed::Kafka(feed) = feed {
            // librdkafka's threads hold back all signals but this one: then they can be sampled too.
            feed.properties.push(("internal.termination.signal".to_owned(), sampler::SIGNAL.to_string()));
        }
    }

    fn look(&mut self, view: &View<'_>) {
        self.drain();
        match &self.current {
            None => self.begin(is_profiled(0), view),
            Some((profiled, mark)) if view.now - mark.at >= self.length(*profiled) => {
                self.end(view);
                self.begin(is_profiled(self.seen.slices.len()), view);
            }
            Some(_) => {}
        }
    }

    fn over(&mut self, view: &View<'_>) {
        // What is left of a slice is worth keeping if it is most of one, or the only one.
        let worth = self.current.as_ref().is_some_and(|(profiled, mark)| {
            view.now - mark.at >= self.length(*profiled) / 2 || self.seen.slices.len() < 2
        });
        if worth {
            self.end(view);
        } else if let Some((true, _)) = self.current.take() {
            self.sampler.disarm();
            // Its samples stand for time that is not counted.
            self.sampler.drain(|_| {});
            self.shares.values_mut().for_each(|share| share.sampled = Duration::ZERO);
        }
        if let Some((hardware, before)) = self.hardware.take() {
            let records = Delivered::of(view.counters).since(&before).records;
            self.seen.counting = Some(hardware.read(records));
        }
    }
}

/// A profiled slice is so many times as long as another.
const PROFILED_SLICES: u32 = 3;

/// Slices come as plain, profiled, profiled, plain.
const fn is_profiled(slice: usize) -> bool {
    matches!(slice % 4, 1 | 2)
}

impl Thread {
    fn look(thread: u32) -> Self {
        let name = fs::read_to_string(format!("/proc/self/task/{thread}/comm")).unwrap_or_default();
        let name = name.trim_end().to_owned();
        Self { kind: ThreadKind::of(&name), name, cpu_profiled: Duration::ZERO }
    }
}

impl Mark {
    fn new(view: &View<'_>) -> Self {
        let cpu =
            view.threads.iter().filter_map(|thread| Some((*thread, sampler::cpu_time(*thread)?))).collect();
        Self { at: view.now, delivered: Delivered::of(view.counters), cpu }
    }
}

impl Delivered {
    /// So far.
    #[must_use]
    pub fn of(counters: &Counters) -> Self {
        let totals: Totals = counters.totals();
        Self {
            records: totals.records(Count::Delivered),
            batches: totals.payload_bytes.count(),
            payload_bytes: totals.payload_bytes.sum() as u64,
        }
    }

    /// What was delivered since `earlier`.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            records: self.records.saturating_sub(earlier.records),
            batches: self.batches.saturating_sub(earlier.batches),
            payload_bytes: self.payload_bytes.saturating_sub(earlier.payload_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::sync::mpsc;
    use std::thread;

    use pelton::payload::{Tier, internals};
    use pelton::time::Clock;

    use super::super::analysis::Stages;
    use super::super::sampler::tests::{ONE_AT_A_TIME, own_thread};
    use super::super::stages::Stage;
    use super::super::symbols::Symbols;
    use super::*;

    /// Short beside a slice, so that every slice sees many.
    const STEP: Duration = Duration::from_millis(4);

    /// Works on something until so much CPU time is used.
    fn work(for_cpu: Duration, mut something: impl FnMut()) {
        let until = sampler::cpu_time(own_thread()).unwrap() + for_cpu;
        while sampler::cpu_time(own_thread()).unwrap() < until {
            // Asking the clock is work of the harness, and should be next to nothing.
            for _ in 0..500 {
                something();
            }
        }
    }

    /// Three quarters of its time in the base64 kernel, one quarter in code of the harness.
    fn worker(number: &mpsc::Sender<u32>, stop: &mpsc::Receiver<()>) {
        number.send(own_thread()).unwrap();
        let value = vec![7; 3_000];
        let values = [&value[..]];
        let mut out = vec![0; internals::out_bytes(&values)];
        while stop.try_recv().is_err() {
            work(3 * STEP, || {
                black_box(internals::base64(Tier::best(), &values, &mut out));
            });
            work(STEP, || {
                black_box((0..100u64).map(|n| black_box(n).rotate_left(3)).sum::<u64>());
            });
        }
    }

    #[test]
    fn a_sample_stands_for_what_earlier_slices_left_over() {
        let ms = Duration::from_millis;
        let mut share = Share::default();
        // Two slices in which the clock never ticked while the thread ran.
        share.on_slice(ms(3));
        share.on_slice(ms(2));
        assert_eq!(share.on_sample(4, ms(1)), 9);
        assert_eq!(share.on_sample(4, ms(1)), 4);
        share.on_slice(ms(10));
        assert_eq!(share, Share { carried: ms(2), sampled: ms(0) });
    }

    #[test]
    fn time_is_assigned_to_the_stage_where_it_was_spent() {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (number, numbers) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        let spinning =
            thread::Builder::new().name("pelton-0".into()).spawn(move || worker(&number, &stopped)).unwrap();
        let threads = [numbers.recv().unwrap()];
        let (counters, clock) = (Counters::new(1), Clock::start());
        let slice = Duration::from_millis(100);
        let interval = Duration::from_millis(1);
        let mut session = Session::new(SessionSettings { interval, slice }).unwrap();
        let used = || sampler::cpu_time(threads[0]).unwrap();
        let until = used() + Duration::from_millis(2_400);
        while used() < until {
            session.look(&View { now: clock.now(), counters: &counters, threads: &threads });
            thread::park_timeout(Duration::from_millis(5));
        }
        session.over(&View { now: clock.now(), counters: &counters, threads: &threads });
        let (seen, objects) = session.finish();
        stop.send(()).unwrap();
        spinning.join().unwrap();

        let cpu_profiled = seen.threads[&threads[0]].cpu_profiled;
        let in_slices: Duration =
            seen.slices.iter().filter(|slice| slice.profiled).map(|slice| slice.cpu).sum();
        assert_eq!(cpu_profiled, in_slices);
        assert!(seen.slices.iter().any(|slice| !slice.profiled), "{:?}", seen.slices);
        let symbols = Symbols::new(objects);
        let stages = Stages::of(&seen, &symbols, symbols.detail());
        assert_eq!(stages.total().as_millis(), cpu_profiled.as_millis(), "stages add up to the whole");
        let share = |stage| {
            let (cpu, _) = stages.by_stage.get(&stage).copied().unwrap_or_default();
            cpu.as_secs_f64() / cpu_profiled.as_secs_f64()
        };
        // Some hundred samples: this is three times what chance does. The loop around the kernel is
        // of the payload too.
        let encode = share(Stage::Base64) + share(Stage::Json);
        assert!((encode - 0.75).abs() < 0.12 && share(Stage::Base64) > 0.5, "{:?}", stages.by_stage);
        assert!((share(Stage::Harness) - 0.25).abs() < 0.12, "{:?}", stages.by_stage);
        let sampling = super::super::analysis::sampling(&seen, interval);
        assert!((sampling.covered_share - 1.0).abs() < 0.15, "{sampling:?}");
        assert!(matches!(seen.counting, Some(Counting::Counted(_) | Counting::Refused(_))));
    }
}
