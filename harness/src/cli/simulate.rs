//! `pelton-harness simulate`

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pelton::time::Clock;

use super::{AUDIT_FAILED, COULD_NOT_RUN, OK, USAGE, interrupt};
use crate::report::simulate::{SimulateResult, failure, report};
use crate::simulate::{Failure, Random, Scenario, Tally, run, trace_of};

/// Runs without `--seeds` and `--minutes`.
const RUNS: u64 = 1_000;
/// A simulation that is over by then shows no progress.
const SHOWN_AFTER: Duration = Duration::from_secs(1);
/// Runs between two looks at the clock.
const RUNS_BETWEEN: u64 = 16;

/// Run the engine in virtual time, with everything that can go wrong, and check what must hold.
#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// How many runs. 1,000 unless `--minutes` says how long.
    #[arg(long, value_name = "N")]
    pub seeds: Option<u64>,
    /// The first seed; the others follow it. Drawn anew each time, and printed, if it is not given.
    #[arg(long, value_name = "SEED", value_parser = seed)]
    pub from: Option<u64>,
    /// Run only this seed.
    #[arg(long, value_name = "SEED", value_parser = seed, conflicts_with_all = ["seeds", "from", "minutes"])]
    pub seed: Option<u64>,
    /// Show everything that happens.
    #[arg(long, requires = "seed")]
    pub trace: bool,
    /// End after so many minutes.
    #[arg(long, value_name = "M")]
    pub minutes: Option<f64>,
    /// Write the result as JSON; `-` for standard output, the report then goes to standard error.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// No progress bar.
    #[arg(long)]
    pub no_progress: bool,
}

/// A seed as it is printed: hexadecimal with `0x`, or decimal.
fn seed(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let parsed = digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
    parsed.map_err(|error| format!("{error}; write 0x and up to 16 hexadecimal digits, or a decimal number"))
}

impl SimulateArguments {
    /// Simulates. Returns the exit code.
    #[must_use]
    pub fn act(&self) -> u8 {
        // What the engine says of faults that were injected is no news; it costs more than the rest.
        if std::env::var_os("RUST_LOG").is_none() {
            let nobody = tracing::subscriber::NoSubscriber::default();
            return tracing::subscriber::with_default(nobody, || self.simulate());
        }
        self.simulate()
    }

    fn simulate(&self) -> u8 {
        if self.minutes.is_some_and(|minutes| !(minutes > 0.0 && minutes.is_finite())) {
            eprintln!("error: --minutes must be above 0");
            return USAGE;
        }
        // A panic of the engine is a finding, and is reported as one.
        std::panic::set_hook(Box::new(|_| {}));
        if self.trace {
            let scenario = Scenario::draw(self.seed.unwrap_or_default());
            println!("{scenario}\n");
            trace_of(&scenario, None).iter().for_each(|line| println!("{line}"));
        }
        let clock = Clock::start();
        let first = self.seed.or(self.from).unwrap_or_else(fresh_seed);
        let (tally, found) = self.runs(first, &clock);
        let result = SimulateResult::new(first, tally, clock.now().0, found.as_deref());
        if let Some(found) = &found {
            eprint!("{}", failure(found));
        }
        match super::print(&report(&result), &result, self.json.as_deref()) {
            Ok(()) if found.is_none() => OK,
            Ok(()) => AUDIT_FAILED,
            Err(error) => {
                eprintln!("error: {error:#}");
                COULD_NOT_RUN
            }
        }
    }

    fn runs(&self, first: u64, clock: &Clock) -> (Tally, Option<Box<Failure>>) {
        let wanted = if self.seed.is_some() { Some(1) } else { self.seeds };
        let wanted = wanted.or(self.minutes.is_none().then_some(RUNS));
        let until = self.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
        let interrupted = interrupt::listen();
        let mut progress = Progress { bar: None, hidden: self.no_progress, wanted };
        let mut tally = Tally::default();
        for number in 0..wanted.unwrap_or(u64::MAX) {
            match run(first.wrapping_add(number)) {
                Ok(one) => tally.add(&one),
                Err(found) => {
                    progress.end();
                    return (tally, Some(found));
                }
            }
            if number % RUNS_BETWEEN == 0 {
                let passed = Duration::from_nanos(clock.now().0);
                progress.show(&tally, passed);
                if is_over(&interrupted, until, passed) {
                    break;
                }
            }
        }
        progress.end();
        (tally, None)
    }
}

fn is_over(interrupted: &AtomicBool, until: Option<Duration>, passed: Duration) -> bool {
    interrupted.load(Ordering::Relaxed) || until.is_some_and(|until| passed >= until)
}

/// Another for each start: what was never tried before finds more than what was.
fn fresh_seed() -> u64 {
    Random::new(pelton::time::wall_ms().cast_unsigned() ^ u64::from(std::process::id()) << 48).bits()
}

struct Progress {
    bar: Option<ProgressBar>,
    hidden: bool,
    wanted: Option<u64>,
}

impl Progress {
    fn show(&mut self, tally: &Tally, passed: Duration) {
        if self.hidden || passed < SHOWN_AFTER {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(self.wanted, ProgressDrawTarget::stderr());
            let template = if self.wanted.is_some() {
                "{msg:<40} {bar:24} {percent:>3} %  {eta} left"
            } else {
                "{msg:<40} {elapsed}"
            };
            let style = ProgressStyle::with_template(template);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        bar.set_position(tally.runs);
        bar.set_message(format!("{} runs, {:.1} virtual hours", tally.runs, tally.virtual_s / 3_600.0));
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_read_as_it_is_printed() {
        assert_eq!(seed("0x00000000000000ff"), Ok(255));
        assert_eq!(seed("255"), Ok(255));
        assert!(seed("0xtwo").is_err_and(|error| error.contains("hexadecimal")));
    }
}
