//! Numbers as event-ruler compares them: as doubles, where the double is the number.

use std::fmt::Write as _;

/// A number of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// As it was spelt.
    pub text: String,
    /// As a double, if it can be compared as one; see [`comparable`].
    pub value: Option<f64>,
}

impl Number {
    /// The number spelt `text`, which is JSON.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), value: comparable(text) }
    }

    /// Whether `text` spells this number: with the same digits, or with others of the same value.
    #[must_use]
    pub fn equals(&self, text: &str) -> bool {
        self.text == text || (self.value.is_some() && self.value == comparable(text))
    }
}

/// Decimal numbers of so many digits survive the way into a double and back.
const EXACT_DIGITS: usize = 15;
/// Exponents for which that holds without a look at how small the double is.
const EXACT_EXPONENTS: std::ops::RangeInclusive<i64> = -290..=290;

/// The JSON number `text` as a double, unless the double's shortest decimal is another number:
/// `9007199254740993`, `1e400`. Such a number equals only itself, digit by digit, and lies in no
/// range; otherwise two long identifiers could be taken for each other.
///
/// Allocates nothing. `text` must be a JSON number; for anything else the answer means nothing.
#[must_use]
pub fn comparable(text: &str) -> Option<f64> {
    let decimal = Decimal::of(text)?;
    let value: f64 = text.parse().ok()?;
    if decimal.digits().next().is_none() {
        return Some(0.0);
    }
    if decimal.len() <= EXACT_DIGITS && EXACT_EXPONENTS.contains(&decimal.exponent) {
        return Some(value);
    }
    let mut shortest = Shortest::default();
    write!(shortest, "{value:e}").ok()?;
    let shortest = Decimal::of(shortest.as_str())?;
    let same = shortest.exponent == decimal.exponent && shortest.digits().eq(decimal.digits());
    same.then_some(value)
}

/// A decimal number taken apart: its digits without zeros around them, and the power of ten of
/// the first.
struct Decimal<'t> {
    whole: &'t [u8],
    fraction: &'t [u8],
    exponent: i64,
}

impl<'t> Decimal<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let text = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let leading = |digits: &[u8]| digits.iter().take_while(|digit| **digit == b'0').count();
        let (whole, fraction) = (whole.as_bytes(), fraction.as_bytes());
        let whole = &whole[leading(whole)..];
        let first = if whole.is_empty() { -1 - leading(fraction) as i64 } else { whole.len() as i64 - 1 };
        let fraction = if whole.is_empty() { &fraction[leading(fraction)..] } else { fraction };
        Some(Self { whole, fraction, exponent: first + i64::from(exponent) })
    }

    fn len(&self) -> usize {
        let all = self.whole.iter().chain(self.fraction);
        let zeros = all.rev().take_while(|digit| **digit == b'0').count();
        self.whole.len() + self.fraction.len() - zeros
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.iter().chain(self.fraction).copied().take(self.len())
    }
}

/// Room for the shortest decimal of any double.
#[derive(Default)]
struct Shortest {
    bytes: [u8; 32],
    used: usize,
}

impl Shortest {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.used]).unwrap_or("")
    }
}

impl std::fmt::Write for Shortest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.get_mut(self.used..self.used + text.len()).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.used += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_number_are_equal() {
        for (one, other) in [
            ("300", "300.0"),
            ("300", "3.0e2"),
            ("300", "3E+2"),
            ("0", "-0"),
            ("0", "0.000e7"),
            ("0.1", "1e-1"),
            ("100000000000000000000", "1e20"),
            ("1.7976931348623157e308", "17976931348623157e292"),
            ("-2.5", "-25e-1"),
        ] {
            assert!(Number::new(one).equals(other) && Number::new(other).equals(one), "{one} {other}");
        }
    }

    #[test]
    fn a_number_that_no_double_is_equals_only_itself() {
        for (one, other) in [
            ("9007199254740993", "9007199254740992"),
            ("12345678901234567890123", "12345678901234567890124"),
            ("0.1000000000000000055511151231257827", "0.1"),
            ("1e400", "2e400"),
            ("1e-400", "0"),
        ] {
            assert!(Number::new(one).equals(one), "{one}");
            assert!(!Number::new(one).equals(other) && !Number::new(other).equals(one), "{one} {other}");
            assert_eq!(comparable(one), None, "{one}");
        }
    }

    proptest! {
        #[test]
        fn every_double_is_comparable_as_it_is_printed(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            prop_assert_eq!(comparable(&format!("{number:e}")), Some(number));
            // Where two shortest decimals are as near, printers differ in their choice; the other
            // one equals itself only.
            let other = serde_json::to_string(&number).unwrap();
            prop_assert!(comparable(&other).is_none_or(|found| found == number), "{other}");
            prop_assert!(Number::new(&other).equals(&other));
        }

        #[test]
        fn what_has_few_digits_is_comparable(digits in 0..1_000_000_000_000_000_i64, exponent in -270..270) {
            let text = format!("{digits}e{exponent}");
            prop_assert_eq!(comparable(&text), Some(text.parse::<f64>().unwrap()));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9.eE]{0,40}") {
            let _ = comparable(&text);
        }
    }
}
