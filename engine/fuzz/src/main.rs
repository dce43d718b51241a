//! Runs one target: under libFuzzer with the feature `libfuzzer`, else over random inputs.
#![cfg_attr(feature = "libfuzzer", no_main)]

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static TARGET: std::sync::LazyLock<pelton_fuzz::Target> =
        std::sync::LazyLock::new(pelton_fuzz::target_of_environment);
    (TARGET.check)(input);
});

#[cfg(not(feature = "libfuzzer"))]
fn main() -> std::process::ExitCode {
    pelton_fuzz::random::main(std::env::args().skip(1))
}
