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
    /// Anything else, through `base64-simd`.
    Portable,
}

impl Tier {
    /// The best tier that this machine runs. The CPU is asked once per process. The environment
    /// variable `PELTON_TIER` (`avx512`, `avx2`, `portable`) lowers it, never raises it.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Tier> = OnceLock::new();
        *BEST.get_or_init(|| {
            let wanted = std::env::var("PELTON_TIER").ok().and_then(|name| name.parse().ok());
            Self::detect().max(wanted.unwrap_or(Self::Avx512))
        })
    }

    /// The tiers that this machine runs, best first; [`Tier::Portable`] is always the last.
    /// Not lowered by `PELTON_TIER`.
    pub fn available() -> impl Iterator<Item = Self> {
        let best = Self::detect();
        [Self::Avx512, Self::Avx2, Self::Portable].into_iter().filter(move |tier| *tier >= best)
    }

    #[cfg(target_arch = "x86_64")]
    fn detect() -> Self {
        // The standard library's detection asks the operating system too (XCR0), so that a virtual
        // machine without the wide registers is safe.
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vbmi2")
            && is_x86_feature_detected!("avx512ifma");
        match (avx2, avx512) {
            (true, true) => Self::Avx512,
            (true, false) => Self::Avx2,
            (false, _) => Self::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    const fn detect() -> Self {
        Self::Portable
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        })
    }
}

/// No tier has this name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tier is called {0:?}; the tiers are avx512, avx2 and portable")]
pub struct UnknownTier(String);

impl FromStr for Tier {
    type Err = UnknownTier;

    fn from_str(name: &str) -> Result<Self, UnknownTier> {
        match name {
            "avx512" => Ok(Self::Avx512),
            "avx2" => Ok(Self::Avx2),
            "portable" => Ok(Self::Portable),
            other => Err(UnknownTier(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_the_portable_tier_and_best_is_among_the_available() {
        assert_eq!(Tier::available().last(), Some(Tier::Portable));
        assert!(Tier::available().any(|tier| tier == Tier::best()));
    }

    #[test]
    fn names_and_tiers_are_each_others_inverse() {
        for tier in [Tier::Avx512, Tier::Avx2, Tier::Portable] {
            assert_eq!(tier.to_string().parse(), Ok(tier));
        }
        assert!("sse2".parse::<Tier>().unwrap_err().to_string().contains("avx2"));
    }
}
