//! Waits until a source that tells changes is quiet for a moment.

use std::time::{Duration, Instant};

/// How long no change is told before a refresh begins: whoever writes a file often writes another one after it.
const QUIET: Duration = Duration::from_millis(300);
/// How long a refresh waits for that.
const LONGEST: Duration = Duration::from_secs(5);

/// Changes that no refresh has looked at.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    since: Option<Instant>,
}

impl Quiet {
    /// A change was told. Returns when to look at it.
    pub(super) fn changed(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        (now + QUIET).min(since + LONGEST)
    }

    /// A refresh looks at all changes so far.
    pub(super) fn looked(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_changes_are_looked_at_once_and_not_for_ever_later() {
        let (mut quiet, start) = (Quiet::default(), Instant::now());
        assert_eq!(quiet.changed(start), start + QUIET);
        let later = start + Duration::from_millis(200);
        assert_eq!(quiet.changed(later), later + QUIET);
        assert_eq!(quiet.changed(start + Duration::from_secs(60)), start + LONGEST);
        quiet.looked();
        let later = start + Duration::from_secs(61);
        assert_eq!(quiet.changed(later), later + QUIET);
    }
}
