//! Results for people.

pub mod capture;
pub mod overhead;
pub mod text;
