//! Moments as numbers.

use std::time::{Duration, SystemTime};

use super::version::Freshness;

/// Nanoseconds from 1970-01-01 UTC to a moment; 0 for moments before.
pub(crate) fn nanoseconds_of(moment: SystemTime) -> i64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Nanoseconds from 1970-01-01 UTC to now, or up to about 10 ms before: as the kernel noted it at its last tick, which costs a
/// few nanoseconds to read.
pub(crate) fn coarse_now() -> i64 {
    #[cfg(target_os = "linux")]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
    }
    #[cfg(not(target_os = "linux"))]
    nanoseconds_of(SystemTime::now())
}

/// The freshness of what holds everything up to a moment in nanoseconds since 1970; `None` if there is no such moment.
pub(crate) fn freshness_at(nanoseconds: Option<i64>) -> Option<Freshness> {
    let nanoseconds = u64::try_from(nanoseconds?).ok()?;
    Some(Freshness { as_of: SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds) })
}
