//! What a thread allocates and how often its memory faults: counts, not times.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts every thread's allocations and hands them on to the system's allocator. Adds an addition
/// to each, for all contestants alike. What C code allocates is outside.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement; this one hands on to the system's")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// This thread's allocations so far.
#[must_use]
pub fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// This thread's page faults so far that needed no disk; `None` where the system does not say.
#[must_use]
pub fn page_faults() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
        u64::try_from(usage.minor_page_faults()).ok()
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn the_counters_count() {
        let before = allocations();
        drop(black_box(Box::new(0_u8)));
        assert_eq!(allocations() - before, 1);
        let before = page_faults().unwrap();
        // Above the allocator's greatest threshold for a mapping of its own: fresh pages.
        let mut pages = vec![0_u8; 64 << 20];
        pages.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        black_box(&pages);
        assert!(page_faults().unwrap() > before);
    }
}
