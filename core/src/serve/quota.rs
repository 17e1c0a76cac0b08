//! What all users may have together, and one of them alone.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// An amount that is handed out to users.
#[derive(Debug)]
pub(super) struct Quota {
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    of_all: usize,
    of_one: usize,
    all: usize,
    /// Only users that have something.
    users: HashMap<u32, usize>,
}

/// The limit that a request would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    OfAll,
    OfOne,
}

/// What a user took; given back when dropped.
#[derive(Debug)]
pub(super) struct Portion {
    quota: Arc<Quota>,
    uid: u32,
    amount: usize,
}

impl Quota {
    pub(super) fn new(of_all: usize, of_one: usize) -> Self {
        Self { taken: Mutex::new(Taken { of_all, of_one, all: 0, users: HashMap::new() }) }
    }

    /// Hands out so much from now on. What was handed out stays so until it is given back.
    pub(super) fn limit(&self, of_all: usize, of_one: usize) {
        let mut taken = self.taken.lock();
        (taken.of_all, taken.of_one) = (of_all, of_one);
    }

    /// Gives a user some of the amount.
    pub(super) fn take(self: &Arc<Self>, uid: u32, amount: usize) -> Result<Portion, Exceeded> {
        let mut taken = self.taken.lock();
        let of_one = taken.users.get(&uid).copied().unwrap_or_default();
        if amount > taken.of_all.saturating_sub(taken.all) {
            return Err(Exceeded::OfAll);
        }
        if amount > taken.of_one.saturating_sub(of_one) {
            return Err(Exceeded::OfOne);
        }
        taken.all += amount;
        taken.users.insert(uid, of_one + amount);
        Ok(Portion { quota: self.clone(), uid, amount })
    }

    /// How much is taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.lock().all
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        let mut taken = self.quota.taken.lock();
        taken.all -= self.amount;
        if let Some(of_one) = taken.users.get_mut(&self.uid) {
            *of_one -= self.amount;
            if *of_one == 0 {
                taken.users.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_something_to_others() {
        let quota = Arc::new(Quota::new(4, 3));
        let mut first: Vec<Portion> = (0..3).map(|_| quota.take(1, 1).unwrap()).collect();
        assert_eq!(quota.take(1, 1).unwrap_err(), Exceeded::OfOne);
        let other = quota.take(2, 1).unwrap();
        assert_eq!(quota.take(2, 1).unwrap_err(), Exceeded::OfAll);
        first.pop();
        assert_eq!(quota.take(1, 2).unwrap_err(), Exceeded::OfAll);
        first.push(quota.take(1, 1).unwrap());
        quota.limit(2, 2);
        assert_eq!(quota.take(3, 1).unwrap_err(), Exceeded::OfAll, "others have more than there is now");
        drop((first, other));
        assert_eq!(quota.taken(), 0);
        assert!(quota.taken.lock().users.is_empty(), "users that left are forgotten");
        assert!(quota.take(1, usize::MAX).is_err());
    }
}
