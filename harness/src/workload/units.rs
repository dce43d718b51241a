//! Sizes, times, rates and shares as people write them: `10KiB`, `250ms`, `50k/s`, `5%`.
//!
//! Each type reads from a flag or a TOML string and prints the shortest text that reads back as
//! the same value.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::grammar::LawError;

/// Implements `Serialize` and `Deserialize` through `Display` and `FromStr`, so that a TOML file
/// and a flag take the same text. Plain TOML numbers are taken too.
macro_rules! text_serde {
    ($($name:ty),+ $(,)?) => {$(
        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl ::serde::de::Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str("text or a number")
                    }
                    fn visit_str<E: ::serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_i64<E: ::serde::de::Error>(self, number: i64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }
                    fn visit_u64<E: ::serde::de::Error>(self, number: u64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }
                    fn visit_f64<E: ::serde::de::Error>(self, number: f64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }
                }

                deserializer.deserialize_any(Text)
            }
        }
    )+};
}
pub(crate) use text_serde;

/// A size in bytes: `100`, `100B`, `1KiB`, `6MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

const BYTE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for Bytes {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let wrong = || LawError::new("a size", text, "write 100B, 1KiB, 6MiB or 1GiB");
        let text = text.trim();
        let (number, unit) = BYTE_UNITS
            .iter()
            .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, *unit)))
            .unwrap_or((text, 1));
        let number: u64 = number.trim().parse().map_err(|_| wrong())?;
        number.checked_mul(unit).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) = BYTE_UNITS
            .iter()
            .find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit))
            .unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

/// A length of time: `250us`, `50ms`, `10s`, `2m`; a bare number is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

const TIME_UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl FromStr for Span {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let wrong = || LawError::new("a time", text, "write 250us, 50ms, 10s or 2m");
        let text = text.trim();
        let (number, unit) = TIME_UNITS
            .iter()
            .find_map(|(name, unit)| {
                let number = text.strip_suffix(name)?;
                number.trim_end().ends_with(|last: char| last.is_ascii_digit()).then_some((number, *unit))
            })
            .unwrap_or((text, 1_000_000_000));
        let number = number.trim();
        let nanos = match number.parse::<u64>() {
            Ok(whole) => whole.checked_mul(unit).ok_or_else(wrong)?,
            Err(_) => {
                let number: f64 = number.parse().map_err(|_| wrong())?;
                #[expect(clippy::cast_precision_loss, reason = "units are small powers, exact in f64")]
                let nanos = number * unit as f64;
                if !nanos.is_finite() || !(0.0..9e18).contains(&nanos) {
                    return Err(wrong());
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "checked just above"
                )]
                let nanos = nanos.round() as u64;
                nanos
            }
        };
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        let (name, unit) = TIME_UNITS
            .iter()
            .take(4)
            .rev()
            .find(|(_, unit)| nanos >= *unit && nanos.is_multiple_of(*unit))
            .unwrap_or(&("s", 1_000_000_000));
        write!(f, "{}{name}", nanos / unit)
    }
}

/// Records per second: `50000/s`, `50k/s`, `1.5M/s`; the `/s` may be left out.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(pub f64);

/// The fastest rate a schedule may ask for: a record per nanosecond is where its line ends.
const RATE_MAX: f64 = 1e9;

impl FromStr for Rate {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let wrong = || LawError::new("a rate", text, "write 500/s, 50k/s or 1.5M/s");
        let number = text.trim();
        let number = number.strip_suffix("/s").unwrap_or(number).trim_end();
        let (number, unit) = match number.char_indices().last() {
            Some((at, 'k')) => (&number[..at], 1e3),
            Some((at, 'M')) => (&number[..at], 1e6),
            _ => (number, 1.0),
        };
        let rate: f64 = number.trim_end().parse().map_err(|_| wrong())?;
        let rate = rate * unit;
        if rate > 0.0 && rate <= RATE_MAX { Ok(Self(rate)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// A part of a whole: `5%` or `0.05`, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Share(f64);

impl Share {
    /// The part, from 0 to 1.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let wrong = || LawError::new("a share", text, "write 5% or 0.05, from 0% to 100%");
        let number = text.trim();
        let (number, whole) = match number.strip_suffix('%') {
            Some(percent) => (percent.trim_end(), 100.0),
            None => (number, 1.0),
        };
        let share = number.parse::<f64>().map_err(|_| wrong())? / whole;
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not every share has a percentage that reads back as the same number.
        let percent = (self.0 * 1e8).round() / 1e6;
        if (percent / 100.0).to_bits() == self.0.to_bits() {
            write!(f, "{percent}%")
        } else {
            write!(f, "{}", self.0)
        }
    }
}

text_serde!(Bytes, Span, Rate, Share);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn people_write_units_in_many_ways() {
        assert_eq!("10KiB".parse(), Ok(Bytes(10_240)));
        assert_eq!(" 7 B".parse(), Ok(Bytes(7)));
        assert_eq!("1.5s".parse(), Ok(Span(Duration::from_millis(1_500))));
        assert_eq!("2m".parse(), Ok(Span(Duration::from_secs(120))));
        assert_eq!("20".parse(), Ok(Span(Duration::from_secs(20))));
        assert_eq!("50k/s".parse(), Ok(Rate(50_000.0)));
        assert_eq!("1.5M".parse(), Ok(Rate(1_500_000.0)));
        for (text, printed) in
            [("7 %", "7%"), ("0.07", "7%"), ("1", "100%"), ("0", "0%"), ("0.125%", "0.125%")]
        {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), printed, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_remedy() {
        for text in ["", "KiB", "-1B", "1KB", "99999999999GiB"] {
            let error = text.parse::<Bytes>().unwrap_err().to_string();
            assert!(error.contains("1KiB"), "{error}");
        }
        assert!("fast".parse::<Span>().is_err());
        assert!("-3s".parse::<Span>().is_err());
        assert!("0/s".parse::<Rate>().is_err());
        assert!("nan/s".parse::<Rate>().is_err());
        for text in ["5", "101%", "-1%", "nan", "some", "%"] {
            let error = text.parse::<Share>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("0% to 100%"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(
            bytes: u64, nanos in 0..u64::MAX / 2, rate in 1e-3..1e9, share in 0.0..=1.0, percent in 0..=100u32,
        ) {
            prop_assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
            let span = Span(Duration::from_nanos(nanos));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            prop_assert_eq!(Rate(rate).to_string().parse(), Ok(Rate(rate)));
            prop_assert_eq!(Share(share).to_string().parse(), Ok(Share(share)));
            let percent = format!("{percent}%");
            prop_assert_eq!(percent.parse::<Share>().unwrap().to_string(), percent);
        }

        #[test]
        fn no_text_makes_a_unit_panic(text in ".*") {
            let _ = (text.parse::<Bytes>(), text.parse::<Span>(), text.parse::<Rate>(), text.parse::<Share>());
        }
    }
}
