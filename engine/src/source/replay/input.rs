//! A reader that can be looked ahead in, with a bound on how far.

use std::io::{self, Read};

/// The least that is asked of the source at once.
const STEP_BYTES: usize = 64 << 10;

/// Bytes in the order of the source. Holds no more than was asked for at once, and a step.
#[derive(Debug)]
pub(super) struct Input<R> {
    source: R,
    buffer: Vec<u8>,
    /// What of `buffer` was passed.
    passed: usize,
    /// Where in the source that is.
    at: u64,
    ended: bool,
}

impl<R: Read> Input<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), passed: 0, at: 0, ended: false }
    }

    /// Bytes passed so far.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// What was looked at and not passed.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.buffer[self.passed..]
    }

    /// Looks `bytes` bytes ahead; what is returned is shorter only at the end, and may be longer.
    /// The buffer grows with what has really come, not with what was asked for.
    pub(super) fn look(&mut self, bytes: usize) -> io::Result<&[u8]> {
        while self.buffer.len() - self.passed < bytes && !self.ended {
            if self.passed > 0 && self.passed >= self.buffer.len() / 2 {
                self.buffer.drain(..self.passed);
                self.passed = 0;
            }
            let before = self.buffer.len();
            let step = (bytes - (before - self.passed)).clamp(STEP_BYTES, before.max(STEP_BYTES));
            self.buffer.resize(before + step, 0);
            let read = self.source.read(&mut self.buffer[before..]);
            self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.ahead())
    }

    /// Passes `bytes` bytes that were looked at.
    pub(super) fn pass(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.ahead().len());
        self.passed += bytes;
        self.at += bytes as u64;
    }
}
