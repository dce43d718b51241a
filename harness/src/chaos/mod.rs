//! Chaos against the real thing: a real Apache Kafka, engines as processes, a hostile function over
//! HTTP; everything is killed, stopped, frozen and taken away by a seeded plan, and every offset is
//! audited.
//!
//! ```text
//! feed ──▶ Kafka ──▶ engines (fleet) ──▶ function ──▶ audit ──▶ verdict
//!            ▲           ▲                                ▲
//!            └── plan ───┴──── what was done, when ───────┘
//! ```

mod audit;
mod feed;
mod fleet;
mod function;
mod kafka;
mod mapping;
mod plan;
mod run;
mod side;
mod verdict;

// The hostile function of the engine's own tests: how it misbehaves, byte by byte, and what its
// records contain. One vocabulary of faults for both, and a ledger of its own for each: the tests'
// fails on the spot, this one explains millions of records afterwards.
#[path = "../../../engine/tests/support/content.rs"]
#[allow(dead_code, reason = "each of the two users needs its part")]
mod content;
#[path = "../../../engine/tests/support/event.rs"]
#[allow(dead_code, reason = "each of the two users needs its part")]
mod event;
#[path = "../../../engine/tests/support/fault.rs"]
#[allow(dead_code, reason = "each of the two users needs its part")]
mod fault;
#[path = "../../../engine/tests/support/http.rs"]
#[allow(dead_code, reason = "each of the two users needs its part")]
mod http;
#[path = "../../../engine/tests/support/respond.rs"]
#[allow(dead_code, reason = "each of the two users needs its part")]
mod respond;

use std::path::PathBuf;
use std::time::Duration;

pub use audit::{Finding, KillCount, MappingVerdict};
pub use fleet::Ends;
pub use plan::{Kind, Step, plan};
pub use run::run;
pub use side::Side;
pub use verdict::{ChaosVerdict, Happening, MappingResult, VERSION, markdown, page};

/// What a run of chaos is to be.
#[derive(Clone, Debug)]
pub struct ChaosSettings {
    /// How long things are done to the system. Records that are left are delivered after it.
    pub time: Duration,
    /// Draws the plan, the faults and the records.
    pub seed: u64,
    /// Records to produce in all; the rate follows from it. `None` for `rate`.
    pub records: Option<u64>,
    /// Records per second, where `records` is not given.
    pub rate: u64,
    /// Partitions of each topic at the start.
    pub partitions: u32,
    /// `scripts/kafka`.
    pub kafka: PathBuf,
    /// The `pelton` binary.
    pub engine: PathBuf,
    /// Where broker, mapping files and logs are kept; removed after a run that is clean.
    pub directory: PathBuf,
}

/// Lets time pass where nothing can be waited for: another process, a broker.
fn pause(time: Duration) {
    // Early returns do no harm: whoever calls this asks again.
    std::thread::park_timeout(time);
}
