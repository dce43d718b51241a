//! All rows, each with its contestants interleaved, as one table.
//!
//! `scripts/bench` calls it: `cargo bench -p pelton-benches --bench ratios -- [WORD...] [--quick]
//! [--json FILE] [--markdown FILE] [--readme FILE]`. Words select rows whose `group case` contains
//! all of them; `--quick` takes the rows that the README shows, in a few minutes.

use pelton_benches::contest::{ALL, Front, Row};
use pelton_benches::in_full;
use pelton_benches::ratios::machine::Machine;
use pelton_benches::ratios::measure::{Effort, measure};
use pelton_benches::ratios::result::{Measured, Ratios};
use pelton_benches::ratios::table;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Default)]
struct Wanted {
    words: Vec<String>,
    quick: bool,
    json: Option<PathBuf>,
    markdown: Option<PathBuf>,
    readme: Option<PathBuf>,
}

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    match run(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ratios: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    while let Some(argument) = arguments.next() {
        let mut file = || {
            let file = arguments.next().ok_or_else(|| format!("{argument} needs a file's name"))?;
            Ok::<_, String>(Some(PathBuf::from(file)))
        };
        match argument.as_str() {
            "--bench" | "--test" => {}
            "--quick" => wanted.quick = true,
            "--json" => wanted.json = file()?,
            "--markdown" => wanted.markdown = file()?,
            "--readme" => wanted.readme = file()?,
            flag if flag.starts_with('-') => {
                return Err(format!(
                    "no flag is called {flag}; the flags are --quick, --json, --markdown and --readme"
                ));
            }
            word => wanted.words.push(word.to_owned()),
        }
    }
    Ok(wanted)
}

struct Interleaved<'w> {
    wanted: &'w Wanted,
    effort: Effort,
    rows: Vec<Measured>,
}

impl Front for Interleaved<'_> {
    fn wants(&self, group: &str, case: &str, headline: bool) -> bool {
        let id = format!("{group} {case}");
        (headline || !self.wanted.quick) && self.wanted.words.iter().all(|word| id.contains(word.as_str()))
    }

    fn brief(&self) -> bool {
        self.wanted.quick
    }

    fn row(&mut self, row: Row<'_>) {
        if in_full() {
            eprint!("{} {} ...", row.group, row.case);
        }
        let measured = measure(row, self.effort);
        if in_full() {
            eprintln!(" {} rounds", measured.rounds);
        }
        self.rows.push(measured);
    }
}

fn run(wanted: &Wanted) -> Result<(), Box<dyn Error>> {
    let effort = match (in_full(), wanted.quick) {
        (false, _) => Effort::ONCE,
        (true, true) => Effort::QUICK,
        (true, false) => Effort::FULL,
    };
    let mut front = Interleaved { wanted, effort, rows: Vec::new() };
    for contests in ALL {
        contests(&mut front);
    }
    if front.rows.is_empty() {
        return Err(
            format!("no row's name contains {:?}; without words all are measured", wanted.words).into()
        );
    }
    if !in_full() {
        // Numbers of tiny inputs say nothing; that all answers were right says something.
        front.rows.iter().for_each(|row| println!("Testing {} {}\nSuccess", row.group, row.case));
        return Ok(());
    }
    let command = std::env::var("PELTON_BENCH_COMMAND").unwrap_or_else(|_| "cargo bench".into());
    let ratios = Ratios { schema: 1, command, machine: Machine::here(), rows: front.rows };
    println!("\n{}\n\n{}", table::preface(&ratios).join("\n"), table::aligned(&ratios.rows));
    if let Some(file) = &wanted.json {
        std::fs::write(file, serde_json::to_string_pretty(&ratios)?)?;
    }
    if let Some(file) = &wanted.markdown {
        let preface = table::preface(&ratios).join("\n\n");
        std::fs::write(file, format!("{preface}\n\n{}", table::markdown(&ratios.rows)))?;
    }
    if let Some(file) = &wanted.readme {
        std::fs::write(file, table::replaced(&std::fs::read_to_string(file)?, &ratios)?)?;
    }
    Ok(())
}
