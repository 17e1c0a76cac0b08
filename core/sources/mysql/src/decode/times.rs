//! Dates and times, which the server sends in their parts.

use mysql_async::Value;

use super::Fault;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Days since 1970-01-01.
pub(crate) fn date(value: &Value) -> Result<i32, Fault> {
    match *value {
        Value::Date(year, month, day, 0, 0, 0, 0) => days(year, month, day),
        _ => Err("has a date that is none".to_owned()),
    }
}

/// Microseconds since 1970-01-01, of a clock that stands in UTC.
pub(crate) fn timestamp(value: &Value) -> Result<i64, Fault> {
    match *value {
        Value::Date(year, month, day, hour @ ..24, minute @ ..60, second @ ..60, fraction @ ..1_000_000) => {
            let time = clock(hour.into(), minute, second, fraction);
            Ok(i64::from(days(year, month, day)?) * DAY + time)
        }
        _ => Err("has a time that is none".to_owned()),
    }
}

/// Microseconds since midnight.
pub(crate) fn time(value: &Value) -> Result<i64, Fault> {
    match *value {
        Value::Time(false, 0, hour @ ..24, minute @ ..60, second @ ..60, fraction @ ..1_000_000) => {
            Ok(clock(hour.into(), minute, second, fraction))
        }
        Value::Time(is_negative, days, hour, minute, second, _) => {
            let sign = if is_negative { "-" } else { "" };
            let hours = i64::from(days) * 24 + i64::from(hour);
            Err(format!(
                "holds {sign}{hours:02}:{minute:02}:{second:02}, which is no time of a day; leave such rows out by a condition, or read the column as text"
            ))
        }
        _ => Err("has a time that is none".to_owned()),
    }
}

fn clock(hour: i64, minute: u8, second: u8, fraction: u32) -> i64 {
    (hour * 3600 + i64::from(minute) * 60 + i64::from(second)) * SECOND + i64::from(fraction)
}

fn days(year: u16, month: u8, day: u8) -> Result<i32, Fault> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(format!(
            "holds {year:04}-{month:02}-{day:02}, which is no date; leave such rows out by a condition, or read the column as text"
        ));
    }
    // Counts years from March, so that the day that some years lack is the last one; 400 years have 146,097 days.
    let (month, day) = (i32::from(month), i32::from(day));
    let year = i32::from(year) - i32::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let march_month = (month + 9) % 12;
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    Ok(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_counted_from_1970() {
        assert_eq!(date(&Value::Date(1970, 1, 1, 0, 0, 0, 0)), Ok(0));
        assert_eq!(date(&Value::Date(2000, 2, 29, 0, 0, 0, 0)), Ok(11_016));
        assert_eq!(date(&Value::Date(1, 1, 1, 0, 0, 0, 0)), Ok(-719_162));
        assert_eq!(date(&Value::Date(9999, 12, 31, 0, 0, 0, 0)), Ok(2_932_896));
        assert_eq!(timestamp(&Value::Date(1969, 12, 31, 23, 59, 59, 999_999)), Ok(-1));
        assert_eq!(time(&Value::Time(false, 0, 23, 59, 59, 999_999)), Ok(DAY - 1));
    }

    #[test]
    fn what_is_no_date_or_time_is_refused() {
        let shown = |fault: Result<i64, Fault>| fault.unwrap_err();
        assert!(date(&Value::Date(0, 0, 0, 0, 0, 0, 0)).unwrap_err().contains("0000-00-00"));
        assert!(shown(timestamp(&Value::Date(2024, 2, 0, 1, 0, 0, 0))).contains("2024-02-00"));
        assert!(shown(time(&Value::Time(true, 0, 1, 0, 0, 0))).contains("-01:00:00"));
        assert!(shown(time(&Value::Time(false, 34, 22, 59, 59, 0))).contains("838:59:59"));
        assert!(shown(time(&Value::Int(1))).contains("is none"));
        assert!(date(&Value::Date(2024, 1, 1, 1, 0, 0, 0)).unwrap_err().contains("is none"));
    }
}
