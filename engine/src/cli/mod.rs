//! The command line of `pelton`: flags over a file over defaults, checked as a whole before
//! anything is connected to.
//!
//! What the flags are follows from [`Settings::list`]; nothing is declared twice.

mod check;
mod event;
mod launch;
mod logging;
mod process;
mod run;

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

pub use launch::launch;
pub use process::Process;
pub use run::RunOptions;

use crate::mapping::{Mapping, Setting, Settings, Shape};

/// The exit code for a mapping or a command line that is wrong (clap's own).
pub const EXIT_WRONG_SETTINGS: u8 = 2;

/// The process's arguments in, its exit code out. `start` runs the engine and is called once, with
/// a mapping that is valid and logging that is set up.
pub fn main(start: impl FnOnce(Mapping, RunOptions) -> ExitCode) -> ExitCode {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("run", matches)) => run::run(matches, start),
        Some(("check", matches)) => check::run(matches),
        // clap lets nothing else through.
        _ => ExitCode::from(EXIT_WRONG_SETTINGS),
    }
}

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    Command::new("pelton")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "A Lambda-compatible Kafka event source mapping: \
             records in batches to a function, offsets after success",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(run_command())
        .subcommand(check::command())
}

fn run_command() -> Command {
    let command = Command::new("run")
        .about("Read a topic, invoke a function with batches of its records, commit what it took")
        .after_help(
            "Every setting may also stand in the file, with _ for -: those from \"Engine\" on in the table \
             [engine].\nFlags win over the file. The names and ranges are those of AWS's mappings.",
        )
        .after_long_help(EXAMPLE)
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Only check the settings and explain them; connect to nothing"),
        )
        .arg(
            Arg::new("no-status")
                .long("no-status")
                .action(ArgAction::SetTrue)
                .help("No live status line, even on a terminal"),
        );
    with_settings(command)
}

/// Adds a flag for each setting, and one for the file.
fn with_settings(command: Command) -> Command {
    let config = Arg::new("config")
        .long("config")
        .short('c')
        .value_name("FILE")
        .help("A TOML file of settings")
        .value_parser(value_parser!(std::path::PathBuf));
    command.arg(config).args(Settings::list().map(|(path, setting)| argument(path, setting)))
}

const EXAMPLE: &str = "\
Every setting may also stand in the file, with _ for -; those from \"Engine\" on in the table [engine]:

    topics            = [\"orders\"]
    bootstrap_servers = [\"broker-1:9096\", \"broker-2:9096\"]
    function          = \"arn:aws:lambda:eu-central-1:123456789012:function:orders:live\"
    batch_size        = 500
    maximum_batching_window = \"2s\"

    [[source_access]]
    type = \"SASL_SCRAM_512_AUTH\"
    uri  = \"env:KAFKA_LOGIN\"       # {\"username\":\"..\",\"password\":\"..\"}, or file:/path

    [engine]
    pollers = 10

Flags win over the file. The names and ranges are those of AWS's event source mappings.
The environment variable PELTON_TIER (avx512, avx2, sse41, portable or scalar) lowers the instruction set
that payloads are written with, which otherwise is the best that the machine runs.
Exit codes: 0 after a drain (SIGTERM, SIGINT), 1 if the engine failed, 2 if a setting is wrong.";

/// The flag of a setting. Its value stays text: one reader says what is wrong with all layers.
fn argument(path: String, setting: &'static Setting) -> Arg {
    let lines: Vec<&str> = setting.doc.iter().map(|line| line.trim()).collect();
    let text = lines.join(" ").replace('`', "");
    let first = text.split_once(". ").map_or(text.as_str(), |(first, _)| first).trim_end_matches('.');
    let argument = Arg::new(path)
        .long(setting.name.replace('_', "-"))
        .value_name(setting.placeholder)
        .help_heading(setting.heading)
        .help(first.to_owned())
        .long_help(format!("{text}\n[{}]", setting.allowed))
        .value_parser(value_parser!(String));
    // AWS's own name, where the unit is part of it.
    let argument = match setting.name {
        "maximum_record_age" => argument.visible_alias("maximum-record-age-in-seconds"),
        _ => argument,
    };
    match setting.shape {
        Shape::One => argument.action(ArgAction::Set).allow_hyphen_values(true),
        Shape::Many => argument.action(ArgAction::Append),
        Shape::Switch => {
            argument.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true")
        }
    }
}

/// What the flags say, as a table like a file's.
fn flags(matches: &ArgMatches) -> toml::Table {
    let mut table = toml::Table::new();
    let mut engine = toml::Table::new();
    for (path, setting) in Settings::list() {
        let Some(values) = matches.get_many::<String>(&path) else { continue };
        let mut texts: Vec<toml::Value> = values.cloned().map(toml::Value::String).collect();
        let value = match setting.shape {
            Shape::Many => toml::Value::Array(texts),
            Shape::One | Shape::Switch => texts.pop().unwrap_or_else(|| toml::Value::String(String::new())),
        };
        let table = if path.starts_with("engine.") { &mut engine } else { &mut table };
        table.insert(setting.name.to_owned(), value);
    }
    if !engine.is_empty() {
        table.insert("engine".to_owned(), toml::Value::Table(engine));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(arguments: &[&str]) -> Result<toml::Table, clap::Error> {
        let all = ["pelton", "run"].iter().chain(arguments);
        let matches = command().try_get_matches_from(all)?;
        let (_, matches) = matches.subcommand().expect("run");
        Ok(flags(matches))
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_setting_has_a_flag_with_help_and_range() {
        let mut command = command();
        let run = command.find_subcommand_mut("run").expect("run");
        let help = run.render_long_help().to_string();
        for (_, setting) in Settings::list() {
            assert!(help.contains(&format!("--{}", setting.name.replace('_', "-"))), "{}", setting.name);
        }
        for heading in [
            "Event source:",
            "Batching:",
            "Filtering:",
            "Failures:",
            "Function:",
            "Access to the cluster:",
            "Engine:",
            "Telemetry:",
        ] {
            assert!(help.contains(heading), "{heading}\n{help}");
        }
        assert!(help.contains("[1 to 10000 records; default 100]"), "{help}");
    }

    #[test]
    fn flags_become_a_table_like_a_file_s() {
        let table = parse(&[
            "--topics=orders",
            "--bootstrap-servers",
            "a:1,b:2",
            "--bootstrap-servers=c:3",
            "--batch-size",
            "-5",
            "--source-access",
            "BASIC_AUTH=env:X",
            "--tls",
            "--threads",
            "2",
            "--librdkafka",
            "debug=cgrp",
        ]);
        let file = "topics = ['orders']\nbootstrap_servers = ['a:1,b:2', 'c:3']\nbatch_size = '-5'\n\
                    source_access = ['BASIC_AUTH=env:X']\n[engine]\ntls = 'true'\nthreads = '2'\nlibrdkafka = ['debug=cgrp']";
        assert_eq!(table.expect("valid"), file.parse().expect("TOML"));
        assert!(parse(&[]).expect("valid").is_empty());
        assert!(parse(&["--batch-sise", "5"]).expect_err("unknown").to_string().contains("--batch-size"));
    }

    proptest! {
        #[test]
        fn no_arguments_make_the_parser_panic(
            arguments in prop::collection::vec("--(batch-size|tls|topics|source-access|librdkafka|pollers)(=.{0,12})?|.{0,12}", 0..6),
        ) {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            if let Ok(table) = parse(&arguments) {
                let mut origins = crate::mapping::Origins::default();
                origins.add_flags(&table);
                let _ = origins.validate(&Process);
            }
        }
    }
}
