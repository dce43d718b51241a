//! `pelton check` and `pelton run --check`: says what a mapping would be, or which records its
//! filters would let pass, and does nothing else.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgMatches, Command};

use super::event::Event;
use super::run::{complain, layers};
use super::{EXIT_WRONG_SETTINGS, Process, with_settings};
use crate::filter::{Filters, Matcher};
use crate::mapping::{Mapping, Origins, explain};

/// The largest event file: far more than the largest event.
const EVENT_BYTES_MAX: u64 = 64 << 20;
/// Where not every record passes.
const EXIT_FILTERED: u8 = 1;

const ABOUT_EVENT: &str = "\
Says for each record of FILE whether the filters let it pass, pattern by pattern, and why; nothing else \
need be given. FILE is an event as a function gets it, one record of such an event, or else the bytes of \
one record's value; - is stdin";

/// The command's arguments.
pub(super) fn command() -> Command {
    let command = Command::new("check")
        .about("Check the settings and explain them, or explain what the filters do with an event")
        .arg(Arg::new("event").long("event").short('e').value_name("FILE").help(ABOUT_EVENT))
        .arg(
            Arg::new("as")
                .long("as")
                .value_name("WHAT")
                .requires("event")
                .value_parser(["event", "record", "value"])
                .help("What FILE is, if it should not be told from its content"),
        )
        .after_help(
            "Exit codes: 0 if all is well and every record passes, 1 if a record is filtered out, 2 if something \
             is wrong.",
        );
    with_settings(command)
}

/// Runs the command with these arguments.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let origins = match layers(matches) {
        Ok(origins) => origins,
        Err(problems) => return complain(&problems),
    };
    if let Some(path) = matches.get_one::<String>("event") {
        return match events(&origins, path, matches.get_one::<String>("as").map(String::as_str)) {
            Ok((text, all_pass)) => {
                print(&text);
                if all_pass { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FILTERED) }
            }
            Err(problem) => complain(&problem),
        };
    }
    match origins.validate(&Process) {
        Ok(mapping) => check(&mapping, &origins),
        Err(problems) => complain(&problems.to_string()),
    }
}

/// Prints the effective mapping to stdout.
pub(super) fn check(mapping: &Mapping, origins: &Origins) -> ExitCode {
    print(&explain(mapping, origins));
    ExitCode::SUCCESS
}

fn print(text: &str) {
    // A reader that went away (`| head`) has seen enough.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// What the filters do with each record of the file, and whether all pass.
fn events(origins: &Origins, path: &str, what: Option<&str>) -> Result<(String, bool), String> {
    let (patterns, topic) = origins.filters(&Process).map_err(|error| error.to_string())?;
    let bytes = read(path)?;
    let event =
        Event::parse(&bytes, what, &topic).map_err(|problem| format!("--event: found {path}: {problem}"))?;
    let mut text = String::new();
    let mut passing = 0;
    let mut matcher = Matcher::new(Arc::new(Filters::new(&patterns)));
    for record in event.records() {
        let place = format!("{}-{} @{}", record.topic, record.partition, record.offset);
        let verdict = if patterns.is_empty() {
            passing += 1;
            "delivered; there are no filters".to_owned()
        } else {
            let headers = record.headers();
            let explanation = matcher.explain(&record.topic, &record.borrowed(&headers));
            passing += usize::from(explanation.passes);
            explanation.to_string()
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{place}: {verdict}");
    }
    let all = event.records().len();
    let _ = writeln!(text, "\n{}: {passing} of {all} delivered", event.what());
    Ok((text, passing == all))
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    let complaint = |reason: &str| {
        format!(
            "--event: found {path} ({reason}); allowed: a readable file of at most {EVENT_BYTES_MAX} bytes; \
             correct the path"
        )
    };
    let source: Box<dyn Read> = match path {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(File::open(path).map_err(|error| complaint(&error.to_string()))?),
    };
    let mut bytes = Vec::new();
    source
        .take(EVENT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| complaint(&error.to_string()))?;
    if bytes.len() as u64 > EVENT_BYTES_MAX {
        return Err(complaint("longer"));
    }
    Ok(bytes)
}

const _: () = assert!(EXIT_FILTERED != EXIT_WRONG_SETTINGS);
