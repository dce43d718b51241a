//! Start and stop.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam::sync::{Parker, Unparker};

use crate::invoke::Invoker;
use crate::scale::ScalingRules;
use crate::source::{Source, SourceError};
use crate::telemetry::Counters;
use crate::time::Clock;

use super::dispatch::Dispatch;
use super::thread::{ConsumerPlan, ConsumerThread};
use super::{EngineSettings, Observer, POLLERS_MAX, THREADS_MAX};

/// Ends a consumer thread's sleep. Given to its source, which calls it from any thread whenever
/// records or events have arrived.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What a consumer thread's source is made for.
#[derive(Clone)]
pub struct ThreadPlan {
    /// The thread's number, from 0.
    pub thread: usize,
    /// How many pollers it hosts, and so how many queues its source must have.
    pub pollers: usize,
    /// To be called when something has arrived.
    pub wake: Wake,
}

impl fmt::Debug for ThreadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPlan")
            .field("thread", &self.thread)
            .field("pollers", &self.pollers)
            .finish_non_exhaustive()
    }
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A setting is out of its range.
    #[error("{field} = {value}: must be {allowed}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// What was given.
        value: usize,
        /// What is allowed.
        allowed: String,
    },
    /// The source could not be made.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The machine refused a thread.
    #[error("cannot start {what}: {reason}")]
    Spawn {
        /// Which thread.
        what: &'static str,
        /// The system's words.
        reason: std::io::Error,
    },
}

/// Records in, invocations out: starts the threads of one mapping.
#[derive(Debug)]
pub struct Engine;

impl Engine {
    /// Starts consumer threads and the invocation side. `connect` makes the source of each thread;
    /// `clock` is the line on which all instants lie.
    ///
    /// # Errors
    /// If a setting is out of range, a source cannot be made or a thread cannot be started.
    pub fn start<S, I>(
        settings: EngineSettings,
        mut connect: impl FnMut(ThreadPlan) -> Result<S, SourceError>,
        invoker: &Arc<I>,
        observer: Option<&Arc<dyn Observer>>,
        clock: Clock,
    ) -> Result<EngineHandle, EngineError>
    where
        S: Source + 'static,
        I: Invoker,
    {
        check(&settings)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.invocation_threads)
            .thread_name("pelton-invoke")
            .enable_all()
            .build()
            .map_err(|reason| EngineError::Spawn { what: "the invocation side", reason })?;
        let counters = Counters::new(settings.threads);
        let draining = Arc::new(AtomicBool::new(false));
        let settings = Arc::new(settings);
        let mut handle = EngineHandle {
            threads: Vec::with_capacity(settings.threads),
            unparkers: Vec::with_capacity(settings.threads),
            counters: Arc::clone(&counters),
            draining: Arc::clone(&draining),
            runtime: Some(runtime),
        };
        let mut named = 0;
        for thread in 0..settings.threads {
            let pollers = share(settings.pollers, settings.threads, thread);
            let parker = Parker::new();
            let unparker = parker.unparker().clone();
            let wake: Wake = {
                let unparker = unparker.clone();
                Arc::new(move || unparker.unpark())
            };
            // Should this fail, dropping the handle drains the threads that run already.
            let source = connect(ThreadPlan { thread, pollers, wake })?;
            let world = Dispatch::start(
                handle.runtime(),
                pollers,
                (invoker, settings.destination.as_ref()),
                parker,
                clock,
            );
            let consumer = ConsumerThread::new(
                ConsumerPlan {
                    settings: Arc::clone(&settings),
                    counters: counters.writer(thread),
                    observer: observer.cloned(),
                    draining: Arc::clone(&draining),
                    pollers: named..named + pollers,
                    scaling: settings.scaling.as_ref().map(|all| share_of(all, settings.threads, thread)),
                },
                source,
                Box::new(world),
            );
            named += pollers;
            let join = std::thread::Builder::new()
                .name(format!("pelton-{thread}"))
                .spawn(move || consumer.run())
                .map_err(|reason| EngineError::Spawn { what: "a consumer thread", reason })?;
            handle.threads.push(join);
            handle.unparkers.push(unparker);
        }
        Ok(handle)
    }
}

fn check(settings: &EngineSettings) -> Result<(), EngineError> {
    let within = |field, value, least: usize, most: usize| {
        if (least..=most).contains(&value) {
            Ok(())
        } else {
            Err(EngineError::Setting { field, value, allowed: format!("{least} to {most}") })
        }
    };
    within("threads", settings.threads, 1, THREADS_MAX)?;
    within("pollers", settings.pollers, settings.threads, POLLERS_MAX)?;
    if let Some(ScalingRules { pollers_min, pollers_max, .. }) = settings.scaling {
        let (least, most) = (pollers_min as usize, pollers_max as usize);
        within("scaling.pollers_min", least, settings.threads, settings.pollers)?;
        within("scaling.pollers_max", most, least, settings.pollers)?;
    }
    within("invocation_threads", settings.invocation_threads, 1, THREADS_MAX)
}

/// The rules of one thread, which scales its share of the pollers.
fn share_of(all: &ScalingRules, threads: usize, thread: usize) -> ScalingRules {
    let share = |pollers: u32| {
        // A share is no more than the whole.
        u32::try_from(share(pollers as usize, threads, thread)).unwrap_or(pollers)
    };
    ScalingRules { pollers_min: share(all.pollers_min), pollers_max: share(all.pollers_max), ..all.clone() }
}

/// The pollers of one thread, spread as evenly as can be.
fn share(pollers: usize, threads: usize, thread: usize) -> usize {
    pollers / threads + usize::from(thread < pollers % threads)
}

/// A running engine. Dropping it drains it.
#[derive(Debug)]
pub struct EngineHandle {
    threads: Vec<JoinHandle<Result<(), SourceError>>>,
    unparkers: Vec<Unparker>,
    counters: Arc<Counters>,
    draining: Arc<AtomicBool>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// How an engine ended.
#[derive(Debug)]
pub struct Report {
    /// What the client of some thread could not get over; `None` after a drain.
    pub fatal: Option<SourceError>,
}

impl EngineHandle {
    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The invocation side's runtime, for what else must be served beside the engine.
    ///
    /// # Panics
    /// Never: it is there until the handle is joined.
    #[must_use]
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.as_ref().expect("the runtime lives as long as the handle").handle()
    }

    /// Begins to stop: no more reading, what is open or in flight is delivered within the drain
    /// deadline, what is done is committed, and the group is left. Returns at once.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        for unparker in &self.unparkers {
            unparker.unpark();
        }
    }

    /// Whether every thread still runs. One that ended by itself has met something fatal: drain
    /// and join to learn what.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits until every thread has ended.
    ///
    /// # Panics
    /// If a consumer thread has panicked, with its panic.
    #[must_use]
    pub fn join(mut self) -> Report {
        self.end()
    }

    fn end(&mut self) -> Report {
        let mut report = Report { fatal: None };
        let mut panicked = None;
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(fatal)) => {
                    report.fatal.get_or_insert(fatal);
                }
                // The others drain and commit first.
                Err(panic) => panicked = Some(panic),
            }
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        if let Some(panic) = panicked {
            std::panic::resume_unwind(panic);
        }
        report
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        if self.runtime.is_some() && !std::thread::panicking() {
            self.drain();
            let _ = self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pollers_are_spread_evenly_and_none_is_lost() {
        for threads in 1..=8 {
            for pollers in threads..40 {
                let shares: Vec<_> = (0..threads).map(|thread| share(pollers, threads, thread)).collect();
                assert_eq!(shares.iter().sum::<usize>(), pollers);
                assert!(shares.iter().max().expect("some") - shares.iter().min().expect("some") <= 1);
                // No thread's least is above its most, or nothing.
                for (thread, pollers) in shares.iter().enumerate() {
                    let all = ScalingRules::between(u32::try_from(threads).expect("few"), 40);
                    let own = share_of(&all, threads, thread);
                    assert!(own.pollers_min == 1 && own.pollers_max as usize >= *pollers);
                }
            }
        }
    }
}
