//! The committed counts, as a file one can read, and what differs from them.
//!
//! `# key: value` lines say how it was counted; then one line per case: its name, instructions per
//! unit, and the counter.

use super::count::{Count, Counter};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A count may differ by so much of the baseline: what a compiler's mood moves without a change of
/// the code.
pub const PERCENT_MAX: f64 = 2.0;
/// Or by so many instructions, for the shortest cases.
pub const INSTRUCTIONS_MAX: f64 = 1.0;

/// The file's contents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    /// How it was counted, in the file's order.
    pub facts: Vec<(String, String)>,
    /// The counts, in the file's order.
    pub counts: Vec<Count>,
}

/// Why a file is no baseline.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("baseline, line {line}: {problem}; write the file anew with `scripts/bench --baseline`")]
pub struct NotABaseline {
    line: usize,
    problem: String,
}

impl Baseline {
    /// Reads a file's text.
    ///
    /// # Errors
    /// If a line is neither a fact nor a count.
    pub fn parse(text: &str) -> Result<Self, NotABaseline> {
        let mut baseline = Self::default();
        for (at, line) in text.lines().enumerate() {
            let wrong = |problem: String| NotABaseline { line: at + 1, problem };
            if let Some(comment) = line.strip_prefix('#') {
                let fact = comment.split_once(": ");
                baseline.facts.extend(fact.map(|(key, value)| (key.trim().into(), value.into())));
                continue;
            }
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [] => {}
                [name, number, counter] => {
                    let per_unit: f64 =
                        number.parse().map_err(|_| wrong(format!("{number:?} is not a number")))?;
                    let counter: Counter = counter.parse().map_err(wrong)?;
                    if baseline.counts.iter().any(|count| count.name == name) {
                        return Err(wrong(format!("{name} stands there twice")));
                    }
                    baseline.counts.push(Count { name: name.to_owned(), per_unit, counter });
                }
                _ => return Err(wrong(format!("{line:?} is not `case instructions counter`"))),
            }
        }
        Ok(baseline)
    }

    /// The file's text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::from(
            "# Instructions per record; per value for base64, per payload for gather, per batch for watermark\n\
             # and batch-of-1. Checked by scripts/test; written by `scripts/bench --baseline`.\n",
        );
        for (key, value) in &self.facts {
            let _ = writeln!(text, "# {key}: {value}");
        }
        text.push('\n');
        let width = self.counts.iter().map(|count| count.name.len()).max().unwrap_or(0);
        for Count { name, per_unit, counter } in &self.counts {
            let _ = writeln!(text, "{name:<width$} {per_unit:>12.2}  {counter}");
        }
        text
    }

    /// What the file says under `key`.
    #[must_use]
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.facts.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// How one case compares.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Within the bound.
    Same,
    /// Beyond the bound; positive percent are more instructions.
    Differs {
        /// The committed count.
        was: f64,
        /// The new one.
        is: f64,
        /// The difference in percent of the committed one.
        percent: f64,
    },
    /// The baseline does not have it.
    New,
    /// The baseline has it, and it could have been counted here, but was not.
    Gone,
    /// The baseline has it, and it cannot be counted here.
    NotCounted,
}

/// Compares all cases by name, sorted. `countable` says of a case of the baseline whether it would
/// have been counted here if it still existed.
pub fn compare(
    baseline: &[Count],
    counts: &[Count],
    countable: impl Fn(&str) -> bool,
) -> BTreeMap<String, Verdict> {
    let mut verdicts: BTreeMap<String, Verdict> = baseline
        .iter()
        .map(|old| {
            let gone = if countable(&old.name) { Verdict::Gone } else { Verdict::NotCounted };
            (old.name.clone(), gone)
        })
        .collect();
    for Count { name, per_unit: is, .. } in counts {
        let verdict = match baseline.iter().find(|old| old.name == *name) {
            None => Verdict::New,
            Some(old) => difference(old.per_unit, *is),
        };
        verdicts.insert(name.clone(), verdict);
    }
    verdicts
}

fn difference(was: f64, is: f64) -> Verdict {
    let percent = if was == 0.0 { 0.0 } else { (is - was) / was * 100.0 };
    let bound = (was.abs() * PERCENT_MAX / 100.0).max(INSTRUCTIONS_MAX);
    if (is - was).abs() <= bound { Verdict::Same } else { Verdict::Differs { was, is, percent } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, per_unit: f64) -> Count {
        Count { name: name.into(), per_unit, counter: Counter::Callgrind }
    }

    const COMMITTED: &str = include_str!("../baseline/instructions.txt");

    #[test]
    fn the_committed_file_is_what_it_renders_to() {
        let baseline = Baseline::parse(COMMITTED).unwrap();
        assert!(baseline.counts.len() > 20, "{} cases", baseline.counts.len());
        assert_eq!(baseline.render(), COMMITTED);
    }

    #[test]
    fn five_percent_more_or_fewer_instructions_are_found_in_every_committed_case() {
        let committed = Baseline::parse(COMMITTED).unwrap().counts;
        for planted in &committed {
            // A case so short that this is less than an instruction cannot get worse by it.
            if planted.per_unit * 0.05 < INSTRUCTIONS_MAX {
                continue;
            }
            for factor in [1.05, 0.95] {
                let mut counts = committed.clone();
                counts.iter_mut().filter(|count| count.name == planted.name).for_each(|count| {
                    count.per_unit *= factor;
                });
                let verdicts = compare(&committed, &counts, |_| true);
                for (name, verdict) in verdicts {
                    let differs = matches!(verdict, Verdict::Differs { .. });
                    assert_eq!(differs, name == planted.name, "{name}: {verdict:?}");
                }
            }
        }
    }

    #[test]
    fn differences_within_the_bound_are_none() {
        let old = [count("long", 1000.0), count("short", 10.0)];
        let new = [count("long", 1019.0), count("short", 11.0)];
        let verdicts = compare(&old, &new, |_| true);
        assert!(verdicts.values().all(|verdict| *verdict == Verdict::Same), "{verdicts:?}");
        let new = [count("long", 1021.0), count("short", 8.9)];
        let verdicts = compare(&old, &new, |_| true);
        assert!(verdicts.values().all(|verdict| matches!(verdict, Verdict::Differs { .. })), "{verdicts:?}");
    }

    #[test]
    fn cases_that_come_go_or_cannot_be_counted_are_told_apart() {
        let verdicts =
            compare(&[count("gone", 1.0), count("far", 1.0)], &[count("new", 1.0)], |name| name != "far");
        let expected = [("far", Verdict::NotCounted), ("gone", Verdict::Gone), ("new", Verdict::New)];
        assert_eq!(verdicts, expected.map(|(name, verdict)| (name.to_owned(), verdict)).into());
    }

    #[test]
    fn a_bad_line_is_named() {
        let problem = |text: &str| Baseline::parse(text).unwrap_err().to_string();
        assert!(problem("# rustc: 1\n\na/b many callgrind").contains("line 3"));
        assert!(problem("a/b 1.00 guess").contains("callgrind and stepper"));
        assert!(problem("a/b 1.00 stepper\na/b 2.00 stepper").contains("twice"));
    }
}
