//! The engine's side of `scripts/peers`: writes events, asks the Rust class, judges all answers.
//!
//! `peers emit EVENTS` · `peers decode EVENTS DUMP` · `peers compare DUMP..`

#[path = "../tests/peers/cases.rs"]
mod cases;
#[path = "../tests/peers/compare.rs"]
mod compare;
#[path = "../tests/peers/emit.rs"]
mod emit;
#[path = "../tests/peers/rust.rs"]
mod rust;

use cases::Expectations;
use compare::Dump;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let expectations = Expectations::load();
    match arguments.as_slice() {
        ["emit", events] => {
            let written = emit::write_all(&expectations, Path::new(events))?;
            println!("{written} events in {events}");
        }
        ["decode", events, dump] => {
            let decoded = rust::decode(&cases::read_events(Path::new(events))?);
            fs::write(dump, serde_json::to_vec(&[decoded])?)?;
        }
        ["compare", dumps @ ..] if !dumps.is_empty() => return compare(&expectations, dumps),
        _ => return Err("usage: peers emit EVENTS | decode EVENTS DUMP | compare DUMP..".into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(expectations: &Expectations, dumps: &[&str]) -> Result<ExitCode, Box<dyn Error>> {
    let unsound = compare::bad_exceptions(expectations, &cases::PEERS);
    unsound.iter().for_each(|wrong| println!("WRONG: {wrong}"));
    let (mut passed, mut failed) = (0, unsound.len());
    for file in dumps {
        let peers: Vec<Dump> =
            serde_json::from_slice(&fs::read(file)?).map_err(|error| format!("{file}: {error}"))?;
        if let Some(Dump { peer, .. }) = peers.iter().find(|dump| !cases::PEERS.contains(&dump.peer.as_str()))
        {
            return Err(format!("{file}: {peer} is not in the list of peers in cases.rs").into());
        }
        for dump in peers {
            let verdict = compare::judge(expectations, &dump);
            println!(
                "{}: {} events read as expected, {} as a documented exception, {} wrong",
                dump.peer,
                verdict.as_expected,
                verdict.exceptions.len(),
                verdict.failures.len()
            );
            verdict.exceptions.iter().for_each(|exception| println!("    exception  {exception}"));
            verdict.failures.iter().for_each(|failure| println!("    WRONG      {failure}"));
            passed += verdict.as_expected + verdict.exceptions.len();
            failed += verdict.failures.len();
        }
    }
    println!("peers: {passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
