//! What a run measured, and on what.

pub mod cpu;
pub mod curve;
pub mod histogram;
pub mod machine;
