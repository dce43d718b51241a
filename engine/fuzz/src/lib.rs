//! Fuzz targets. Each is a plain function over bytes that panics if something is treated wrongly.
//!
//! `scripts/fuzz TARGET` runs one under libFuzzer where a nightly compiler is, and otherwise over
//! random inputs ([`random`]). `cargo test` replays every target's corpus, `corpus/TARGET/`, on any
//! compiler.
//!
//! A new target is a function, its line in [`TARGETS`], and at least one file of corpus.

pub mod names;
pub mod payload;
pub mod random;
pub mod settings;

/// A function to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What `scripts/fuzz` calls it, and the name of its folder of `corpus/`.
    pub name: &'static str,
    /// Panics if anything is wrong with how the input is treated. Whether the input itself makes
    /// sense is no matter: one that does not is to be refused without a panic.
    pub check: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "payload", check: payload::check },
    Target { name: "capture", check: pelton::source::replay::fuzz::capture },
    Target { name: "filter", check: pelton::filter::fuzz::pattern_and_value },
    Target { name: "metadata", check: pelton::commit::metadata::fuzz },
    Target { name: "names", check: names::check },
    Target { name: "response", check: pelton::deliver::response::fuzz },
    Target { name: "settings", check: settings::check },
];

/// The environment variable that names the target under libFuzzer, whose `main` takes the arguments.
pub const TARGET_VARIABLE: &str = "PELTON_FUZZ_TARGET";

/// The target called `name`.
///
/// # Errors
/// In words, if there is none.
pub fn target(name: &str) -> Result<Target, String> {
    TARGETS.iter().find(|target| target.name == name).copied().ok_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        format!("target: found {name:?}; allowed: {}", names.join(", "))
    })
}

/// The target that the environment names.
///
/// # Panics
/// If it names none.
#[must_use]
pub fn target_of_environment() -> Target {
    let name = std::env::var(TARGET_VARIABLE).unwrap_or_default();
    target(&name).unwrap_or_else(|error| panic!("{TARGET_VARIABLE}: {error}"))
}
