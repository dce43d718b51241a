//! Base64 (RFC 4648, standard alphabet, padded): one kernel a file.

/// How many characters `bytes` bytes become.
pub(crate) const fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}
