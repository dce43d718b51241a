//! What each tier provides to the writer's one loop.

/// The routines of a tier. The loop in `writer` is compiled once for each.
///
/// # Safety
/// Every routine writes at `dst` and returns the end of what it meant to write. An implementation
/// writes nothing at or behind `end + SPILL_BYTES`, and reads nothing but `src`.
///
/// For callers, of every routine:
/// - the CPU has the tier's features;
/// - `dst` is valid for writes of the text's length (as the routine states it) and
///   [`SPILL_BYTES`] more.
#[expect(unsafe_code, reason = "the routines write through raw pointers, with room checked by their caller")]
pub(super) unsafe trait Kernel {
    /// Standard base64 with padding: [`base64_len`](super::base64::base64_len) bytes.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn base64(src: &[u8], dst: *mut u8) -> *mut u8;

    /// Every byte as a signed decimal number and a comma: up to
    /// [`NUMBER_BYTES_MAX`](super::headers::NUMBER_BYTES_MAX) bytes for each.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn numbers(src: &[u8], dst: *mut u8) -> *mut u8;

    /// Copies `src` if it needs no escaping in JSON; `None` if it does, or if this cannot tell
    /// cheaply. What was written then does not count.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn plain(src: &[u8], dst: *mut u8) -> Option<*mut u8>;

    /// Copies the first `len` bytes of `text`.
    ///
    /// # Safety
    /// As for the trait; `len` is at most [`STAMP_BYTES_MAX`].
    unsafe fn stamp(text: &StampText, len: usize, dst: *mut u8) -> *mut u8;
}

/// How far behind the end of its text a routine may write.
pub(super) const SPILL_BYTES: usize = 512;

/// The longest stamp.
pub(super) const STAMP_BYTES_MAX: usize = 448;

/// A stamp's text and room for loads that read past its end.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct StampText(pub(super) [u8; STAMP_BYTES_MAX + 64]);
