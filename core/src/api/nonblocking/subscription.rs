//! Changes of a table as they are committed.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures_timer::Delay;
use parking_lot::Mutex;

use super::{AsyncTable, threads};
use crate::api::subscription::{Pauses, Subscription};
use crate::types::error::Result;
use crate::types::version::Version;

/// A [`Subscription`] for async code. Made by [`AsyncTable::subscribe`].
#[derive(Debug)]
pub struct AsyncSubscription {
    shared: Arc<Mutex<SharedSubscription>>,
}

#[derive(Debug)]
struct SharedSubscription {
    subscription: Subscription,
    /// What came, and nobody took: the call that waited for it was given up.
    ready: Option<RecordBatch>,
}

impl AsyncTable {
    /// As [`Table::subscribe`](crate::Table::subscribe).
    pub fn subscribe(&self, since: Version) -> AsyncSubscription {
        let subscription = self.blocking().subscribe(since);
        AsyncSubscription { shared: Arc::new(Mutex::new(SharedSubscription { subscription, ready: None })) }
    }
}

impl AsyncSubscription {
    /// As [`Subscription::version`]. Waits for a look of a call of [`next`](Self::next) that was given up.
    pub fn version(&self) -> Version {
        self.shared.lock().subscription.version()
    }

    /// As [`Subscription::next`]. If the future is dropped before it is done, nothing is lost: the next call hands out what
    /// it was to.
    ///
    /// # Errors
    /// Those of [`Subscription::next`].
    pub async fn next(&mut self, patience: Duration) -> Result<Option<RecordBatch>> {
        let mut pauses = Pauses::new(patience);
        loop {
            let shared = self.shared.clone();
            // A look goes on when its future is dropped: an answer that was read in part is not given up.
            threads::run(move || {
                let shared = &mut *shared.lock();
                if shared.ready.is_none() {
                    shared.ready = shared.subscription.look()?;
                }
                Result::Ok(())
            })
            .await?;
            if let Some(changes) = self.shared.lock().ready.take() {
                return Ok(Some(changes));
            }
            let Some(pause) = pauses.next() else { return Ok(None) };
            Delay::new(pause).await;
        }
    }
}
