//! When a table is refreshed next.

use std::time::{Duration, Instant, SystemTime};

use super::backoff::{LONGEST, jittered, wait_after};
use crate::source::{Cadence, TableSource};

/// How late a refresh at a moment of the calendar may begin, at random.
const CRON_JITTER_MAX: Duration = Duration::from_secs(60);
/// How far the clock may go back before moments of the calendar are reckoned anew.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// The moment, by the clock that nobody sets and by the one that shows the time of day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) steady: Instant,
    pub(super) wall: SystemTime,
}

/// When a refresh is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Due {
    /// When it is called for.
    Never,
    At(Instant),
    /// At a moment of the calendar, as it was reckoned at another.
    Calendar {
        at: SystemTime,
        reckoned: SystemTime,
    },
}

impl Due {
    pub(super) fn now(now: Now) -> Self {
        Self::At(now.steady)
    }

    pub(super) fn after(now: Now, wait: Duration) -> Self {
        now.steady.checked_add(wait).map_or(Self::Never, Self::At)
    }

    /// For how long it has been due; `None` if it is not.
    pub(super) fn waited(self, now: Now) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::At(at) => now.steady.checked_duration_since(at),
            Self::Calendar { at, .. } => now.wall.duration_since(at).ok(),
        }
    }

    /// How long it is not due yet; `None` if nobody knows.
    pub(super) fn left(self, now: Now) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::At(at) => Some(at.saturating_duration_since(now.steady)),
            Self::Calendar { at, .. } => Some(at.duration_since(now.wall).unwrap_or_default()),
        }
    }

    pub(super) fn is_of_calendar(self) -> bool {
        matches!(self, Self::Calendar { .. })
    }

    /// Whether the clock went back behind the moment at which this was reckoned: the next moment may be an earlier one.
    pub(super) fn is_outdated(self, now: Now) -> bool {
        let Self::Calendar { reckoned, .. } = self else { return false };
        reckoned.duration_since(now.wall).is_ok_and(|back| back > CLOCK_TOLERANCE)
    }

    /// The earlier of two.
    fn min(self, other: Self, now: Now) -> Self {
        match (self.left(now), other.left(now)) {
            (Some(left), Some(of_other)) if of_other < left => other,
            (None, _) => other,
            _ => self,
        }
    }
}

/// When a table is refreshed by its schedule. Moments that have passed count as one, which is now: nothing is made up for.
pub(super) fn scheduled(origin: &TableSource, now: Now, share: f64) -> Due {
    match &origin.cadence {
        Cadence::OnCall | Cadence::Changes => Due::Never,
        Cadence::Every(interval) | Cadence::OnChange(interval) => {
            Due::after(now, jittered(*interval, origin.jitter, share))
        }
        Cadence::Cron(cron) => {
            let Some(next) = cron.after(now.wall) else { return Due::Never };
            let gap = cron.after(next).and_then(|following| following.duration_since(next).ok());
            let late = gap.unwrap_or_default().mul_f64(origin.jitter * share).min(CRON_JITTER_MAX);
            match next.checked_add(late) {
                Some(at) => Due::Calendar { at, reckoned: now.wall },
                None => Due::Never,
            }
        }
    }
}

/// When a table is tried again after so many failures in a row, and whether that is a retry: sooner than it would be without any
/// budget for them, which `may_retry` gives. Also a table that is refreshed by call only is tried again until it succeeds.
pub(super) fn after_failure(
    origin: &TableSource,
    failures: u32,
    now: Now,
    share: f64,
    may_retry: impl FnOnce() -> bool,
) -> (Due, bool) {
    let soon = Due::after(now, wait_after(failures, share));
    let longest = Due::after(now, LONGEST.mul_f64(0.5 + share / 2.0));
    let regular = longest.min(scheduled(origin, now, share), now);
    if soon.left(now) >= regular.left(now) {
        return (soon, false);
    }
    if may_retry() { (soon, true) } else { (regular, false) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Relation;

    fn source() -> TableSource {
        TableSource::new("shop", Relation::table("orders")).jitter(0.0)
    }

    fn nightly() -> TableSource {
        source().cron("0 3 * * *", "UTC").unwrap()
    }

    fn at(day: u64, seconds: u64) -> Now {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400 + seconds);
        Now { steady: Instant::now(), wall }
    }

    #[test]
    fn a_moment_of_the_calendar_is_due_once() {
        let reckoned = at(100, 3600);
        let due = scheduled(&nightly(), reckoned, 0.5);
        assert_eq!(due.left(reckoned), Some(Duration::from_secs(2 * 3600)));
        assert_eq!(due.waited(at(100, 3 * 3600 - 1)), None);
        assert_eq!(due.waited(at(100, 3 * 3600)), Some(Duration::ZERO));
        // The clock goes forward by weeks: one refresh, and the next one in the night after that.
        let later = at(130, 4 * 3600);
        assert!(due.waited(later).is_some() && !due.is_outdated(later));
        assert_eq!(scheduled(&nightly(), later, 0.5).left(later), Some(Duration::from_secs(23 * 3600)));
    }

    #[test]
    fn a_clock_that_goes_back_is_noticed() {
        let due = scheduled(&nightly(), at(100, 4 * 3600), 0.0);
        assert!(!due.is_outdated(at(100, 4 * 3600 - 59)), "clocks are set by a little all the time");
        assert!(due.is_outdated(at(100, 3600)) && due.is_outdated(at(3, 0)));
        assert!(!Due::now(at(100, 0)).is_outdated(at(3, 0)), "an interval knows no time of day");
    }

    #[test]
    fn refreshes_of_many_caches_are_spread_but_never_early() {
        let origin = TableSource::new("shop", Relation::table("orders")).cron("0 3 * * *", "UTC").unwrap();
        let now = at(100, 3600);
        let left = |share| scheduled(&origin, now, share).left(now).unwrap();
        assert_eq!(left(0.0), Duration::from_secs(2 * 3600));
        assert_eq!(left(1.0), Duration::from_secs(2 * 3600 + 60));
        let often = origin.cron("* * * * *", "UTC").unwrap();
        assert_eq!(scheduled(&often, now, 1.0).left(now), Some(Duration::from_secs(66)));
    }

    #[test]
    fn a_failure_is_made_up_for_sooner_if_there_is_a_budget() {
        let now = at(100, 3600);
        let wait = |origin: &TableSource, failures, may_retry| {
            let (due, is_retry) = after_failure(origin, failures, now, 1.0, || may_retry);
            (due.left(now).unwrap().as_secs(), is_retry)
        };
        assert_eq!(wait(&nightly(), 1, true), (1, true));
        assert_eq!(wait(&nightly(), 1, false), (300, false));
        assert_eq!(wait(&nightly(), 20, true), (300, false), "as long as without a budget");
        let minutely = source().every(Duration::from_secs(60));
        assert_eq!(wait(&minutely, 3, false), (60, false), "when it would be refreshed anyway");
        assert_eq!(wait(&minutely, 9, true), (256, false), "longer than the interval");
        assert_eq!(wait(&source().on_call(), 2, true), (2, true));
    }
}
