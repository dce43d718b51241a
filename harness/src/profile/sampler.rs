//! Samples threads by the CPU time they use.
//!
//! Each sampled thread has a timer on its own CPU clock; when it expires the kernel interrupts that
//! thread, wherever it is, and the handler notes the registers and the upper part of the stack.
//! Nothing is unwound or looked up in the handler: a copy is all it makes, into a slot that was
//! there before. A thread that sleeps is never sampled, and a thread that runs is sampled in
//! proportion, time in the kernel included (it is seen where the call returns).
//!
//! The kernel looks at CPU clocks with every tick of its own (100 to 1000 a second). A shorter
//! interval brings no more samples, but each says how many intervals it stands for, so that none of
//! the thread's time is lost.
#![expect(unsafe_code, reason = "signals and timers are C interfaces; the handler writes into slots it owns")]

use std::cell::UnsafeCell;
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use libc::{c_int, c_void};

/// The signal of the timers. librdkafka's threads hold back every signal but one of our choice.
pub const SIGNAL: c_int = libc::SIGPROF;

/// How much of the stack is noted, from the stack pointer on. librdkafka receives into a list of
/// 16 KiB on its stack.
pub const STACK_BYTES: usize = 32 << 10;
/// Samples that may wait to be taken out.
const SLOTS: usize = 128;
const PAGE_BYTES: usize = 4096;
/// The stack is read page by page, so that what lies behind its end costs only itself.
const PIECES: usize = STACK_BYTES / PAGE_BYTES + 1;

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const FULL: u32 = 2;

struct Slot {
    state: AtomicU32,
    note: UnsafeCell<Note>,
}

struct Note {
    thread: u32,
    intervals: u64,
    registers: Registers,
    stack_bytes: usize,
    stack: [u8; STACK_BYTES],
}

/// What an unwinder starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// The next instruction.
    pub ip: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer, or whatever the code keeps in its register.
    pub fp: u64,
    /// The link register, where there is one.
    pub lr: u64,
}

// SAFETY: a note is only touched by whoever moved its slot's state to `TAKEN` (the handler) or
// found it `FULL` (the one sampler), and handed on by a release of the state.
unsafe impl Sync for Slot {}

#[expect(clippy::declare_interior_mutable_const, reason = "the beginning of each slot, not a shared value")]
const EMPTY: Slot = Slot {
    state: AtomicU32::new(FREE),
    note: UnsafeCell::new(Note {
        thread: 0,
        intervals: 0,
        registers: Registers { ip: 0, sp: 0, fp: 0, lr: 0 },
        stack_bytes: 0,
        stack: [0; STACK_BYTES],
    }),
};

static RING: [Slot; SLOTS] = [EMPTY; SLOTS];
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// Intervals whose samples found no free slot.
static DROPPED: AtomicU64 = AtomicU64::new(0);
static PROCESS: AtomicI32 = AtomicI32::new(0);
/// There is one handler, so there is one sampler.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// One sample.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'s> {
    /// The thread that was running.
    pub thread: u32,
    /// How many intervals of CPU time it stands for.
    pub intervals: u64,
    /// Where it was.
    pub registers: Registers,
    /// The stack from `registers.sp` on; empty if it could not be read.
    pub stack: &'s [u8],
}

/// Timers on the CPU clocks of threads. There can be one at a time.
#[derive(Debug)]
pub struct Sampler {
    interval: Duration,
    timers: Vec<Timer>,
}

#[derive(Debug)]
struct Timer {
    thread: u32,
    id: libc::timer_t,
}

impl Sampler {
    /// A sampler with one sample per `interval` of CPU time, or as many as the kernel gives.
    ///
    /// # Errors
    /// If there is one already, or the system refuses the handler.
    pub fn new(interval: Duration) -> io::Result<Self> {
        if IN_USE.swap(true, Ordering::AcqRel) {
            return Err(io::Error::other("a profile is being taken in this process already"));
        }
        let sampler = Self { interval, timers: Vec::new() };
        PROCESS.store(i32::try_from(std::process::id()).unwrap_or(0), Ordering::Relaxed);
        DROPPED.store(0, Ordering::Relaxed);
        install()?;
        Ok(sampler)
    }

    /// Samples `threads` from now on, and those of earlier calls. Returns how many refused: they
    /// have ended meanwhile.
    ///
    /// # Errors
    /// If the system refuses the handler, which others may have replaced.
    pub fn arm(&mut self, threads: &[u32]) -> io::Result<usize> {
        install()?;
        let mut refused = 0;
        for thread in threads {
            if self.timers.iter().any(|timer| timer.thread == *thread) {
                continue;
            }
            match create(*thread) {
                Some(id) => self.timers.push(Timer { thread: *thread, id }),
                None => refused += 1,
            }
        }
        for timer in &self.timers {
            set(timer.id, self.interval);
        }
        Ok(refused)
    }

    /// Samples nothing until armed again.
    pub fn disarm(&self) {
        for timer in &self.timers {
            set(timer.id, Duration::ZERO);
        }
    }

    /// Gives what was sampled to `each`. To be called often: few samples can wait.
    pub fn drain(&mut self, mut each: impl FnMut(Sample<'_>)) {
        for slot in &RING {
            if slot.state.load(Ordering::Acquire) != FULL {
                continue;
            }
            // SAFETY: the slot is full, so its writer is done with it, and no other writes until
            // it is free again, below. Only one sampler exists, and it is borrowed here.
            let note = unsafe { &*slot.note.get() };
            each(Sample {
                thread: note.thread,
                intervals: note.intervals,
                registers: note.registers,
                stack: &note.stack[..note.stack_bytes],
            });
            slot.state.store(FREE, Ordering::Release);
        }
    }

    /// Intervals whose samples were lost, because nobody drained in time.
    #[must_use]
    pub fn dropped_intervals(&self) -> u64 {
        DROPPED.load(Ordering::Relaxed)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        for timer in &self.timers {
            // SAFETY: the timer is ours and is not used again.
            unsafe { libc::timer_delete(timer.id) };
        }
        // The handler stays: a signal may still be under way, and would end the process.
        self.drain(|_| {});
        IN_USE.store(false, Ordering::Release);
    }
}

/// The CPU time that a thread of this process has used; `None` if it has ended. Exact to the moment,
/// which what `/proc` says of a running thread is not.
#[must_use]
pub fn cpu_time(thread: u32) -> Option<Duration> {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the clock's number is formed as the kernel documents it, and the result has room.
    if unsafe { libc::clock_gettime(cpu_clock(thread), time.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it was written.
    let time = unsafe { time.assume_init() };
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// The clock of one thread: `CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED` over the thread's number.
fn cpu_clock(thread: u32) -> libc::clockid_t {
    (!thread.cast_signed() << 3) | 6
}

fn create(thread: u32) -> Option<libc::timer_t> {
    // SAFETY: all zeros are a valid `sigevent`.
    let mut event: libc::sigevent = unsafe { zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = SIGNAL;
    event.sigev_notify_thread_id = thread.cast_signed();
    event.sigev_value = libc::sigval { sival_ptr: ptr::without_provenance_mut(thread as usize) };
    let mut id = MaybeUninit::uninit();
    // SAFETY: the event is filled in and the identifier has room.
    let refused = unsafe { libc::timer_create(cpu_clock(thread), &raw mut event, id.as_mut_ptr()) } != 0;
    // SAFETY: not refused, so it was written.
    (!refused).then(|| unsafe { id.assume_init() })
}

fn set(timer: libc::timer_t, interval: Duration) {
    let period = libc::timespec {
        tv_sec: interval.as_secs().cast_signed(),
        tv_nsec: i64::from(interval.subsec_nanos()),
    };
    let setting = libc::itimerspec { it_interval: period, it_value: period };
    // SAFETY: the timer is alive and the setting is whole. It cannot fail: the interval is valid.
    unsafe { libc::timer_settime(timer, 0, &raw const setting, ptr::null_mut()) };
}

fn install() -> io::Result<()> {
    // SAFETY: all zeros are a valid `sigaction` with an empty mask.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = on_tick as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the handler keeps to what a handler may do.
    if unsafe { libc::sigaction(SIGNAL, &raw const action, ptr::null_mut()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// What the kernel says with a timer's signal: the beginning of `siginfo_t` on 64-bit Linux.
#[repr(C)]
struct TimerInfo {
    signal: c_int,
    error: c_int,
    code: c_int,
    _unused: c_int,
    timer: c_int,
    overrun: c_int,
    value: *mut c_void,
}

/// Runs on the sampled thread, in the middle of anything: it allocates nothing, locks nothing, and
/// leaves `errno` as it was.
extern "C" fn on_tick(_: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands over a whole `siginfo_t`, which begins like this.
    let info = unsafe { &*info.cast::<TimerInfo>() };
    // librdkafka sends the same signal to its own threads when it wants them to end.
    if info.code != libc::SI_TIMER {
        return;
    }
    let intervals = 1 + u64::from(info.overrun.max(0).unsigned_abs());
    let slot = &RING[NEXT.fetch_add(1, Ordering::Relaxed) % SLOTS];
    if slot.state.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_err() {
        DROPPED.fetch_add(intervals, Ordering::Relaxed);
        return;
    }
    // SAFETY: this handler has just taken the slot; nobody else touches it until it is full.
    let note = unsafe { &mut *slot.note.get() };
    note.thread = u32::try_from(info.value.addr()).unwrap_or(0);
    note.intervals = intervals;
    // SAFETY: the kernel hands over the interrupted context.
    note.registers = registers(unsafe { &*context.cast::<libc::ucontext_t>() });
    note.stack_bytes = copy_stack(note.registers.sp, &mut note.stack);
    slot.state.store(FULL, Ordering::Release);
}

/// Copies what is mapped from `from` on. Through the kernel, which says where a plain read would
/// fault: at the end of the stack.
fn copy_stack(from: u64, to: &mut [u8; STACK_BYTES]) -> usize {
    let Ok(from) = usize::try_from(from) else { return 0 };
    let mut pieces = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; PIECES];
    let mut covered = 0;
    for piece in &mut pieces {
        let at = from.wrapping_add(covered);
        piece.iov_len = (PAGE_BYTES - at % PAGE_BYTES).min(STACK_BYTES - covered);
        piece.iov_base = ptr::with_exposed_provenance_mut(at);
        covered += piece.iov_len;
    }
    let whole = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: STACK_BYTES };
    // SAFETY: the address of this thread's own variable.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    let process = PROCESS.load(Ordering::Relaxed);
    // SAFETY: the kernel writes into `to`, which has the room, and checks what it reads.
    let copied =
        unsafe { libc::process_vm_readv(process, &raw const whole, 1, pieces.as_ptr(), PIECES as u64, 0) };
    // SAFETY: as above.
    unsafe { *errno = before };
    usize::try_from(copied).unwrap_or(0)
}

#[cfg(target_arch = "x86_64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let of = |register: c_int| {
        usize::try_from(register).map_or(0, |at| context.uc_mcontext.gregs[at].cast_unsigned())
    };
    Registers { ip: of(libc::REG_RIP), sp: of(libc::REG_RSP), fp: of(libc::REG_RBP), lr: 0 }
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let machine = &context.uc_mcontext;
    Registers { ip: machine.pc, sp: machine.sp, fp: machine.regs[29], lr: machine.regs[30] }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::hint::black_box;
    use std::sync::Mutex;

    use super::*;

    /// Tests share the one sampler of the process.
    pub(crate) static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    pub(crate) fn own_thread() -> u32 {
        // SAFETY: asks for a number.
        unsafe { libc::gettid() }.cast_unsigned()
    }

    fn spin(until: Duration) {
        let thread = own_thread();
        let mut n = 0u64;
        while cpu_time(thread).unwrap() < until {
            for _ in 0..100_000 {
                n = black_box(n.wrapping_mul(7) ^ 3);
            }
        }
    }

    #[test]
    fn samples_stand_for_the_cpu_time_that_was_used() {
        let _one = ONE_AT_A_TIME.lock().unwrap();
        std::thread::spawn(|| {
            let thread = own_thread();
            let mut sampler = Sampler::new(Duration::from_millis(1)).unwrap();
            assert!(Sampler::new(Duration::from_millis(1)).is_err(), "there is one");
            let before = cpu_time(thread).unwrap();
            assert_eq!(sampler.arm(&[thread]).unwrap(), 0);
            let (mut intervals, mut samples, mut deepest) = (0, 0, 0);
            for step in 1..=10 {
                spin(before + Duration::from_millis(30 * step));
                sampler.drain(|sample| {
                    assert_eq!(sample.thread, thread);
                    assert!(sample.registers.ip != 0 && sample.registers.sp != 0);
                    intervals += sample.intervals;
                    samples += 1;
                    deepest = deepest.max(sample.stack.len());
                });
            }
            sampler.disarm();
            let used = cpu_time(thread).unwrap() - before;
            sampler.drain(|sample| intervals += sample.intervals);
            assert_eq!(sampler.dropped_intervals(), 0);
            // The last tick may be one interval of the coarsest kernel away at either end.
            let stands_for = Duration::from_millis(intervals);
            assert!(
                stands_for <= used + Duration::from_millis(1)
                    && stands_for + Duration::from_millis(21) > used,
                "{stands_for:?} of {used:?} in {samples} samples"
            );
            assert!(deepest > 0, "the stack was read");
            let at_rest = cpu_time(thread).unwrap();
            spin(at_rest + Duration::from_millis(30));
            sampler.drain(|_| panic!("sampled though disarmed"));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_that_is_not_there_refuses() {
        let _one = ONE_AT_A_TIME.lock().unwrap();
        let mut sampler = Sampler::new(Duration::from_millis(1)).unwrap();
        // The kernel's limit of thread numbers is below this.
        assert_eq!(sampler.arm(&[1 << 28]).unwrap(), 1);
        assert_eq!(cpu_time(1 << 28), None);
    }

    #[test]
    fn the_end_of_a_mapping_ends_the_copy() {
        let page = |address: *mut c_void, protection, flags| {
            // SAFETY: asks for pages of our own, or changes them.
            unsafe { libc::mmap(address, 2 * PAGE_BYTES, protection, flags, -1, 0) }
        };
        let both = page(
            ptr::null_mut(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        assert_ne!(both, libc::MAP_FAILED);
        // SAFETY: within the mapping.
        let second = unsafe { both.byte_add(PAGE_BYTES) };
        // SAFETY: the second page is ours.
        unsafe { libc::mprotect(second, PAGE_BYTES, libc::PROT_NONE) };
        PROCESS.store(std::process::id().cast_signed(), Ordering::Relaxed);
        let mut to = Box::new([0; STACK_BYTES]);
        assert_eq!(copy_stack((both.addr() + 100) as u64, &mut to), PAGE_BYTES - 100);
        assert_eq!(copy_stack(8, &mut to), 0);
        // SAFETY: the mapping of above, not used again.
        unsafe { libc::munmap(both, 2 * PAGE_BYTES) };
    }
}
