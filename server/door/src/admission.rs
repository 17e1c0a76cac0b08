//! How many requests are worked on at a time, and how many wait.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::options::most_of;

/// Lets in so many at a time, lets so many wait, and refuses the others at once.
#[derive(Debug)]
pub struct Admission {
    /// What is counted, for messages.
    what: &'static str,
    all: Arc<Semaphore>,
    of_one: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
    /// The share of each token, by its name. There are as many as the configuration has.
    shares: Mutex<HashMap<Arc<str>, Arc<Share>>>,
}

#[derive(Debug)]
struct Share {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// As many as are allowed are here, and as many as may wait do.
    TooMany {
        /// What there are too many of.
        what: &'static str,
    },
    /// None became free in time.
    TooLate {
        /// What there are too many of.
        what: &'static str,
        /// How long it was waited.
        patience: Duration,
    },
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { what } => write!(f, "as many {what} as are allowed are here already"),
            Self::TooLate { what, patience } => {
                write!(f, "no place for {what} became free within {patience:?}")
            }
        }
    }
}

impl std::error::Error for Full {}

/// A place. Given back when dropped.
#[derive(Debug)]
pub struct Place {
    _share: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// A place in the queue. Given back when dropped, also when a client goes away while it waits.
struct Waiting<'a>([&'a AtomicUsize; 2]);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        for counter in self.0 {
            counter.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Admission {
    /// Lets in `max` at a time, of which one token has three quarters, and lets `waiting_max` wait.
    pub fn new(what: &'static str, max: usize, waiting_max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self {
            what,
            all: Arc::new(Semaphore::new(max)),
            of_one: most_of(max),
            waiting: AtomicUsize::new(0),
            waiting_max,
            shares: Mutex::default(),
        }
    }

    /// A place for the bearer of a token, once there is one, within some time.
    ///
    /// # Errors
    /// [`Full::TooMany`] at once if too many wait already; [`Full::TooLate`] if none became free in time.
    pub async fn enter(&self, name: &str, patience: Duration) -> Result<Place, Full> {
        let share = self.share(name);
        if let Some(place) = self.try_enter(&share) {
            return Ok(place);
        }
        let _waiting = self.wait(&share).ok_or(Full::TooMany { what: self.what })?;
        let entered = tokio::time::timeout(patience, async {
            // The share first: who has used it up takes no place from others while it waits.
            let share = share.places.clone().acquire_owned().await.ok()?;
            let all = self.all.clone().acquire_owned().await.ok()?;
            Some(Place { _share: share, _all: all })
        });
        entered.await.ok().flatten().ok_or(Full::TooLate { what: self.what, patience })
    }

    fn share(&self, name: &str) -> Arc<Share> {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get(name) {
            return share.clone();
        }
        let (places, waiting) = (Arc::new(Semaphore::new(self.of_one)), AtomicUsize::new(0));
        let share = Arc::new(Share { places, waiting });
        shares.insert(name.into(), share.clone());
        share
    }

    fn try_enter(&self, share: &Share) -> Option<Place> {
        let share = share.places.clone().try_acquire_owned().ok()?;
        let all = self.all.clone().try_acquire_owned().ok()?;
        Some(Place { _share: share, _all: all })
    }

    fn wait<'a>(&'a self, share: &'a Share) -> Option<Waiting<'a>> {
        let of_one = if self.waiting_max == 0 { 0 } else { most_of(self.waiting_max) };
        let waiting = Waiting([&self.waiting, &share.waiting]);
        let all = self.waiting.fetch_add(1, Ordering::AcqRel);
        let own = share.waiting.fetch_add(1, Ordering::AcqRel);
        // Dropped, and so counted back, if there are too many.
        (all < self.waiting_max && own < of_one).then_some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn one_token_leaves_places_to_others() {
        block_on(async {
            let admission = Admission::new("requests", 4, 0);
            let enter = |name: &'static str| admission.enter(name, Duration::from_secs(60));
            let mut places = Vec::new();
            for _ in 0..3 {
                places.push(enter("greedy").await.unwrap());
            }
            assert_eq!(enter("greedy").await.unwrap_err(), Full::TooMany { what: "requests" });
            let other = enter("other").await.unwrap();
            assert_eq!(enter("third").await.unwrap_err(), Full::TooMany { what: "requests" });
            drop(places.pop());
            drop(enter("third").await.unwrap());
            drop((places, other));
            assert_eq!((admission.all.available_permits(), admission.waiting.load(Ordering::SeqCst)), (4, 0));
        });
    }

    #[test]
    fn those_that_wait_get_the_places_that_become_free() {
        block_on(async {
            let admission = Arc::new(Admission::new("requests", 2, 8));
            let (first, second) = (
                admission.enter("a", Duration::MAX).await.unwrap(),
                admission.enter("b", Duration::MAX).await.unwrap(),
            );
            let waits = (0..4).map(|number| {
                let admission = admission.clone();
                let name = if number % 2 == 0 { "a" } else { "b" };
                tokio::spawn(async move { admission.enter(name, Duration::MAX).await.map(drop) })
            });
            let waits: Vec<_> = waits.collect();
            while admission.waiting.load(Ordering::SeqCst) < 4 {
                tokio::task::yield_now().await;
            }
            // One that goes away while it waits leaves nothing behind.
            let gone = tokio::time::timeout(Duration::ZERO, admission.enter("a", Duration::MAX)).await;
            assert!(gone.is_err());
            let late = admission.enter("a", Duration::ZERO).await.unwrap_err();
            assert_eq!(late, Full::TooLate { what: "requests", patience: Duration::ZERO });
            drop((first, second));
            for wait in waits {
                wait.await.unwrap().unwrap();
            }
            assert_eq!((admission.all.available_permits(), admission.waiting.load(Ordering::SeqCst)), (2, 0));
        });
    }
}
