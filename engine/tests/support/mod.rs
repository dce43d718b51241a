//! What the integration tests stand on: records whose content follows from their place, a function
//! that misbehaves on purpose, a ledger of everything it was handed, a real broker, and the
//! `pelton` binary as a child process.

pub(crate) mod broker;
pub(crate) mod client;
pub(crate) mod content;
pub(crate) mod engine;
pub(crate) mod event;
pub(crate) mod fault;
pub(crate) mod function;
pub(crate) mod http;
pub(crate) mod ledger;
pub(crate) mod respond;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use pelton::time::Clock;

/// How long a test waits for what must come, at most. Generous: a loaded machine is no failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A name that no other test of this run or of another uses.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Asks every few milliseconds until `condition` holds. For what cannot wake us: another process.
///
/// # Panics
/// With `what` if that takes longer than [`PATIENCE`].
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !condition() {
        assert!(clock.now() < pelton::time::Nanos::ZERO + PATIENCE, "not within {PATIENCE:?}: {what}");
        pause(Duration::from_millis(20));
    }
}

/// Lets time pass where nothing can be waited for, such as between two questions to a broker.
pub(crate) fn pause(time: Duration) {
    let nobody_wakes_us = Condvar::new();
    let lock = Mutex::new(());
    let clock = Clock::start();
    let mut guard = lock.lock().expect("nobody else has this lock");
    while let Some(left) = time.checked_sub(clock.now() - pelton::time::Nanos::ZERO).filter(|l| !l.is_zero())
    {
        guard = nobody_wakes_us.wait_timeout(guard, left).expect("nobody else has this lock").0;
    }
}
