//! Records as JSON: each is written once, straight from the borrowed record, where it stays until
//! the function has it.
//!
//! A record's JSON begins with a comma (`,{"topic":…}`), so that an event over any set of records
//! is the [`Envelope`]'s head, for each partition its [`Template`]'s key and slices of the arena,
//! and the tail. What a run of records costs is measured by `benches/payload.rs`.

mod arena;
mod base64;
mod buffer;
mod cursor;
mod decimal;
mod envelope;
mod escape;
mod headers;
#[cfg(feature = "internals")]
pub mod internals;
mod kernel;
mod pool;
pub mod reference;
#[cfg(test)]
pub(crate) mod samples;
mod stamp;
mod template;
#[cfg(test)]
mod tests;
mod tier;
mod writer;

pub use buffer::Run;
pub(crate) use buffer::{Buffer, NO_RUN};
pub use envelope::Envelope;
pub(crate) use envelope::{BETWEEN, TAIL};
pub use pool::{Lease, Pool};
pub(crate) use pool::{Shared, share};
pub use template::Template;
pub use tier::{Tier, TierError};
pub use writer::encoded_len;
pub(crate) use writer::{RECORD_BYTES_MIN, write_run};
