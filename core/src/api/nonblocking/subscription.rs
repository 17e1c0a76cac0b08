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
    /// A batch that came after the call that waited for it was dropped.
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
    /// As [`Subscription::version`]. If a call of [`next`](Self::next) was dropped while it looked for changes, waits
    /// until that look has ended.
    pub fn version(&self) -> Version {
        self.shared.lock().subscription.version()
    }

    /// As [`Subscription::next`]. Dropping the future loses nothing: the next call returns what this one would have
    /// returned.
    ///
    /// # Errors
    /// Those of [`Subscription::next`].
    pub async fn next(&mut self, patience: Duration) -> Result<Option<RecordBatch>> {
        let mut pauses = Pauses::new(patience);
        loop {
            let shared = self.shared.clone();
            // A look goes on after its future is dropped: cancelling it would lose an answer that was read in part.
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
