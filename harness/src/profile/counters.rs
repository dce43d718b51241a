//! What the processor counts: instructions, cycles, cache misses; or why it does not.

use std::collections::BTreeMap;
use std::{fs, io};

use perf_event::events::Hardware;
use perf_event::{Builder, Counter};
use serde::{Deserialize, Serialize};

use super::stages::ThreadKind;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Instructions that were carried out.
    Instructions,
    /// Cycles of the clock.
    Cycles,
    /// Accesses that no cache could serve.
    CacheMisses,
}

impl Event {
    const ALL: [Self; 3] = [Self::Instructions, Self::Cycles, Self::CacheMisses];

    const fn hardware(self) -> Hardware {
        match self {
            Self::Instructions => Hardware::INSTRUCTIONS,
            Self::Cycles => Hardware::CPU_CYCLES,
            Self::CacheMisses => Hardware::CACHE_MISSES,
        }
    }
}

/// What the hardware counted, in user mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counting {
    /// By kind of thread; profiled and unprofiled slices together.
    Counted(Vec<ThreadCounts>),
    /// Why it did not, and what to do about it.
    Refused(String),
}

/// The counts of all threads of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadCounts {
    /// Which threads.
    pub threads: ThreadKind,
    /// Instructions per delivered record.
    pub instructions_per_record: f64,
    /// Cycles per delivered record.
    pub cycles_per_record: f64,
    /// Cache misses per delivered record.
    pub cache_misses_per_record: f64,
}

/// One counter's reading: the count, and for how much of the time it was counting (a processor has
/// fewer counters than one may ask for, and shares them out by time).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reading {
    count: u64,
    enabled: u64,
    running: u64,
}

/// Counters of the engine's threads.
pub struct HardwareCounters(Result<Vec<(ThreadKind, Event, Counter)>, String>);

impl HardwareCounters {
    /// Counts for `threads` from now on.
    #[must_use]
    pub fn open(threads: &[(u32, ThreadKind)]) -> Self {
        let mut counters = Vec::new();
        for (thread, kind) in threads {
            for event in Event::ALL {
                match open(*thread, event) {
                    Ok(counter) => counters.push((*kind, event, counter)),
                    // It has ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(error) => return Self(Err(explain(&error, paranoid()))),
                }
            }
        }
        Self(Ok(counters))
    }

    /// Reads them, over `records` delivered meanwhile.
    #[must_use]
    pub fn read(self, records: u64) -> Counting {
        let counters = match self.0 {
            Ok(counters) => counters,
            Err(reason) => return Counting::Refused(reason),
        };
        let readings = counters.into_iter().map(|(kind, event, mut counter)| {
            let read = counter.read_count_and_time();
            let reading = read.map(|read| Reading {
                count: read.count,
                enabled: read.time_enabled,
                running: read.time_running,
            });
            (kind, event, reading)
        });
        summary(readings, records)
    }
}

fn open(thread: u32, event: Event) -> io::Result<Counter> {
    let mut counter = Builder::new(event.hardware()).observe_pid(thread.cast_signed()).any_cpu().build()?;
    counter.enable()?;
    Ok(counter)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn summary(
    readings: impl Iterator<Item = (ThreadKind, Event, io::Result<Reading>)>,
    records: u64,
) -> Counting {
    let mut sums: BTreeMap<(ThreadKind, Event), f64> = BTreeMap::new();
    for (kind, event, reading) in readings {
        match reading {
            Ok(Reading { running: 0, .. }) => {}
            Ok(Reading { count, enabled, running }) => {
                *sums.entry((kind, event)).or_default() += count as f64 * (enabled as f64 / running as f64);
            }
            Err(error) => return Counting::Refused(explain(&error, paranoid())),
        }
    }
    if records == 0 || sums.values().all(|sum| *sum == 0.0) {
        return Counting::Refused(
            "The kernel opened the counters and counted nothing: the virtual machine or another profiler keeps \
             them to itself."
                .to_owned(),
        );
    }
    let kinds: std::collections::BTreeSet<ThreadKind> = sums.keys().map(|(kind, _)| *kind).collect();
    let per_record = |kind, event| sums.get(&(kind, event)).copied().unwrap_or_default() / records as f64;
    Counting::Counted(
        kinds
            .into_iter()
            .map(|threads| ThreadCounts {
                threads,
                instructions_per_record: per_record(threads, Event::Instructions),
                cycles_per_record: per_record(threads, Event::Cycles),
                cache_misses_per_record: per_record(threads, Event::CacheMisses),
            })
            .collect(),
    )
}

/// Who may count: `kernel.perf_event_paranoid`.
fn paranoid() -> Option<i32> {
    fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?.trim().parse().ok()
}

/// Why there are no counts, and what to do about it.
fn explain(error: &io::Error, paranoid: Option<i32>) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV) => {
            "This machine offers no hardware counters to the kernel: most virtual machines do not. Instructions, \
             cycles and cache misses can be counted on bare metal, or on a machine type with a virtual PMU."
                .to_owned()
        }
        Some(libc::EACCES | libc::EPERM) => match paranoid {
            Some(level) if level > 2 => format!(
                "The kernel lets only privileged processes count (kernel.perf_event_paranoid = {level}). \
                 `sysctl kernel.perf_event_paranoid=2` allows it to everybody, \
                 `setcap cap_perfmon+ep pelton-harness` to this binary."
            ),
            _ => "The system refuses perf_event_open, though the kernel's settings allow it: a container's seccomp \
                  profile does so, unless started with `--cap-add PERFMON` or a profile that allows the call."
                .to_owned(),
        },
        Some(libc::ENOSYS) => "This kernel has no perf events (CONFIG_PERF_EVENTS), or the sandbox hides them.".to_owned(),
        Some(libc::EMFILE | libc::ENFILE) => {
            "There are too few file descriptors for the counters: raise `ulimit -n`.".to_owned()
        }
        _ => format!("The kernel refuses hardware counters: {error}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(count: u64, enabled: u64, running: u64) -> io::Result<Reading> {
        Ok(Reading { count, enabled, running })
    }

    #[test]
    fn counts_are_per_record_and_scaled_to_the_whole_time() {
        let readings = [
            (ThreadKind::Consumer, Event::Instructions, reading(1_000, 10, 10)),
            (ThreadKind::Consumer, Event::Cycles, reading(300, 10, 5)),
            (ThreadKind::Client, Event::Instructions, reading(500, 10, 10)),
            (ThreadKind::Client, Event::Instructions, reading(700, 10, 10)),
            (ThreadKind::Client, Event::CacheMisses, reading(9, 10, 0)),
        ];
        let Counting::Counted(counts) = summary(readings.into_iter(), 100) else { panic!("counted") };
        assert_eq!(counts.len(), 2);
        assert_eq!(counts[0].threads, ThreadKind::Consumer);
        assert!((counts[0].instructions_per_record - 10.0).abs() < 1e-9);
        assert!((counts[0].cycles_per_record - 6.0).abs() < 1e-9);
        assert!((counts[1].instructions_per_record - 12.0).abs() < 1e-9);
        assert!(counts[1].cache_misses_per_record.abs() < 1e-9);
    }

    #[test]
    fn nothing_counted_is_no_count_of_zero() {
        let readings = [(ThreadKind::Client, Event::Cycles, reading(0, 10, 10))];
        assert!(matches!(summary(readings.into_iter(), 100), Counting::Refused(_)));
        assert!(matches!(summary([].into_iter(), 100), Counting::Refused(_)));
        let failed = [(ThreadKind::Client, Event::Cycles, Err(io::Error::from_raw_os_error(libc::EACCES)))];
        assert!(matches!(summary(failed.into_iter(), 100), Counting::Refused(_)));
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        for (code, level, word) in [
            (libc::ENOENT, Some(2), "virtual PMU"),
            (libc::EOPNOTSUPP, None, "virtual PMU"),
            (libc::EACCES, Some(4), "perf_event_paranoid=2"),
            (libc::EPERM, Some(3), "cap_perfmon"),
            (libc::EACCES, Some(1), "seccomp"),
            (libc::EPERM, None, "seccomp"),
            (libc::ENOSYS, Some(2), "CONFIG_PERF_EVENTS"),
            (libc::EMFILE, Some(2), "ulimit"),
            (libc::EINVAL, Some(2), "refuses"),
        ] {
            let words = explain(&io::Error::from_raw_os_error(code), level);
            assert!(words.contains(word), "{code}: {words}");
        }
    }

    #[test]
    fn opening_counts_or_says_why_not() {
        let own = std::process::id();
        match HardwareCounters::open(&[(own, ThreadKind::Other)]).read(1) {
            Counting::Counted(counts) => assert!(counts[0].instructions_per_record > 0.0),
            Counting::Refused(reason) => assert!(!reason.is_empty()),
        }
    }
}
