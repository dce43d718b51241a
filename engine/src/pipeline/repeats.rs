//! Which warnings are worth a line: one that says what the last one said is only counted.

use std::time::Duration;

use crate::time::Nanos;

/// How long a text that was told is not told again.
const QUIET: Duration = Duration::from_secs(10);
/// Texts remembered; of more the one told longest ago is forgotten.
const TEXTS_MAX: usize = 32;

/// The texts told lately.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    told: Vec<Told>,
}

#[derive(Debug)]
struct Told {
    /// Without its digits: durations and counts within a text do not make it another one.
    key: String,
    at: Nanos,
    untold: u64,
}

impl Repeats {
    /// Whether to tell `text` now; if so, how often it came since it was last told, and was not.
    pub(super) fn note(&mut self, text: &str, now: Nanos) -> Option<u64> {
        let key: String = text.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        if let Some(told) = self.told.iter_mut().find(|told| told.key == key) {
            if now < told.at + QUIET {
                told.untold += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.untold));
        }
        if self.told.len() == TEXTS_MAX
            && let Some(oldest) = (0..TEXTS_MAX).min_by_key(|&at| self.told[at].at)
        {
            self.told.swap_remove(oldest);
        }
        self.told.push(Told { key, at: now, untold: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Nanos = Nanos(QUIET.as_nanos() as u64);

    #[test]
    fn a_text_is_told_once_and_again_after_a_while_with_its_count() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.note("no broker", Nanos(0)), Some(0));
        assert_eq!(repeats.note("no broker", Nanos(1)), None);
        assert_eq!(repeats.note("no broker", Nanos(2)), None);
        assert_eq!(repeats.note("no broker", LATER), Some(2));
        assert_eq!(repeats.note("no broker", LATER + QUIET), Some(0));
    }

    #[test]
    fn numbers_do_not_make_another_text_and_words_do() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.note("refused after 5 ms", Nanos(0)), Some(0));
        assert_eq!(repeats.note("refused after 17 ms", Nanos(1)), None);
        assert_eq!(repeats.note("closed after 17 ms", Nanos(1)), Some(0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut repeats = Repeats::default();
        for at in 0..1000 {
            let text: String = std::iter::repeat_n('x', at).collect();
            assert_eq!(repeats.note(&text, Nanos(at as u64)), Some(0));
        }
        assert_eq!(repeats.told.len(), TEXTS_MAX);
        assert_eq!(repeats.note("x", Nanos(1000)), Some(0), "forgotten");
    }
}
