//! An engine in this process: a scripted source, a scripted function.

use std::sync::Arc;
use std::time::Duration;

use pelton::batch::BatchLimits;
use pelton::deliver::{FailureRules, Outcome, RetryPolicy};
use pelton::ids::Topic;
use pelton::invoke::Invoker;
use pelton::payload::Envelope;
use pelton::pipeline::{Engine, EngineHandle, EngineSettings, Observer, Oversized, ThreadPlan};
use pelton::time::{Clock, Nanos};

use crate::memory::{MemorySource, Shared};

pub(crate) const OK: Outcome = Outcome::Success { response_bytes: 0, response: bytes::Bytes::new() };
/// No test takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn settings() -> EngineSettings {
    EngineSettings {
        name: "test".into(),
        function_version: "$LATEST".into(),
        topic: Topic::new("t"),
        envelope: Arc::new(Envelope::self_managed("b:9092")),
        filters: None,
        limits: BatchLimits {
            batch_size: 100,
            window: Duration::from_millis(5),
            payload_bytes_max: 6_291_455,
        },
        threads: 1,
        pollers: 2,
        scaling: None,
        arena_budget_bytes: 64 << 20,
        retry: RetryPolicy { backoff_base: Duration::from_millis(1), ..RetryPolicy::default() },
        failures: FailureRules::default(),
        destination: None,
        oversized: Oversized::Skip,
        commit_interval: Duration::from_millis(5),
        commit_metadata: true,
        drain_deadline: Duration::from_secs(20),
        invocation_threads: 2,
    }
}

pub(crate) fn start_with<I: Invoker>(
    settings: EngineSettings,
    log: &Shared,
    value: &'static [u8],
    invoker: &Arc<I>,
    observer: Option<&Arc<dyn Observer>>,
) -> EngineHandle {
    let connect = |plan: ThreadPlan| Ok(MemorySource::new(log, value, plan.pollers));
    Engine::start(settings, connect, invoker, observer, Clock::start()).expect("the engine starts")
}

pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !done() {
        assert!(clock.now() < Nanos::ZERO + PATIENCE, "still waiting until {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn all_committed(log: &Shared) -> bool {
    let log = log.lock().expect("log");
    log.committed == log.end
}
