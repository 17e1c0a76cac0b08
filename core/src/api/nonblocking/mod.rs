//! The same handles for async code.
//!
//! A pool of threads does the work that blocks, so any async runtime will do. A call that is a mere function call in
//! this process, such as a lookup in mapped files, runs at once on the calling thread. Dropping a future cancels its
//! call: the sidecar ends the query and releases what the answer would have given. A cancelled write may or may not
//! have taken effect.

mod cache;
mod subscription;
mod table;
mod transaction;

use crate::answer::batches::Canceller;
use crate::blocking::scope::CallScope;
use crate::blocking::threads;
use crate::types::error::Result;

pub use cache::{AsyncCache, AsyncPrepared, AsyncSnapshot};
pub use subscription::AsyncSubscription;
pub use table::{AsyncTable, AsyncTableSnapshot};
pub use transaction::AsyncTransaction;

/// Runs work that may block on a thread of the pool.
async fn unblock<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    /// Cancels the work when dropped, unless it is done.
    struct GiveUp(Option<(CallScope, Canceller)>);

    impl Drop for GiveUp {
        fn drop(&mut self) {
            if let Some((scope, planning)) = self.0.take() {
                scope.cancel();
                planning.cancel();
            }
        }
    }

    let scope = CallScope::default();
    let planning = Canceller::new(None);
    let mut give_up = GiveUp(Some((scope.clone(), planning.clone())));
    let done = threads::run(move || planning.run(|| scope.run(work))).await;
    give_up.0 = None;
    done
}
