//! How the function answers: the vocabulary of misbehaviour, and the law that picks from it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::content::mix;

/// One answer. Only the first two mean success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// 200.
    Success,
    /// 200 after this many milliseconds.
    SlowMs(u64),
    /// This status, with the body that AWS sends for it.
    Status(u16),
    /// 429 with `Retry-After` in seconds.
    Throttled(u64),
    /// 200 with `X-Amz-Function-Error`: `Handled` or `Unhandled`.
    FunctionError(&'static str),
    /// RST instead of an answer.
    ResetBefore,
    /// Half of a 200, then RST.
    ResetMid,
    /// Half of a 200, then FIN.
    Truncated,
    /// Bytes that are no HTTP.
    Garbage,
    /// Nothing, until the caller gives up.
    Hang,
    /// A long 200, a byte at a time, until the caller gives up.
    Drip,
}

impl Answer {
    /// Whether the records of the invocation are done.
    pub(crate) const fn acknowledges(self) -> bool {
        matches!(self, Self::Success | Self::SlowMs(_))
    }
}

/// Picks answers from a seed: the n-th invocation gets the same answer in every run.
#[derive(Debug)]
pub(crate) struct Law {
    seed: u64,
    count: AtomicU64,
    /// Answers with their share of 1000; the rest is [`Answer::Success`].
    shares: Vec<(Answer, u64)>,
}

impl Law {
    /// These answers, each for its share of 1000 invocations.
    pub(crate) fn new(seed: u64, shares: &[(Answer, u64)]) -> Self {
        assert!(shares.iter().map(|(_, share)| share).sum::<u64>() <= 1000);
        Self { seed, count: AtomicU64::new(0), shares: shares.to_vec() }
    }

    /// Always success, at once.
    pub(crate) fn kind() -> Self {
        Self::new(0, &[])
    }

    /// Always success, after some time.
    pub(crate) fn slow(time: Duration) -> Self {
        Self::new(0, &[(Answer::SlowMs(u64::try_from(time.as_millis()).expect("short")), 1000)])
    }

    /// Always this.
    pub(crate) fn always(answer: Answer) -> Self {
        Self::new(0, &[(answer, 1000)])
    }

    /// Three invocations in ten fail, in every way there is; hanging only rarely, because each
    /// costs the engine's whole timeout.
    pub(crate) fn hostile(seed: u64) -> Self {
        let shares = [
            (Answer::SlowMs(30), 100),
            (Answer::Status(500), 40),
            (Answer::Status(503), 30),
            (Answer::Throttled(0), 40),
            (Answer::FunctionError("Unhandled"), 40),
            (Answer::FunctionError("Handled"), 20),
            (Answer::ResetBefore, 40),
            (Answer::ResetMid, 40),
            (Answer::Truncated, 20),
            (Answer::Garbage, 20),
            (Answer::Hang, 10),
            (Answer::Drip, 10),
        ];
        Self::new(seed, &shares)
    }

    /// The next answer.
    pub(crate) fn next(&self) -> Answer {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut dice = mix(self.seed ^ mix(count)) % 1000;
        for &(answer, share) in &self.shares {
            match dice.checked_sub(share) {
                None => return answer,
                Some(rest) => dice = rest,
            }
        }
        Answer::Success
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_law_repeats_itself_and_uses_every_answer() {
        let run = |seed| {
            let law = Law::hostile(seed);
            (0..2000).map(|_| law.next()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let mut kinds = run(1);
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), 13);
    }
}
