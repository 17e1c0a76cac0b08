//! Dates, times and timestamps in the forms in which they are stored.

use arrow::datatypes::TimeUnit;

use super::Fault;
use super::calendar::{Iso, iso, time_of_day};
use crate::types::{Stored, Zone};

const DAY_SECONDS: i64 = 86_400;
const DAY_NANOSECONDS: i128 = 86_400_000_000_000;

/// Julian days of the years 0 to 9999. Integers between them may be either.
const JULIAN_MIN: f64 = 1_721_059.5;
pub(crate) const JULIAN_MAX: f64 = 5_373_484.5;
/// The Julian day at the beginning of 1970.
pub(crate) const JULIAN_1970: f64 = 2_440_587.5;
/// Seconds of the years 0 to 9999, as SQLite reads them.
const UNIX_MIN: i64 = -62_167_219_200;
const UNIX_MAX: i64 = 253_402_300_799;

/// Units of `unit` in a second.
fn per_second(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// A text as a timestamp.
pub(crate) fn text_timestamp(text: &str, unit: TimeUnit, zone: Zone, stored: Stored) -> Result<i64, Fault> {
    if stored != Stored::Any {
        return Err("is a text and not a number".to_owned());
    }
    let Iso { day, time, offset } = iso(text)?;
    if zone == Zone::None && offset.is_some_and(|offset| offset != 0) {
        return Err("is a text with an offset from UTC, which its type has no room for; \
             the option `types` can say TIMESTAMPTZ"
            .to_owned());
    }
    let minutes = i128::from(offset.unwrap_or(0));
    exact(i128::from(day) * DAY_NANOSECONDS + i128::from(time) - minutes * 60_000_000_000, unit)
}

/// An integer as a timestamp.
pub(crate) fn integer_timestamp(number: i64, unit: TimeUnit, stored: Stored) -> Result<i64, Fault> {
    match stored {
        Stored::Julian => julian(number as f64, unit), // exact up to the last Julian day that is allowed
        Stored::Unix(TimeUnit::Second) | Stored::Any => {
            if stored == Stored::Any && is_ambiguous(number) {
                return Err("is an integer that may be a Julian day or seconds since 1970; \
                     the option `types` can say julian or unix_s"
                    .to_owned());
            }
            if !(UNIX_MIN..=UNIX_MAX).contains(&number) {
                return Err("is an integer that as seconds since 1970 is beyond the years 0 to 9999; \
                     the option `types` can say unix_ms, unix_us or unix_ns"
                    .to_owned());
            }
            exact(i128::from(number) * 1_000_000_000, unit)
        }
        Stored::Unix(_) => Ok(number),
    }
}

/// A real as a timestamp.
pub(crate) fn real_timestamp(number: f64, unit: TimeUnit, stored: Stored) -> Result<i64, Fault> {
    match stored {
        Stored::Julian => julian(number, unit),
        Stored::Any if (JULIAN_MIN..=JULIAN_MAX).contains(&number) => julian(number, unit),
        Stored::Any | Stored::Unix(TimeUnit::Second) => {
            // Comparing refuses infinities too.
            if !(UNIX_MIN as f64..UNIX_MAX as f64 + 1.0).contains(&number) {
                return Err("is a real that as seconds since 1970 is beyond the years 0 to 9999".to_owned());
            }
            let microseconds = (number * 1e6).round() as i128;
            exact(microseconds * 1_000, unit)
        }
        Stored::Unix(_) => Err("is a real and not an integer".to_owned()),
    }
}

/// A Julian day, to the millisecond as SQLite reads it.
fn julian(day: f64, unit: TimeUnit) -> Result<i64, Fault> {
    if !(JULIAN_MIN..JULIAN_MAX).contains(&day) {
        return Err("is a Julian day beyond the years 0 to 9999".to_owned());
    }
    let milliseconds = (day * 86_400_000.0 + 0.5) as i128 - 210_866_760_000_000;
    exact(milliseconds * 1_000_000, unit)
}

/// Whether an integer may be a Julian day: SQLite stores one at noon as an integer where it does not keep it a real.
fn is_ambiguous(number: i64) -> bool {
    number as f64 >= JULIAN_MIN && number as f64 <= JULIAN_MAX
}

/// Nanoseconds in another unit, which must hold them.
fn exact(nanoseconds: i128, unit: TimeUnit) -> Result<i64, Fault> {
    let divisor = 1_000_000_000 / per_second(unit);
    if nanoseconds % divisor != 0 {
        return Err(
            "has more digits behind the seconds than its type; the option `types` can say TIMESTAMP(9)"
                .to_owned(),
        );
    }
    i64::try_from(nanoseconds / divisor)
        .map_err(|_| "is beyond the years 1677 to 2262, which nanoseconds can count".to_owned())
}

/// A text as a date.
pub(crate) fn text_date(text: &str) -> Result<i64, Fault> {
    match iso(text)? {
        Iso { day, time: 0, offset: None | Some(0) } => Ok(day),
        _ => Err("is a text with a time of day; the option `types` can say TIMESTAMP".to_owned()),
    }
}

/// An integer as a date: seconds since 1970 at midnight.
pub(crate) fn integer_date(number: i64) -> Result<i64, Fault> {
    if number % DAY_SECONDS != 0 || !(UNIX_MIN..=UNIX_MAX).contains(&number) {
        return Err("is an integer that is not a midnight in seconds since 1970; \
             the option `types` can say INTEGER or unix_ms"
            .to_owned());
    }
    Ok(number / DAY_SECONDS)
}

/// A real as a date: a Julian day at midnight.
pub(crate) fn real_date(number: f64) -> Result<i64, Fault> {
    if !(JULIAN_MIN..JULIAN_MAX).contains(&number) || (number - 0.5).fract() != 0.0 {
        return Err("is a real that is not a Julian day at midnight".to_owned());
    }
    Ok((number - JULIAN_1970) as i64) // a whole number of a few millions
}

/// A text as microseconds since midnight.
pub(crate) fn text_time(text: &str) -> Result<i64, Fault> {
    let nanoseconds = time_of_day(text).ok_or_else(|| "is a text that is not `HH:MM:SS`".to_owned())??;
    if nanoseconds % 1_000 != 0 {
        return Err("has more than 6 digits behind the seconds".to_owned());
    }
    Ok(nanoseconds / 1_000)
}

/// A position in the unit of a column: the first that is not before it.
pub(crate) fn position(value: i64, from: TimeUnit, to: TimeUnit) -> i128 {
    let nanoseconds = i128::from(value) * (1_000_000_000 / per_second(from));
    let divisor = 1_000_000_000 / per_second(to);
    nanoseconds.div_euclid(divisor) + i128::from(nanoseconds.rem_euclid(divisor) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: TimeUnit = TimeUnit::Microsecond;

    #[test]
    fn each_form_is_the_same_moment() {
        let moment = 1_704_110_400_000_000; // 2024-01-01 12:00 UTC
        let text = |text, zone| text_timestamp(text, MICRO, zone, Stored::Any);
        assert_eq!(text("2024-01-01 12:00:00", Zone::None), Ok(moment));
        assert_eq!(text("2024-01-01T12:00:00.000Z", Zone::None), Ok(moment));
        assert_eq!(text("2024-01-01 14:00:00+02:00", Zone::Utc), Ok(moment));
        assert!(text("2024-01-01 14:00:00+02:00", Zone::None).unwrap_err().contains("TIMESTAMPTZ"));
        assert_eq!(integer_timestamp(1_704_110_400, MICRO, Stored::Any), Ok(moment));
        assert_eq!(real_timestamp(2_460_311.0, MICRO, Stored::Any), Ok(moment));
        assert_eq!(real_timestamp(1_704_110_400.25, MICRO, Stored::Any), Ok(moment + 250_000));
        assert_eq!(integer_timestamp(2_460_311, MICRO, Stored::Julian), Ok(moment));
        assert_eq!(
            integer_timestamp(moment / 1000, TimeUnit::Millisecond, Stored::Unix(TimeUnit::Millisecond)),
            Ok(moment / 1000)
        );
        assert_eq!(real_timestamp(JULIAN_1970, MICRO, Stored::Any), Ok(0));
    }

    #[test]
    fn what_may_mean_something_else_is_refused() {
        for number in [2_460_311, 1_721_060, 5_373_484] {
            assert!(integer_timestamp(number, MICRO, Stored::Any).unwrap_err().contains("julian or unix_s"));
            assert!(integer_timestamp(number, MICRO, Stored::Unix(TimeUnit::Second)).is_ok());
        }
        let milliseconds = 1_704_110_400_000;
        assert!(integer_timestamp(milliseconds, MICRO, Stored::Any).unwrap_err().contains("unix_ms"));
        for number in [f64::INFINITY, -f64::INFINITY, 1e12, -1e12] {
            assert!(real_timestamp(number, MICRO, Stored::Any).is_err());
        }
        assert!(integer_timestamp(1, MICRO, Stored::Julian).is_err());
        assert!(text_timestamp("2024-01-01 00:00:00.0000001", MICRO, Zone::None, Stored::Any).is_err());
        let nano = |text| text_timestamp(text, TimeUnit::Nanosecond, Zone::None, Stored::Any);
        assert_eq!(nano("1970-01-01 00:00:00.000000001"), Ok(1));
        assert!(nano("3000-01-01").unwrap_err().contains("2262"));
    }

    #[test]
    fn dates_are_midnights() {
        assert_eq!((text_date("2024-02-29"), text_date("2024-02-29 00:00:00Z")), (Ok(19_782), Ok(19_782)));
        assert_eq!((integer_date(86_400), integer_date(-86_400)), (Ok(1), Ok(-1)));
        assert_eq!((real_date(2_440_588.5), real_date(2_440_586.5)), (Ok(1), Ok(-1)));
        assert!(text_date("2024-02-29 01:00:00").is_err() && integer_date(19_782).is_err());
        assert!(real_date(2_440_588.0).is_err() && real_date(0.5).is_err());
        assert_eq!(text_time("23:59:59.999999"), Ok(86_399_999_999));
        assert!(text_time("24:00:00").is_err() && text_time("00:00:00.0000001").is_err());
        assert_eq!(position(-1, TimeUnit::Nanosecond, MICRO), 0);
        assert_eq!(position(1, TimeUnit::Nanosecond, MICRO), 1);
        assert_eq!(position(5, TimeUnit::Second, MICRO), 5_000_000);
    }
}
