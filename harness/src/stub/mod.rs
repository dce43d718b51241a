//! A stand-in for Lambda over HTTP, for engines in other processes and for other clients.
//!
//! It follows the same [law](pelton::invoke::law) as the engine's stand-in in process, and checks
//! events by the same [rules](pelton::invoke::verify).

mod answer;
mod server;

pub use server::{StubError, StubServer, StubSettings, StubStats, StubWatch};
