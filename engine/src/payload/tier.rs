//! Which instruction set writes.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The instruction set that the payload writer uses, best first. Every tier writes the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// x86-64 with AVX-512 F, BW, VL, IFMA, VBMI and VBMI2 (Ice Lake, Zen 4, and later).
    Avx512,
    /// x86-64 with AVX2 and BMI2.
    Avx2,
    /// x86-64 with SSSE3 and SSE4.1.
    Sse41,
    /// Any other CPU, through `base64-simd` (NEON on aarch64).
    Portable,
    /// No vector instructions of our own. Never the best: there to be forced.
    Scalar,
}

/// The environment variable that lowers the tier of a process.
const VARIABLE: &str = "PELTON_TIER";

impl Tier {
    /// All tiers, best first.
    pub const ALL: [Self; 5] = [Self::Avx512, Self::Avx2, Self::Sse41, Self::Portable, Self::Scalar];

    /// The best tier that this machine runs, at most the one that the environment variable
    /// `PELTON_TIER` names: `avx512`, `avx2`, `sse41`, `portable` or `scalar` lowers it, and none
    /// raises it. CPU and environment are asked once per process.
    ///
    /// A name that no tier has is warned of, and then ignored; [`from_environment`] refuses it.
    ///
    /// [`from_environment`]: Self::from_environment
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Tier> = OnceLock::new();
        *BEST.get_or_init(|| {
            let at_most = Self::from_environment().unwrap_or_else(|error| {
                tracing::warn!("{error}; it is ignored");
                None
            });
            Self::best_below(at_most)
        })
    }

    fn best_below(at_most: Option<Self>) -> Self {
        // The last tier runs anywhere.
        Self::available().find(|tier| Some(*tier) >= at_most).unwrap_or(Self::Scalar)
    }

    /// The tier that `PELTON_TIER` names; `None` if it is not set, or empty.
    ///
    /// # Errors
    /// If no tier has that name.
    pub fn from_environment() -> Result<Option<Self>, TierError> {
        let Some(name) = std::env::var_os(VARIABLE) else { return Ok(None) };
        let name = name.to_string_lossy();
        if name.is_empty() { Ok(None) } else { name.parse().map(Some) }
    }

    /// The tiers that this machine runs, best first; [`Tier::Portable`] and [`Tier::Scalar`] are
    /// always the last two. Not lowered by `PELTON_TIER`.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|tier| tier.runs())
    }

    // The standard library's detection asks the operating system too (XCR0), so that a virtual
    // machine without the wide registers is safe. It asks the CPU once per process.
    #[cfg(target_arch = "x86_64")]
    fn runs(self) -> bool {
        match self {
            Self::Avx512 => {
                Self::Avx2.runs()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vbmi")
                    && is_x86_feature_detected!("avx512vbmi2")
                    && is_x86_feature_detected!("avx512ifma")
            }
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("lzcnt")
                    && is_x86_feature_detected!("popcnt")
            }
            Self::Sse41 => is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1"),
            Self::Portable | Self::Scalar => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn runs(self) -> bool {
        self >= Self::Portable
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Sse41 => "sse41",
            Self::Portable => "portable",
            Self::Scalar => "scalar",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No tier has this name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE}: found {0:?}; allowed: {names}; set one of these, or nothing for the best that this \
         machine runs", names = Tier::ALL.map(Tier::name).join(", "))]
pub struct TierError(String);

impl FromStr for Tier {
    type Err = TierError;

    fn from_str(name: &str) -> Result<Self, TierError> {
        Self::ALL.into_iter().find(|tier| tier.name() == name).ok_or_else(|| TierError(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set by `scripts/sanitize`, which knows the machine that it emulates.
    const EXPECTED: &str = "PELTON_TEST_TIERS";

    #[test]
    #[expect(clippy::print_stdout, reason = "what was covered is to be read, with --nocapture")]
    fn the_last_tiers_run_anywhere_and_the_others_where_they_are_expected() {
        let names: Vec<&str> = Tier::available().map(Tier::name).collect();
        println!("tiers of this machine: {}", names.join(" "));
        assert!(names.ends_with(&["portable", "scalar"]));
        if let Ok(expected) = std::env::var(EXPECTED) {
            assert_eq!(names.join(" "), expected);
        }
    }

    #[test]
    fn the_environment_lowers_the_tier_and_never_raises_it() {
        let first = Tier::available().next().expect("the last two tiers run anywhere");
        assert_eq!(Tier::best_below(None), first);
        for tier in Tier::ALL {
            let best = Tier::best_below(Some(tier));
            assert!(best >= tier && Tier::available().any(|runs| runs == best), "{tier}");
            assert_eq!(best == tier, Tier::available().any(|runs| runs == tier), "{tier}");
        }
        assert!(first <= Tier::Portable, "the scalar tier is nobody's best");
    }

    #[test]
    fn names_and_tiers_are_each_others_inverse() {
        for tier in Tier::ALL {
            assert_eq!(tier.to_string().parse(), Ok(tier));
        }
    }

    #[test]
    fn a_name_that_no_tier_has_is_refused_with_those_that_have() {
        let error = "sse2".parse::<Tier>().expect_err("unknown").to_string();
        for expected in ["PELTON_TIER", "\"sse2\"", "avx512, avx2, sse41, portable, scalar"] {
            assert!(error.contains(expected), "{error}");
        }
    }
}
