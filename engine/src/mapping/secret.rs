//! Values that must not be seen, and where they are kept.

use std::fmt;

/// A value that is printed nowhere: `Debug` and `Display` hide it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `value` from being printed.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one who needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What lies around the mapping: the clock, the environment, files. Handed in, so that a mapping
/// is checked the same way in a process, in a test and behind an API.
pub trait Surroundings {
    /// The wall clock, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// A file's text, of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// If it cannot be read, is longer or is not UTF-8: why, in words.
    fn file(&self, path: &str, bytes_max: usize) -> Result<String, String>;
}

/// No time has passed, and there are neither variables nor files: for tests of mappings that need none.
#[cfg(any(test, feature = "internals"))]
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

#[cfg(any(test, feature = "internals"))]
impl Surroundings for Nothing {
    fn now_ms(&self) -> i64 {
        0
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &str, _: usize) -> Result<String, String> {
        Err("no files here".to_owned())
    }
}
