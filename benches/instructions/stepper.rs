//! Counting by letting the processor trap after every instruction.
//!
//! With the trap flag set each instruction raises a signal, whose handler counts it: some hundred
//! thousand a second, exact, without another process or privileges, and with every instruction set
//! that the processor has.
#![expect(
    unsafe_code,
    reason = "flags are set by instructions, and a signal's handler is given to the system"
)]

use super::cases;
use super::count::{Count, CountError, Counter, per_unit};
use nix::libc::{REG_RIP, c_int, c_void, siginfo_t, ucontext_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::arch::asm;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

static STEPS: AtomicU64 = AtomicU64::new(0);
static LAST_AT: AtomicU64 = AtomicU64::new(0);

/// Runs once after each instruction while the trap flag is set; the system clears it meanwhile.
extern "C" fn on_trap(_signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: to a handler that asked for it the system gives a valid `ucontext_t`.
    let context = unsafe { &*context.cast::<ucontext_t>() };
    let at = context.uc_mcontext.gregs[REG_RIP as usize].cast_unsigned();
    // A repeated string instruction traps once for each repetition, in one place.
    if LAST_AT.swap(at, Ordering::Relaxed) != at {
        STEPS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Instructions of `work`, and a constant few.
fn steps(work: &mut dyn FnMut()) -> u64 {
    let before = STEPS.load(Ordering::Relaxed);
    // SAFETY: sets the trap flag; `on_trap` is installed, and changes nothing that the code relies on.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    work();
    // SAFETY: clears it again.
    unsafe { asm!("pushfq", "and qword ptr [rsp], ~0x100", "popfq") };
    STEPS.load(Ordering::Relaxed) - before
}

/// Counts each case that is `wanted`, in this process.
///
/// # Errors
/// If the system does not deliver the traps.
pub fn count(wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Count>, CountError> {
    let handler = SigHandler::SigAction(on_trap);
    let action = SigAction::new(handler, SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: the handler only adds to atomics.
    let before = unsafe { sigaction(Signal::SIGTRAP, &action) };
    let before = before.map_err(|error| CountError::Refused(error.to_string()))?;
    let mut counts = Vec::new();
    if steps(&mut || _ = black_box(0)) > 0 {
        cases::each(wanted, &mut |mut case| {
            case.warm_up();
            let [once, twice] =
                [case.units, 2 * case.units].map(|units| steps(&mut || (case.run)(black_box(units))));
            counts.push(per_unit(&case.name, case.units as f64, [once, twice], Counter::Stepper));
        });
    }
    // SAFETY: what was there before.
    let restored = unsafe { sigaction(Signal::SIGTRAP, &before) };
    match (restored, STEPS.load(Ordering::Relaxed)) {
        (Err(error), _) => Err(CountError::Refused(error.to_string())),
        (Ok(_), 0) => Err(CountError::Refused("no instruction trapped".into())),
        (Ok(_), _) => Ok(counts),
    }
}
