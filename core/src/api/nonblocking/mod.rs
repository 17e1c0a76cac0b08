//! The same handles for async code.
//!
//! Work that blocks is done on threads for that purpose, so it suits any async runtime. What is a function call in this
//! process, such as a lookup in mapped files, is done at once. Dropping a future gives its call up: a query of a sidecar is
//! ended, and what its answer gave is let go of. A write that was given up took effect or not.

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

/// Does work that may block, elsewhere.
async fn unblock<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    /// Gives the work up unless it is done.
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
