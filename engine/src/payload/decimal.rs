//! Integers as decimal text.

/// The most bytes that an `i64` takes: `-9223372036854775808`.
pub(crate) const DECIMAL_BYTES_MAX: usize = 20;

/// How many bytes `number` takes in decimal.
pub(crate) fn decimal_len(number: i64) -> usize {
    let digits = number.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
    digits + usize::from(number < 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_text_at_every_power_of_ten() {
        let powers = (0..=18).map(|power| 10_i64.pow(power));
        for number in
            powers.flat_map(|power| [power - 1, power, -power, 1 - power]).chain([i64::MIN, i64::MAX])
        {
            assert_eq!(decimal_len(number), number.to_string().len(), "{number}");
        }
    }
}
