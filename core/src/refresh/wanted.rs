//! Waits for refreshes, for as long as somebody wants their ends.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, MutexGuard};

use crate::answer::batches::Canceller;
use crate::types::error::{Error, ErrorCode, Result};

/// How often whoever waits looks whether somebody still wants the end.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Waits for a change of what a lock holds, for a short time at most; not beyond `deadline`.
///
/// # Errors
/// [`ErrorCode::Cancelled`] if nobody wants the refresh of the table any more. It goes on.
pub(super) fn wait<T>(
    changed: &Condvar,
    held: &mut MutexGuard<'_, T>,
    table: &str,
    deadline: Option<Instant>,
) -> Result<()> {
    if Canceller::is_current_cancelled() {
        let message = format!("nobody waits for the refresh of table `{table}` any more; it goes on");
        return Err(Error::new(ErrorCode::Cancelled, message));
    }
    let look_at = Instant::now() + LOOK_PAUSE;
    changed.wait_until(held, deadline.map_or(look_at, |deadline| deadline.min(look_at)));
    Ok(())
}
