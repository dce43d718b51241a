//! One line on a terminal that says how it is going, redrawn in place.
//!
//! Log lines share the terminal: both go through [`Terminal`], which takes the status line away
//! before it lets a log line through.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::counters::{Counters, Totals};
use super::names::Count;
use crate::time::Nanos;

/// Where people read: stderr, or anything else that can be written to.
pub struct Terminal {
    out: Mutex<Out>,
    interactive: bool,
}

struct Out {
    write: Box<dyn Write + Send>,
    status_shown: bool,
}

/// To the first column, and erase the line.
const ERASE: &[u8] = b"\r\x1b[2K";

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("interactive", &self.interactive).finish_non_exhaustive()
    }
}

impl Terminal {
    /// The process's stderr; a status line appears only if that is a terminal and `status_line`
    /// asks for one.
    #[must_use]
    pub fn stderr(status_line: bool) -> Arc<Self> {
        let stderr = std::io::stderr();
        let interactive = status_line && stderr.is_terminal();
        Self::new(Box::new(stderr), interactive)
    }

    /// Anything else.
    #[must_use]
    pub fn new(write: Box<dyn Write + Send>, interactive: bool) -> Arc<Self> {
        Arc::new(Self { out: Mutex::new(Out { write, status_shown: false }), interactive })
    }

    /// Whether a status line is shown here.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Writes whole log lines. What cannot be written is lost: there is nowhere else to say so.
    pub fn log(&self, lines: &[u8]) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.erase_status();
        let _ = out.write.write_all(lines).and_then(|()| out.write.flush());
    }

    fn draw(&self, line: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write.write_all(ERASE).and_then(|()| out.write.write_all(line.as_bytes()));
        let _ = out.write.flush();
        out.status_shown = true;
    }

    fn erase(&self) {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).erase_status();
    }
}

impl Out {
    fn erase_status(&mut self) {
        if std::mem::take(&mut self.status_shown) {
            let _ = self.write.write_all(ERASE).and_then(|()| self.write.flush());
        }
    }
}

/// Time between two drawings.
const REDRAW: Duration = Duration::from_millis(250);
/// Drawings over which a rate is taken: one second.
const SAMPLES: usize = 4;
/// Characters of the line, so that it never wraps on a terminal of 80.
const LINE_CHARS_MAX: usize = 79;

/// The line. Erased when dropped.
#[derive(Debug)]
pub struct StatusLine {
    terminal: Arc<Terminal>,
    counters: Arc<Counters>,
    /// When, and how many records were delivered by then.
    samples: VecDeque<(Nanos, u64)>,
}

impl StatusLine {
    /// A line about `counters`. Draws nothing if the terminal is none.
    #[must_use]
    pub fn new(terminal: Arc<Terminal>, counters: Arc<Counters>) -> Self {
        Self { terminal, counters, samples: VecDeque::with_capacity(SAMPLES + 1) }
    }

    /// Redraws if it is time. Call it as often as convenient, and again at the latest at the
    /// instant it answers; `None` if never.
    pub fn tick(&mut self, now: Nanos) -> Option<Nanos> {
        if !self.terminal.is_interactive() {
            return None;
        }
        if let Some((last, _)) = self.samples.back()
            && now < *last + REDRAW
        {
            return Some(*last + REDRAW);
        }
        let totals = self.counters.totals();
        let delivered = delivered(&totals);
        self.samples.push_back((now, delivered));
        let rate =
            self.samples.front().map_or(0.0, |(then, before)| per_second(delivered - before, now - *then));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        self.terminal.draw(&compose(&self.counters, &totals, rate));
        Some(now + REDRAW)
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.terminal.erase();
    }
}

/// Records that the function took.
fn delivered(totals: &Totals) -> u64 {
    totals.records(Count::Delivered)
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn per_second(records: u64, took: Duration) -> f64 {
    if took.is_zero() { 0.0 } else { records as f64 / took.as_secs_f64() }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn compose(counters: &Counters, totals: &Totals, rate: f64) -> String {
    let lags: Vec<u64> = counters.partitions().iter().filter_map(|(_, gauges)| gauges.lag()).collect();
    let lag = if lags.is_empty() { "?".to_owned() } else { short(lags.iter().sum::<u64>() as f64) };
    let mut line = format!(
        "{} {} rec/s, {} done, {} in flight, lag {lag}",
        counters.state().name(),
        short(rate),
        short(delivered(totals) as f64),
        totals.in_flight,
    );
    let failed = totals.records(Count::Failed);
    if failed > 0 {
        line += &format!(", {} failed", short(failed as f64));
    }
    if let Some(problem) = counters.problem() {
        line += &format!(" | {problem}");
    }
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_CHARS_MAX).collect()
}

/// A number with three digits and a letter: `1.23M`.
fn short(number: f64) -> String {
    let (scaled, letter) = match number {
        n if n >= 999.5e6 => (n / 1e9, "G"),
        n if n >= 999.5e3 => (n / 1e6, "M"),
        n if n >= 999.5 => (n / 1e3, "k"),
        n => return format!("{n:.0}"),
    };
    let decimals = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
    format!("{scaled:.decimals$}{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Offset, Partition};
    use crate::telemetry::EngineState;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic while writing").extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Screen {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock().expect("no panic"))).expect("UTF-8")
        }
    }

    #[test]
    fn numbers_have_three_digits() {
        let cases = [
            (0.0, "0"),
            (7.0, "7"),
            (999.4, "999"),
            (999.6, "1.00k"),
            (1_234.0, "1.23k"),
            (9_996.0, "10.0k"),
        ];
        for (number, text) in
            cases.into_iter().chain([(99_960.0, "100k"), (12_345_678.0, "12.3M"), (4e9, "4.00G")])
        {
            assert_eq!(short(number), text);
        }
    }

    #[test]
    fn the_line_says_rate_flight_lag_and_problem() {
        let counters = Counters::new(1);
        let writer = counters.writer(0);
        let screen = Screen::default();
        let terminal = Terminal::new(Box::new(screen.clone()), true);
        let mut status = StatusLine::new(terminal, counters.clone());
        counters.set_state(EngineState::Running);
        status.tick(Nanos::ZERO);
        assert_eq!(screen.take(), "\r\x1b[2Krunning 0 rec/s, 0 done, 0 in flight, lag ?");

        writer.records(Count::Invoked, 1_500);
        writer.records(Count::Delivered, 1_000);
        writer.records(Count::Failed, 500);
        writer.set_in_flight(3);
        let gauges = counters.own_partition(Partition(0));
        gauges.set_end(Offset(2_000_000));
        gauges.set_watermark(Offset(0));
        counters.note_problem("429\nslow down");
        assert_eq!(status.tick(Nanos(1)), Some(Nanos::ZERO + REDRAW), "not yet");
        assert_eq!(screen.take(), "");
        status.tick(Nanos::ZERO + Duration::from_millis(500));
        let line = "running 2.00k rec/s, 1.00k done, 3 in flight, lag 2.00M, 500 failed | 429 slow down";
        assert_eq!(screen.take(), format!("\r\x1b[2K{}", &line[..LINE_CHARS_MAX]));
    }

    #[test]
    fn a_log_line_takes_the_status_line_away_first() {
        let screen = Screen::default();
        let terminal = Terminal::new(Box::new(screen.clone()), true);
        let mut status = StatusLine::new(terminal.clone(), Counters::new(0));
        terminal.log(b"one\n");
        assert_eq!(screen.take(), "one\n");
        status.tick(Nanos::ZERO);
        screen.take();
        terminal.log(b"two\n");
        terminal.log(b"three\n");
        assert_eq!(screen.take(), "\r\x1b[2Ktwo\nthree\n");
        status.tick(Nanos(1_000_000_000));
        screen.take();
        drop(status);
        assert_eq!(screen.take(), "\r\x1b[2K");
    }

    #[test]
    fn without_a_terminal_nothing_is_drawn() {
        let screen = Screen::default();
        let mut status = StatusLine::new(Terminal::new(Box::new(screen.clone()), false), Counters::new(0));
        assert_eq!(status.tick(Nanos::ZERO), None);
        assert_eq!(screen.take(), "");
    }
}
