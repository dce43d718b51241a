//! The C side's allocator. Rust's is mimalloc; librdkafka calls the C library's `malloc`.

/// Tells glibc to keep what librdkafka frees: its fetch buffers of about a megabyte would be
/// mapped and unmapped each time, a sixth to a quarter of a consumer's CPU time. Call first.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt is a C function")]
pub fn tune() {
    const MMAP_THRESHOLD_BYTES: i32 = 64 << 20;
    const TRIM_THRESHOLD_BYTES: i32 = 256 << 20;
    // SAFETY: sets a parameter of the allocator; no other thread runs yet.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES) };
    // SAFETY: as above.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES) };
}

/// Nothing to tell other C libraries.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn tune() {}
