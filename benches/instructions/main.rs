//! Counts instructions per record and compares them with the committed baseline.
//!
//! `cargo bench -p pelton-benches --bench instructions -- [--check|--update] [--stepper] [WORD...]`;
//! words select cases that contain all of them. `--check` fails where a count differs from the
//! baseline, `--update` writes it, `--stepper` counts everything without valgrind (which differs a little
//! where the C library copies: under valgrind it chooses other routines).

use pelton::payload::Tier;
use pelton_benches::in_full;
use pelton_benches::instructions::baseline::{self, Baseline, Verdict};
use pelton_benches::instructions::cases::tier_of;
use pelton_benches::instructions::{Count, CountError, Counter, callgrind};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// The first argument of the process that callgrind counts; the words follow.
const CHILD: &str = "--run-cases";

struct Wanted {
    check: bool,
    update: bool,
    stepper: bool,
    words: Vec<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, words @ ..] = &arguments[..]
        && first == CHILD
    {
        return child(words);
    }
    if !in_full() {
        return smoke();
    }
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    let known = ["--bench", "--check", "--update", "--stepper"];
    if let Some(unknown) =
        arguments.iter().find(|word| word.starts_with('-') && !known.contains(&word.as_str()))
    {
        eprintln!("no flag is called {unknown}; the flags are --check, --update and --stepper");
        return ExitCode::from(2);
    }
    let wanted = Wanted {
        check: flag("--check"),
        update: flag("--update"),
        stepper: flag("--stepper"),
        words: arguments.iter().filter(|word| !word.starts_with('-')).cloned().collect(),
    };
    match run(&wanted) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn child(words: &[String]) -> ExitCode {
    callgrind::run_cases(&|name| contains_all(name, words));
    ExitCode::SUCCESS
}

fn contains_all(name: &str, words: &[String]) -> bool {
    words.iter().all(|word| name.contains(word.as_str()))
}

/// Under `cargo test`: one case, twice, by the counter that needs no other program.
fn smoke() -> ExitCode {
    let count = || step(&|name| name == "payload/batch-of-1/256/portable");
    match (count(), count()) {
        (Ok(first), Ok(again)) => {
            assert_eq!(first, again, "a count is the same each time");
            assert!(first.len() == 1 && first[0].per_unit > 10.0, "{first:?}");
            println!("Testing instructions/stepper\nSuccess");
        }
        (Err(error), _) | (_, Err(error)) => println!("NOT COUNTED: {error}"),
    }
    ExitCode::SUCCESS
}

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
fn step(wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Count>, CountError> {
    pelton_benches::instructions::stepper::count(wanted)
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
fn step(_: &dyn Fn(&str) -> bool) -> Result<Vec<Count>, CountError> {
    Err(CountError::Refused("it knows only Linux on x86-64, with glibc".into()))
}

/// Everything that this machine can count, and the tiers that it cannot.
fn count(wanted: &Wanted) -> Result<(Vec<Count>, Vec<Tier>), Box<dyn Error>> {
    if wanted.stepper {
        return Ok((step(&|name| contains_all(name, &wanted.words))?, Vec::new()));
    }
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("callgrind");
    let arguments: Vec<String> = [CHILD.to_owned()].into_iter().chain(wanted.words.iter().cloned()).collect();
    let (mut counts, seen) = callgrind::count(&std::env::current_exe()?, &arguments, &scratch)?;
    let hidden: Vec<Tier> = Tier::available().filter(|tier| !seen.contains(tier)).collect();
    if hidden.is_empty() {
        return Ok((counts, hidden));
    }
    let names = hidden.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    println!("valgrind hides {names} from the program: counted on the processor itself, step by step");
    let of_hidden = |name: &str| {
        contains_all(name, &wanted.words) && tier_of(name).is_some_and(|tier| hidden.contains(&tier))
    };
    match step(&of_hidden) {
        Ok(stepped) => {
            counts.extend(stepped);
            Ok((counts, Vec::new()))
        }
        Err(error) => {
            println!("NOT COUNTED: {names}: {error}");
            Ok((counts, hidden))
        }
    }
}

fn run(wanted: &Wanted) -> Result<ExitCode, Box<dyn Error>> {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/baseline/instructions.txt"));
    let committed = Baseline::parse(&std::fs::read_to_string(&file).unwrap_or_default())?;
    let (counts, uncounted) = count(wanted)?;
    print_table(&counts);
    let countable = |name: &str| {
        let selected = contains_all(name, &wanted.words);
        let here = tier_of(name).is_none_or(|tier| Tier::available().any(|runs| runs == tier));
        selected && here && !tier_of(name).is_some_and(|tier| uncounted.contains(&tier))
    };
    if wanted.update {
        let kept: Vec<Count> = committed.counts.iter().filter(|old| !countable(&old.name)).cloned().collect();
        for Count { name, .. } in &kept {
            println!("KEPT as it was, because it was not counted here: {name}");
        }
        let updated = Baseline { facts: facts(&counts)?, counts: in_order(counts, kept) };
        std::fs::create_dir_all(file.parent().unwrap_or(&file))?;
        std::fs::write(&file, updated.render())?;
        println!("written: {}", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let verdicts = baseline::compare(&committed.counts, &counts, countable);
    Ok(report(&verdicts, &committed, &rustc()?, wanted))
}

/// By name, with numbers as numbers.
fn in_order(counts: Vec<Count>, kept: Vec<Count>) -> Vec<Count> {
    let mut all: Vec<Count> = counts.into_iter().chain(kept).collect();
    all.sort_by_key(|count| {
        let mut parts: Vec<String> = count.name.split('/').map(str::to_owned).collect();
        for part in &mut parts {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.insert_str(0, &"0".repeat(8_usize.saturating_sub(digits)));
        }
        parts
    });
    all
}

fn rustc() -> Result<String, CountError> {
    let output = Command::new("rustc").arg("--version").output().map_err(|source| CountError::Start {
        program: "rustc",
        source,
        remedy: "it must be the one that built this",
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn facts(counts: &[Count]) -> Result<Vec<(String, String)>, CountError> {
    let tiers = |counter: Counter| {
        let tiers: Vec<String> = Tier::available()
            .filter(|tier| {
                counts.iter().any(|count| count.counter == counter && tier_of(&count.name) == Some(*tier))
            })
            .map(|tier| tier.to_string())
            .collect();
        if tiers.is_empty() { "none".to_owned() } else { tiers.join(" ") }
    };
    Ok(vec![
        ("rustc".into(), rustc()?),
        ("valgrind".into(), callgrind::version()?),
        ("tiers that valgrind saw".into(), tiers(Counter::Callgrind)),
        ("tiers counted by the stepper".into(), tiers(Counter::Stepper)),
    ])
}

/// One line per case, one column per tier.
fn print_table(counts: &[Count]) {
    let tiers: Vec<Tier> = Tier::available().collect();
    let mut lines: Vec<(&str, BTreeMap<Option<Tier>, f64>)> = Vec::new();
    for Count { name, per_unit, .. } in counts {
        let tier = tier_of(name);
        let stem = if tier.is_some() { name.rsplit_once('/').map_or("", |(stem, _)| stem) } else { name };
        match lines.iter_mut().find(|(known, _)| *known == stem) {
            Some((_, row)) => drop(row.insert(tier, *per_unit)),
            None => lines.push((stem, BTreeMap::from([(tier, *per_unit)]))),
        }
    }
    print!("\n{:<34}", "instructions per unit");
    tiers.iter().for_each(|tier| print!(" {:>10}", tier.to_string()));
    println!(" {:>10}", "(no tier)");
    for (stem, row) in lines {
        print!("{stem:<34}");
        for column in tiers.iter().copied().map(Some).chain([None]) {
            print!(" {:>10}", row.get(&column).map_or(String::new(), |number| format!("{number:.1}")));
        }
        println!();
    }
    println!();
}

/// So many cases that the baseline does not have are named.
const NEW_SHOWN_MAX: usize = 10;

fn report(
    verdicts: &BTreeMap<String, Verdict>,
    committed: &Baseline,
    rustc: &str,
    wanted: &Wanted,
) -> ExitCode {
    let (mut bad, mut compared, mut new, mut not_counted) = (0, 0, 0, Vec::new());
    for (name, verdict) in verdicts {
        compared += 1;
        match verdict {
            Verdict::Same => continue,
            Verdict::Differs { was, is, percent } => {
                println!("{name}: {was:.2} instructions in the baseline, {is:.2} now ({percent:+.1} %)");
            }
            Verdict::New => {
                new += 1;
                if new <= NEW_SHOWN_MAX {
                    println!("{name}: not in the baseline");
                }
            }
            Verdict::Gone => println!("{name}: in the baseline, but there is no such case any more"),
            Verdict::NotCounted => {
                compared -= 1;
                if contains_all(name, &wanted.words) {
                    not_counted.push(name.as_str());
                }
                continue;
            }
        }
        bad += 1;
    }
    if new > NEW_SHOWN_MAX {
        println!("... and {} more that are not in the baseline", new - NEW_SHOWN_MAX);
    }
    if !not_counted.is_empty() {
        println!(
            "NOT COMPARED: {} cases that this machine cannot count, such as {}",
            not_counted.len(),
            not_counted[0]
        );
    }
    let known = committed.fact("rustc").unwrap_or("another compiler");
    if known != rustc {
        println!(
            "NOT COMPARED: the baseline is of {known}, this is {rustc}, which may well generate other code. \
             Make a baseline of your own before a change (`scripts/bench --baseline`) and look at the diff after it."
        );
        return ExitCode::SUCCESS;
    }
    println!(
        "{compared} cases compared, {bad} differ (by more than {} % and {} instruction)",
        baseline::PERCENT_MAX,
        baseline::INSTRUCTIONS_MAX
    );
    if bad == 0 {
        return ExitCode::SUCCESS;
    }
    println!(
        "more instructions: find out why. Fewer, or for a good reason: `scripts/bench --baseline` writes \
         benches/baseline/instructions.txt; commit it with the change, so that the diff shows it."
    );
    if wanted.check { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
