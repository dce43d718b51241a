//! Results for people.

pub mod capture;
pub mod compare;
pub mod explain;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod findings;
pub mod overhead;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod page;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod profile;
pub mod text;
pub mod tune;
pub mod tune_page;
pub mod simulate;
