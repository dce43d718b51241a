//! A point in time as a person writes it: Unix seconds, or RFC 3339.

use std::fmt;

/// A point in time in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Milliseconds since 1970-01-01T00:00:00Z, as Kafka's record timestamps count.
    pub unix_ms: i64,
}

/// The year 9999 in seconds: the last that RFC 3339 can write.
const SECONDS_MAX: f64 = 253_402_300_799.0;

impl Moment {
    /// From Unix seconds with a fraction; `None` if that is no point in time between 1970 and 9999.
    pub(super) fn from_seconds(seconds: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "within 0..=SECONDS_MAX")]
        (0.0..=SECONDS_MAX).contains(&seconds).then(|| Self { unix_ms: (seconds * 1_000.0).round() as i64 })
    }

    /// From Unix seconds (`1735689600`, `1735689600.25`) or RFC 3339 (`2025-01-01T00:00:00Z`,
    /// `2025-01-01 01:00:00.5+01:00`). A time without an offset is refused: it means another moment
    /// on every machine.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let numeric = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
        if numeric { Self::from_seconds(text.parse().ok()?) } else { rfc3339(text) }
    }
}

fn rfc3339(text: &str) -> Option<Moment> {
    let (date, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = time.split_at_checked(8)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit())?)?,
        None => ("0", rest),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60;
    if !in_range || fraction.is_empty() {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    // Three digits of the fraction, cut like every millisecond clock cuts.
    let ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(Moment { unix_ms: (seconds - offset_seconds(zone)?) * 1_000 + ms })
}

/// `Z`, or an offset such as `+01:00` in seconds.
fn offset_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, clock) = match zone.split_at_checked(1)? {
        ("+", clock) => (1, clock),
        ("-", clock) => (-1, clock),
        _ => return None,
    };
    let [hour, minute] = numbers(clock, ':', [2, 2])?;
    (hour <= 23 && minute <= 59).then_some(sign * (hour * 3_600 + minute * 60))
}

/// `N` numbers of exactly these many digits, with `separator` between them.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01, by counting from 1 March so that the leap day comes last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.unix_ms.div_euclid(1_000), self.unix_ms.rem_euclid(1_000));
        if ms == 0 { write!(f, "{seconds}") } else { write!(f, "{seconds}.{ms:03}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<i64> {
        Moment::from_text(text).map(|moment| moment.unix_ms)
    }

    #[test]
    fn unix_seconds_and_rfc_3339_mean_the_same_moment() {
        assert_eq!(ms("1735689600"), Some(1_735_689_600_000));
        for text in ["2025-01-01T00:00:00Z", "2025-01-01 01:00:00+01:00", "2024-12-31t19:30:00.0-04:30"] {
            assert_eq!(ms(text), Some(1_735_689_600_000), "{text}");
        }
        assert_eq!(ms("1735689600.25"), Some(1_735_689_600_250));
        assert_eq!(ms("2025-01-01T00:00:00.2509Z"), Some(1_735_689_600_250));
    }

    #[test]
    fn the_calendar_is_gregorian() {
        assert_eq!(ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(ms("2000-02-29T12:00:00Z"), Some(951_825_600_000));
        assert_eq!(ms("2100-02-29T12:00:00Z"), None, "2100 is no leap year");
        assert_eq!(ms("2024-13-01T00:00:00Z"), None);
    }

    #[test]
    fn a_time_without_an_offset_is_refused() {
        for text in [
            "2025-01-01T00:00:00",
            "2025-01-01",
            "",
            "now",
            "1e9",
            "-5",
            "2025-01-01T00:00:00.Z",
            "…2025-01-01",
        ] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_printed_is_read_again() {
        for unix_ms in [0, 1, 999, 1_735_689_600_250, 253_402_300_799_000] {
            assert_eq!(ms(&Moment { unix_ms }.to_string()), Some(unix_ms));
        }
    }
}
