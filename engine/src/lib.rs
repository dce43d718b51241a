//! An open, Lambda-compatible **Kafka event source mapping**: polls a topic, gathers records into
//! batches, writes each record once as base64 JSON, invokes a function, and commits offsets only
//! after success.
//!
//! The modules stand in the order in which a record walks through them, and each imports only
//! modules that stand above it.

// Words.
pub mod ids;
pub mod record;
pub mod time;
pub mod mapping;
pub mod telemetry;

// The street.
pub mod source;
pub mod filter;
pub mod payload;
pub mod batch;
pub mod deliver;
#[cfg(feature = "runtime")]
pub mod invoke;
#[cfg(feature = "runtime")]
pub mod destination;
pub mod commit;
pub mod scale;

// The joints.
#[cfg(feature = "runtime")]
pub mod pipeline;
#[cfg(feature = "kafka")]
pub mod cli;
