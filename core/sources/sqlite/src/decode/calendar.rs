//! Days and times of day in ISO texts.

use super::Fault;

/// Days of 400 years.
const DAYS_OF_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: i64 = 719_468;

/// What an ISO text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Iso {
    /// Days since 1970-01-01.
    pub(crate) day: i64,
    /// Nanoseconds since midnight; 0 for a text without a time.
    pub(crate) time: i64,
    /// How many minutes its clock is ahead of UTC, if it says so.
    pub(crate) offset: Option<i64>,
}

/// Reads `YYYY-MM-DD`, with or without a time behind a blank or a `T`, and with or without an offset behind that.
pub(crate) fn iso(text: &str) -> Result<Iso, Fault> {
    let wrong = || "is a text that is not `YYYY-MM-DD` or `YYYY-MM-DD HH:MM:SS`".to_owned();
    let (date, rest) = text.split_at_checked(10).ok_or_else(wrong)?;
    let day = day(date).ok_or_else(wrong)?;
    if rest.is_empty() {
        return Ok(Iso { day, time: 0, offset: None });
    }
    let rest = rest.strip_prefix([' ', 'T', 't']).ok_or_else(wrong)?;
    let end = rest.find(|c: char| !matches!(c, '0'..='9' | ':' | '.')).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(end);
    let time = time_of_day(time).ok_or_else(wrong)??;
    let offset = offset(zone.trim_start_matches(' ')).ok_or_else(wrong)?;
    Ok(Iso { day, time, offset })
}

/// Nanoseconds since midnight of `HH:MM`, `HH:MM:SS` or `HH:MM:SS.fff`. `None` for another text.
pub(crate) fn time_of_day(text: &str) -> Option<Result<i64, Fault>> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) if clock.len() == 8 && !fraction.is_empty() => (clock, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let hours = number(clock.get(..2)?, 23)?;
    let minutes = number(clock.get(2..)?.strip_prefix(':')?.get(..2)?, 59)?;
    let seconds = match clock.get(5..)? {
        "" => 0,
        rest => number(rest.strip_prefix(':')?, 59)?,
    };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.trim_end_matches('0');
    if digits.len() > 9 {
        return Some(Err("has more digits behind the seconds than nanoseconds have".to_owned()));
    }
    let fraction: i64 = format!("{digits:0<9}").parse().ok()?;
    Some(Ok(((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction))
}

/// Days since 1970-01-01 of `YYYY-MM-DD`.
fn day(text: &str) -> Option<i64> {
    let year = number(text.get(..4)?, 9999)?;
    let month = number(text.get(4..)?.strip_prefix('-')?.get(..2)?, 12)?;
    let day = number(text.get(7..)?.strip_prefix('-')?, 31)?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    // Counts years from March, so that the day that some years lack is the last one.
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * DAYS_OF_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - DAYS_BEFORE_1970)
}

/// A day as `YYYY-MM-DD`; the first or the last that has such a text for one that is beyond it.
pub(crate) fn date_text(day: i64) -> String {
    let shifted = day.clamp(-719_528, 2_932_896) + DAYS_BEFORE_1970;
    let (era, of_era) = (shifted.div_euclid(DAYS_OF_ERA), shifted.rem_euclid(DAYS_OF_ERA));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `Z`, `+HH:MM` or nothing. The outer `None` is for another text.
fn offset(text: &str) -> Option<Option<i64>> {
    if matches!(text, "" | "Z" | "z") {
        return Some((!text.is_empty()).then_some(0));
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    // SQLite reads offsets of up to 14 hours.
    let hours = number(rest.get(..2)?, 14)?;
    let minutes = number(rest.get(2..)?.strip_prefix(':')?, 59)?;
    Some(Some(sign * (hours * 60 + minutes)))
}

/// A number of decimal digits and nothing else.
fn number(text: &str, max: i64) -> Option<i64> {
    let is_plain = matches!(text.len(), 2 | 4) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && *number <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_texts_and_texts_their_days() {
        // All days around ours, and one of each fortnight of the others.
        for number in (-719_528..2_932_896).step_by(13).chain(-30_000..60_000) {
            let text = date_text(number);
            assert_eq!(day(&text), Some(number), "{text}");
            assert!(text < date_text(number + 1));
        }
        assert_eq!((date_text(0).as_str(), date_text(19_782).as_str()), ("1970-01-01", "2024-02-29"));
        assert_eq!(
            (date_text(i64::MIN).as_str(), date_text(i64::MAX).as_str()),
            ("0000-01-01", "9999-12-31")
        );
    }

    #[test]
    fn texts_are_read_to_the_nanosecond() {
        let of = |text: &str| iso(text).map(|iso| (iso.day, iso.time, iso.offset));
        assert_eq!(of("1970-01-02"), Ok((1, 0, None)));
        assert_eq!(of("1970-01-01 00:01"), Ok((0, 60_000_000_000, None)));
        assert_eq!(of("1969-12-31T23:59:59.5Z"), Ok((-1, 86_399_500_000_000, Some(0))));
        assert_eq!(of("1970-01-01 00:00:01.000000001 -02:30"), Ok((0, 1_000_000_001, Some(-150))));
        assert_eq!(of("1970-01-01 00:00:00.1000000000000"), Ok((0, 100_000_000, None)));
        for text in [
            "",
            "1970",
            "1970-1-1",
            "1970-13-01",
            "1970-02-29",
            "2024-02-30",
            "1900-02-29",
            "1970-00-01",
            "1970-01-00",
            "1970-01-01 ",
            "1970-01-01 24:00",
            "1970-01-01 1:00",
            "1970-01-01 00:00:60",
            "1970-01-01 00:00.5",
            "1970-01-01 00:00:00.",
            "1970-01-01 00:00:00+2",
            "1970-01-01 00:00:00+15:00",
            "1970-01-01X00:00",
            "now",
            "+970-01-01",
            "1970-01-01 00:00:00 CET",
            "\u{e4}970-01-01",
            "1970-01-\u{e4}",
        ] {
            assert!(of(text).is_err(), "{text}");
        }
        assert!(of("1970-01-01 00:00:00.0000000001").unwrap_err().contains("nanoseconds"));
    }
}
