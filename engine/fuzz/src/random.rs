//! Random inputs, for where libFuzzer is not: bytes of any kind, and the corpus with changes. Blind to
//! coverage, so it finds less; the same seed makes the same inputs.

use crate::{Target, target};
use pelton::time::Clock;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

/// The longest input.
const INPUT_BYTES_MAX: usize = 4096;
/// The most places that a file of the corpus is changed in.
const CHANGES_MAX: u32 = 8;

/// Where `target`'s corpus lies.
#[must_use]
pub fn corpus_folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// `target`'s corpus, in the order of the files' names.
///
/// # Errors
/// If it cannot be read.
pub fn corpus(target: &Target) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let paths = fs::read_dir(corpus_folder(target))?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.into_iter().map(|path| fs::read(&path).map(|input| (path, input))).collect()
}

/// Inputs without end.
pub fn inputs(seed: u64, corpus: &[(PathBuf, Vec<u8>)]) -> impl Iterator<Item = Vec<u8>> {
    let mut random = SmallRng::seed_from_u64(seed);
    std::iter::repeat_with(move || {
        if corpus.is_empty() || random.random_bool(0.25) {
            let mut input = vec![0; random.random_range(0..=INPUT_BYTES_MAX)];
            random.fill_bytes(&mut input);
            return input;
        }
        let mut input = corpus[random.random_range(0..corpus.len())].1.clone();
        for _ in 0..random.random_range(1..=CHANGES_MAX) {
            change(&mut input, &mut random);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    })
}

/// One change: a byte, a bit, a piece taken out, put in, or doubled.
fn change(input: &mut Vec<u8>, random: &mut SmallRng) {
    let at = random.random_range(0..=input.len());
    let end = (at + random.random_range(1..=16_usize)).min(input.len());
    match random.random_range(0..5) {
        0 if at < input.len() => input[at] = random.random(),
        1 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        2 => drop(input.drain(at..end)),
        3 => {
            let piece = input[at..end].to_vec();
            input.splice(at..at, piece);
        }
        _ => {
            let piece: Vec<u8> = (0..random.random_range(1..=16)).map(|_| random.random()).collect();
            input.splice(at..at, piece);
        }
    }
}

struct Arguments {
    target: Target,
    seconds: u64,
    seed: u64,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let name = arguments.next().unwrap_or_default();
        let mut parsed = Self { target: target(&name)?, seconds: 60, seed: 1 };
        while let Some(flag) = arguments.next() {
            let value = arguments.next().unwrap_or_default();
            let field = match flag.as_str() {
                "--seconds" => &mut parsed.seconds,
                "--seed" => &mut parsed.seed,
                _ => return Err(format!("found {flag:?}; allowed: --seconds N, --seed N")),
            };
            *field =
                value.parse().map_err(|_| format!("{flag}: found {value:?}; allowed: a whole number"))?;
        }
        Ok(parsed)
    }
}

/// Runs `TARGET [--seconds N] [--seed N]`. Exit code 0 if every input passed, 1 if one did not, 2 if
/// the arguments make no sense.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "speaks to whoever started it")]
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments = match Arguments::parse(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let Arguments { target, seconds, seed } = arguments;
    let corpus = corpus(&target).unwrap_or_default();
    println!("{}: random inputs for {seconds} s, seed {seed}, {} files of corpus", target.name, corpus.len());
    let (clock, end) = (Clock::start(), Duration::from_secs(seconds));
    let start = clock.now();
    let seeds = corpus.iter().map(|(_, input)| input.clone());
    for (count, input) in seeds.chain(inputs(seed, &corpus)).enumerate() {
        if clock.now().since(start) >= end {
            println!("{count} inputs passed");
            return ExitCode::SUCCESS;
        }
        if std::panic::catch_unwind(|| (target.check)(&input)).is_err() {
            let file = std::env::temp_dir().join(format!("pelton-fuzz-{}-{seed}-{count}", target.name));
            match fs::write(&file, &input) {
                Ok(()) => eprintln!("FAILED: input {count}, kept as {}", file.display()),
                Err(error) => eprintln!("FAILED: input {count}, not kept ({error}): {input:?}"),
            }
            let folder = corpus_folder(&target);
            eprintln!("once it is mended, the file belongs into {}", folder.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_inputs_again_and_another_makes_others() {
        let corpus = [(PathBuf::new(), b"some corpus of a target".to_vec())];
        let take = |seed| inputs(seed, &corpus).take(100).collect::<Vec<_>>();
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
        assert!(take(1).iter().all(|input| input.len() <= INPUT_BYTES_MAX));
    }

    #[test]
    fn arguments_that_make_no_sense_are_refused_in_words() {
        let parse = |line: &str| Arguments::parse(line.split_whitespace().map(str::to_owned)).err();
        assert_eq!(parse("payload --seconds 5 --seed 9"), None);
        assert!(parse("paylode").is_some_and(|error| error.contains("payload")));
        assert!(parse("payload --seconds soon").is_some_and(|error| error.contains("\"soon\"")));
        assert!(parse("payload --fast 1").is_some_and(|error| error.contains("--seconds")));
    }
}
