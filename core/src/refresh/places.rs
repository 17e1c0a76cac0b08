//! How many refreshes run at a time, and which sources must leave places to others.

use std::time::Duration;

/// A refresh that takes longer makes its source a slow one.
pub(super) const SLOW: Duration = Duration::from_secs(30);

/// A refresh whose source has not answered for longer takes no place until it answers: it waits, and does no work here.
pub(super) const UNANSWERED: Duration = Duration::from_secs(2);

/// The places for refreshes. A source has at most half of them, and so have all slow sources together: the others always find
/// places that somebody leaves soon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    all: usize,
}

/// Places that are taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// By refreshes whose sources answer.
    pub(super) all: usize,
    /// By the source that wants one more, whether it answers or not.
    pub(super) by_source: usize,
    /// By sources that are slow, and answer.
    pub(super) by_slow: usize,
}

impl Places {
    pub(super) fn new(all: usize) -> Self {
        Self { all }
    }

    fn half(self) -> usize {
        self.all.div_ceil(2)
    }

    /// Whether a source gets one more place.
    pub(super) fn are_free(self, taken: Taken, is_slow: bool) -> bool {
        taken.all < self.all && taken.by_source < self.half() && (!is_slow || taken.by_slow < self.half())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(all: usize, by_source: usize, by_slow: usize) -> Taken {
        Taken { all, by_source, by_slow }
    }

    #[test]
    fn half_of_the_places_are_for_others() {
        let places = Places::new(4);
        assert!(places.are_free(taken(1, 1, 1), true) && !places.are_free(taken(2, 2, 2), true));
        assert!(!places.are_free(taken(2, 0, 2), true), "slow sources share a half");
        assert!(places.are_free(taken(3, 1, 2), false) && !places.are_free(taken(4, 1, 2), false));
        // Sources that became slow while they ran keep their places, and get no others.
        assert!(!places.are_free(taken(3, 1, 3), true) && places.are_free(taken(3, 0, 3), false));
        assert!(Places::new(1).are_free(taken(0, 0, 0), true), "one place is for everybody");
    }
}
