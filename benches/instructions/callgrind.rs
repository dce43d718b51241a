//! Counting with valgrind's callgrind.

use super::cases;
use super::count::{Count, CountError, Counter, per_unit};
use pelton::payload::Tier;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

/// Where counting begins and ends, in turn. Callgrind is told this name.
#[inline(never)]
fn pelton_mark() {
    // Without an effect the compiler may leave calls out.
    black_box(());
}

/// What the counted process does: prints its tiers, runs each case that is `wanted`, and prints a
/// line for each: its name and its units.
pub fn run_cases(wanted: &dyn Fn(&str) -> bool) {
    let tiers: Vec<String> = Tier::available().map(|tier| tier.to_string()).collect();
    println!("{TIERS}{}", tiers.join(" "));
    cases::each(wanted, &mut |mut case| {
        println!("{} {}", case.name, case.units);
        case.warm_up();
        for units in [case.units, 2 * case.units] {
            pelton_mark();
            (case.run)(black_box(units));
            pelton_mark();
        }
    });
}

const TIERS: &str = "tiers: ";

/// Counts the cases that `program`, run with `arguments`, runs by [`run_cases`], and says which tiers
/// it saw. `scratch` is a directory for callgrind's files, which it fills.
///
/// # Errors
/// If valgrind is not there or the process fails.
pub fn count(
    program: &Path,
    arguments: &[String],
    scratch: &Path,
) -> Result<(Vec<Count>, Vec<Tier>), CountError> {
    let no_scratch = |source| CountError::Start {
        program: "valgrind",
        source,
        remedy: "its scratch directory must be writable",
    };
    if scratch.exists() {
        fs::remove_dir_all(scratch).map_err(no_scratch)?;
    }
    fs::create_dir_all(scratch).map_err(no_scratch)?;
    let files = scratch.join("callgrind");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--demangle=no", "--dump-line=no", "--dump-before=*pelton_mark*"])
        .arg(format!("--callgrind-out-file={}", files.display()))
        .arg(program)
        .args(arguments)
        .output()
        .map_err(|source| CountError::Start {
            program: "valgrind",
            source,
            remedy: "apt-get install valgrind",
        })?;
    if !output.status.success() {
        return Err(CountError::failed(&output));
    }
    // A dump at each mark, numbered from 1: those at even marks hold what was counted.
    let mut counts = Vec::new();
    for part in 1.. {
        let Ok(text) = fs::read_to_string(scratch.join(format!("callgrind.{part}"))) else { break };
        if part % 2 == 0 {
            counts.extend(total(&text));
        }
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let tiers = printed.lines().find_map(|line| line.strip_prefix(TIERS)).unwrap_or_default();
    let cases: Vec<(&str, f64)> = printed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, units)| Some((name, units.parse().ok()?)))
        .collect();
    if counts.len() != 2 * cases.len() {
        let place = scratch.display().to_string();
        return Err(CountError::Mismatch { cases: cases.len(), counts: counts.len(), place });
    }
    let (pairs, _) = counts.as_chunks::<2>();
    let counts = cases.into_iter().zip(pairs);
    Ok((
        counts.map(|((name, units), pair)| per_unit(name, units, *pair, Counter::Callgrind)).collect(),
        tiers.split(' ').filter_map(|tier| tier.parse().ok()).collect(),
    ))
}

/// The instructions in a dump.
fn total(dump: &str) -> Option<u64> {
    dump.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

/// What `valgrind --version` says.
///
/// # Errors
/// If there is no valgrind.
pub fn version() -> Result<String, CountError> {
    let output = Command::new("valgrind").arg("--version").output().map_err(|source| CountError::Start {
        program: "valgrind",
        source,
        remedy: "apt-get install valgrind",
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
