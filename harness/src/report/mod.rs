//! Results for people.

pub mod overhead;
pub mod text;
