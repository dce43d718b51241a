//! Instructions per record, counted instead of timed: the same number every time, on a busy machine
//! too.
//!
//! Two counters, because neither does everything. Valgrind's **callgrind** is fast and known to
//! everybody, but hides AVX-512 from the program. The **stepper** traps after every instruction on
//! the processor itself, so it counts whatever the processor has.
//!
//! Both count some units of work and then twice as many: the difference is the units' alone, without
//! start-up and without what a batch costs once.

pub mod baseline;
pub mod callgrind;
pub mod cases;
mod count;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
pub mod stepper;

pub use count::{Count, CountError, Counter};
