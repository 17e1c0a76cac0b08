//! How many of the tries at a source may be retries.

/// What a retry costs, in what a try that is none adds.
const COST: u32 = 10;
/// Retries that a source has ahead at most, and has at first.
const AHEAD: u32 = 10;

/// Lets a tenth of the tries at a source be retries, however many tables it feeds and however often it fails. A try that comes
/// when the schedule of its table, or the longest wait, would have it is no retry.
#[derive(Debug)]
pub(super) struct Budget {
    saved: u32,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { saved: COST * AHEAD }
    }

    /// There was a try that is no retry.
    pub(super) fn tried(&mut self) {
        self.saved = (self.saved + 1).min(COST * AHEAD);
    }

    /// Pays for a retry, if there is enough for one.
    pub(super) fn pay(&mut self) -> bool {
        let left = self.saved.checked_sub(COST);
        left.map(|left| self.saved = left).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tries_pay_for_a_retry() {
        let mut budget = Budget::new();
        let ahead = (0..100).filter(|_| budget.pay()).count();
        assert_eq!(ahead, 10);
        (0..9).for_each(|_| budget.tried());
        assert!(!budget.pay());
        budget.tried();
        assert!(budget.pay() && !budget.pay());
        (0..1000).for_each(|_| budget.tried());
        assert_eq!((0..100).filter(|_| budget.pay()).count(), 10, "no more than at first");
    }
}
