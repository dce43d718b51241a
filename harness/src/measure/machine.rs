//! Where and what we measured: a figure without its machine and commit is a rumour.

use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine, the kernel, the build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The CPU's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Instruction sets that matter to the encoder, of those that the CPU has.
    pub cpu_features: Vec<String>,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The commit of the working tree that the harness was started in, `-dirty` if changed; empty
    /// outside of one.
    pub commit: String,
    /// Version of the harness.
    pub version: String,
    /// Whether this is an optimised build. Figures of another one mean nothing.
    pub optimized: bool,
}

impl Machine {
    /// Looks around. What cannot be found out stays empty.
    #[must_use]
    pub fn look() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let has: Vec<&str> = field(&cpuinfo, "flags").split_ascii_whitespace().collect();
        Self {
            cpu: field(&cpuinfo, "model name").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu_features: FEATURES
                .iter()
                .filter(|name| has.contains(*name))
                .map(|name| (*name).to_owned())
                .collect(),
            memory_bytes: field(&meminfo, "MemTotal")
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .map_or(0, |kib| kib * 1024),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            commit: commit().unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            optimized: !cfg!(debug_assertions),
        }
    }
}

const FEATURES: [&str; 5] = ["avx2", "avx512f", "avx512bw", "avx512_vbmi", "sha_ni"];

/// The value of the first line `name : value`.
fn field<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines()
        .find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim())
        })
        .unwrap_or_default()
}

fn commit() -> Option<String> {
    let output =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 17\nmodel name\t: A CPU: fast\nflags\t: fpu avx2\n";
        assert_eq!(field(text, "model name"), "A CPU: fast");
        assert_eq!(field(text, "flags"), "fpu avx2");
        assert_eq!(field(text, "cores"), "");
    }

    #[test]
    fn every_machine_has_a_core() {
        assert!(Machine::look().cores > 0);
    }
}
