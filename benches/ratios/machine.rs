//! Where and of what something was measured.

use pelton::payload::Tier;
use serde::Serialize;
use std::fs;
use std::process::Command;

/// The machine, the compiler and the commit. What is not known says `unknown`.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many of them this process may use.
    pub cpus: usize,
    /// `L1d 48K, L1i 32K, L2 2048K, L3 266240K`, of the first CPU.
    pub caches: String,
    /// The operating system and its kernel's version.
    pub kernel: String,
    /// The tiers that it runs, best first.
    pub tiers: Vec<String>,
    /// The tier that was chosen, which `PELTON_TIER` may have lowered.
    pub tier: String,
    /// `rustc --version`.
    pub rustc: String,
    /// The commit.
    pub commit: String,
    /// Whether there were changes that are not committed.
    pub dirty: bool,
    /// The day, in UTC.
    pub day: String,
}

impl Machine {
    /// Looks around.
    #[must_use]
    pub fn here() -> Self {
        Self {
            cpu: cpu(),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            caches: caches(),
            kernel: said("uname", &["-sr"]),
            tiers: Tier::available().map(|tier| tier.to_string()).collect(),
            tier: Tier::best().to_string(),
            rustc: said("rustc", &["--version"]),
            commit: said("git", &["rev-parse", "--short=10", "HEAD"]),
            dirty: said("git", &["status", "--porcelain", "--untracked-files=no"]) != UNKNOWN,
            day: said("date", &["-u", "+%Y-%m-%d"]),
        }
    }
}

const UNKNOWN: &str = "unknown";

/// What a command says, or [`UNKNOWN`] if that is nothing.
fn said(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if text.is_empty() { UNKNOWN.to_owned() } else { text }
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let model = field("model name").unwrap_or_else(|| UNKNOWN.to_owned());
    // Hypervisors hide the name, seldom the numbers.
    match (field("cpu family"), field("model")) {
        (Some(family), Some(number)) => format!("{model} (family {family}, model {number})"),
        _ => model,
    }
}

fn caches() -> String {
    let read = |index: usize, file: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}");
        fs::read_to_string(path).map(|text| text.trim().to_owned())
    };
    let mut caches = Vec::new();
    for index in 0..8 {
        let (Ok(level), Ok(size)) = (read(index, "level"), read(index, "size")) else { break };
        let kind = match read(index, "type").as_deref() {
            Ok("Data") => "d",
            Ok("Instruction") => "i",
            _ => "",
        };
        caches.push(format!("L{level}{kind} {size}"));
    }
    if caches.is_empty() { UNKNOWN.to_owned() } else { caches.join(", ") }
}
