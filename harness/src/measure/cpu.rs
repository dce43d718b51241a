//! CPU time by role: engine, embedded broker, loader, harness.
//!
//! All of them live in one process, so the process's own figure says nothing about the engine.
//! The kernel counts each thread for itself, and threads are told apart by *when* they appear:
//! whoever has just been started [claims](Roles::claim) the threads that nobody owns yet.
//! librdkafka calls its threads alike in every client, so their names alone would not do.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Whom a thread works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The engine: consumer threads, invocation side, and its Kafka client's own threads.
    Engine,
    /// The embedded broker.
    Broker,
    /// The loader and its Kafka client's threads.
    Load,
    /// Measuring, auditing, progress bar.
    Harness,
}

/// Which thread works for whom.
#[derive(Debug, Default)]
pub struct Roles {
    owners: HashMap<u32, Role>,
    /// The last figure of each thread, so that what a thread used is not lost when it ends.
    last: HashMap<u32, Duration>,
}

impl Roles {
    /// Nobody owns anything yet; claim for the harness first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives every thread that runs now and has no owner to `role`.
    pub fn claim(&mut self, role: Role) {
        for (thread, used) in threads() {
            self.owners.entry(thread).or_insert(role);
            self.last.insert(thread, used);
        }
    }

    /// The threads that `role` has claimed so far, those that have ended included.
    #[must_use]
    pub fn threads(&self, role: Role) -> Vec<u32> {
        self.owners.iter().filter(|(_, owner)| **owner == role).map(|(thread, _)| *thread).collect()
    }

    /// CPU time used so far, by role, in the life of the process. Threads without an owner count
    /// as `role_of_the_rest`, and stay so. Ended threads count with their last reading: read once
    /// in a while, and just before threads end.
    pub fn read(&mut self, role_of_the_rest: Role) -> CpuTimes {
        self.claim(role_of_the_rest);
        let mut times = CpuTimes::default();
        for (thread, used) in &self.last {
            let sum = match self.owners.get(thread).copied().unwrap_or(role_of_the_rest) {
                Role::Engine => &mut times.engine,
                Role::Broker => &mut times.broker,
                Role::Load => &mut times.load,
                Role::Harness => &mut times.harness,
            };
            *sum += *used;
        }
        times
    }
}

/// CPU time, user and system, by role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// See [`Role::Engine`].
    pub engine: Duration,
    /// See [`Role::Broker`].
    pub broker: Duration,
    /// See [`Role::Load`].
    pub load: Duration,
    /// See [`Role::Harness`].
    pub harness: Duration,
}

impl CpuTimes {
    /// What was used since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            engine: self.engine.saturating_sub(earlier.engine),
            broker: self.broker.saturating_sub(earlier.broker),
            load: self.load.saturating_sub(earlier.load),
            harness: self.harness.saturating_sub(earlier.harness),
        }
    }

    /// All roles together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.engine + self.broker + self.load + self.harness
    }
}

/// The threads of this process and the CPU time each has used. Empty where the kernel does not
/// say (other than Linux).
fn threads() -> Vec<(u32, Duration)> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| {
            let thread: u32 = task.file_name().to_str()?.parse().ok()?;
            Some((thread, used_by(thread)?))
        })
        .collect()
}

/// The first field of `schedstat` is nanoseconds on a CPU. It beats `stat`, whose ticks of 10 ms
/// are coarser than whole batches.
fn used_by(thread: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// The most memory this process has held so far, in bytes; zero where the kernel does not say.
#[must_use]
pub fn peak_resident_bytes() -> u64 {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return 0 };
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|kib| kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_belongs_to_whoever_claimed_it_first() {
        let mut roles = Roles::new();
        roles.claim(Role::Harness);
        let before = roles.read(Role::Harness);
        let (done, is_done) = mpsc::channel();
        let (leave, may_leave) = mpsc::channel::<()>();
        let busy = thread::spawn(move || {
            let sum: u64 = (0..30_000_000u64).map(|n| black_box(n) ^ 7).sum();
            let _ = done.send(sum);
            let _ = may_leave.recv();
        });
        is_done.recv().unwrap();
        roles.claim(Role::Load);
        roles.claim(Role::Engine);
        let used = roles.read(Role::Harness).since(&before);
        assert!(used.load > Duration::from_millis(1), "{used:?}");
        drop(leave);
        busy.join().unwrap();
        assert!(roles.read(Role::Harness).since(&before).load >= used.load, "an ended thread still counts");
    }

    #[test]
    fn a_process_holds_memory() {
        assert!(peak_resident_bytes() > 1 << 20);
    }
}
