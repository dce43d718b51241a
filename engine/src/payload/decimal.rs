//! Integers as decimal text.

/// The most bytes that an `i64` takes: `-9223372036854775808`.
pub(crate) const DECIMAL_BYTES_MAX: usize = 20;

/// How many bytes `number` takes in decimal.
pub(crate) fn decimal_len(number: i64) -> usize {
    let digits = number.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
    digits + usize::from(number < 0)
}

/// What eight digits can hold.
pub(crate) const EIGHT_DIGITS: u64 = 100_000_000;

/// `number`, which is below [`EIGHT_DIGITS`], as eight ASCII digits with leading zeros, the first
/// in the lowest byte. All digits are computed at once, in one register, without a table: halves,
/// then quarters, then digits, each division a multiplication.
pub(crate) const fn eight_digits(number: u64) -> u64 {
    debug_assert!(number < EIGHT_DIGITS);
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let tops = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = tops | ((fours - 100 * tops) << 16);
    let tops = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let ones = tops | ((twos - 10 * tops) << 8);
    ones + 0x3030_3030_3030_3030
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_length_is_that_of_the_text_at_every_power_of_ten() {
        let powers = (0..=18).map(|power| 10_i64.pow(power));
        let numbers = powers.flat_map(|power| [power - 1, power, -power, 1 - power]);
        for number in numbers.chain([i64::MIN, i64::MAX]) {
            assert_eq!(decimal_len(number), number.to_string().len(), "{number}");
        }
    }

    fn as_formatted(number: u64) -> bool {
        eight_digits(number).to_le_bytes() == format!("{number:08}").as_bytes()
    }

    #[test]
    fn every_four_digits_are_right_in_both_halves() {
        assert!((0..10_000).all(|four| as_formatted(four) && as_formatted(four * 10_000)));
    }

    proptest! {
        #[test]
        fn eight_digits_are_the_formatted_number(number in 0..EIGHT_DIGITS) {
            prop_assert!(as_formatted(number));
        }
    }
}
