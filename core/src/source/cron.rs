//! Moments of the calendar at which a table is refreshed.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::parser::{CronParser, Seconds, Year};

use crate::types::error::{Error, ErrorCode, Result, nearest};

/// A cron pattern in a time zone.
#[derive(Clone, Debug)]
pub(crate) struct Cron {
    pattern: String,
    zone: Tz,
    times: croner::Cron,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        (&self.pattern, self.zone) == (&other.pattern, other.zone)
    }
}

impl Cron {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`], also for a pattern of moments that never come.
    pub(crate) fn parse(pattern: &str, zone: &str) -> Result<Self> {
        let refused = |message: String| Error::new(ErrorCode::InvalidArgument, message);
        let zone = Tz::from_str(zone).map_err(|_| {
            let hint = match nearest(zone, TZ_VARIANTS.iter().map(|zone| zone.name())) {
                Some(name) => format!("did you mean \"{name}\"?"),
                None => "names are such as \"Europe/Berlin\" and \"UTC\"".to_owned(),
            };
            refused(format!("there is no time zone \"{zone}\"; {hint}"))
        })?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let times = parser.parse(pattern).map_err(|error| {
            refused(format!(
                "\"{pattern}\" does not say minute, hour, day of the month, month and day of the week, as \"0 3 * * *\" does"
            ))
            .with_source(error)
        })?;
        let cron = Self { pattern: pattern.to_owned(), zone, times };
        match cron.after(SystemTime::UNIX_EPOCH) {
            Some(_) => Ok(cron),
            None => Err(refused(format!("the moments of \"{pattern}\" never come"))),
        }
    }

    /// The first moment of the pattern after another one; `None` if the calendar ends before.
    pub(crate) fn after(&self, moment: SystemTime) -> Option<SystemTime> {
        let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).ok()?;
        let moment = DateTime::from_timestamp(seconds, 0)?.with_timezone(&self.zone);
        let next = self.times.find_next_occurrence(&moment, false).ok()?;
        let next = u64::try_from(next.timestamp()).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_next_moment_is_after_the_given_one() {
        let cron = Cron::parse("0 3 * * *", "UTC").unwrap();
        let three = 1_700_017_200; // 2023-11-15T03:00:00Z
        assert_eq!(cron.after(at(three - 1)), Some(at(three)));
        assert_eq!(cron.after(at(three)), Some(at(three + 86_400)));
        assert_eq!(cron.after(at(three) + Duration::from_millis(500)), Some(at(three + 86_400)));
        assert_eq!(cron, Cron::parse("0 3 * * *", "UTC").unwrap());
        assert_ne!(cron, Cron::parse("0 3 * * *", "Europe/Berlin").unwrap());
    }

    #[test]
    fn zones_change_their_offset() {
        let cron = Cron::parse("30 2 * * *", "Europe/Berlin").unwrap();
        let winter = 1_711_762_200; // 2024-03-30T02:30+01:00
        assert_eq!(cron.after(at(winter - 60)), Some(at(winter)));
        // On 2024-03-31 there is no half past two: the clock goes from two to three.
        let spring = cron.after(at(winter)).unwrap();
        assert_eq!(spring, at(1_711_846_800), "at the moment at which the hour is left out");
        assert_eq!(cron.after(spring), Some(at(1_711_931_400)), "2024-04-01T02:30+02:00");
        // On 2024-10-27 half past two comes twice.
        let autumn = cron.after(at(1_729_987_200)).unwrap();
        assert_eq!(cron.after(autumn), Some(at(1_730_079_000)), "once, and then on the next day");
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (pattern, zone, words) in [
            ("", "UTC", "does not say minute"),
            ("0 3 * *", "UTC", "does not say minute"),
            ("0 0 3 * * *", "UTC", "does not say minute"),
            ("60 3 * * *", "UTC", "does not say minute"),
            ("0 0 30 2 *", "UTC", "never come"),
            ("0 3 * * *", "Europe/Belin", "did you mean \"Europe/Berlin\"?"),
            ("0 3 * * *", "", "there is no time zone"),
        ] {
            let error = Cron::parse(pattern, zone).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains(words), "{pattern} {zone}: {error}");
        }
    }
}
