//! What the planning of one statement may take: time, and bytes of values that it makes of constants.
//!
//! DataFusion's rules and functions do not learn which query calls them. So the state of the planning belongs to the
//! thread.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use datafusion::error::DataFusionError;

use super::error::external;
use crate::answer::batches::Canceller;
use crate::types::error::{Error, ErrorCode, Result};

/// Longest time for planning a statement. The limits keep statements so small that a tenth of it is much.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Most bytes of one value that planning computes from constants; a larger one is computed when the statement runs.
const CONSTANT_MAX: u64 = 4 << 10;
/// Most bytes of all values that planning computes from constants.
const CONSTANTS_MAX: u64 = 1 << 20;

thread_local! {
    /// The planning that this thread does now.
    static CURRENT: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// The planning of one statement.
#[derive(Debug)]
struct Watch {
    until: Instant,
    canceller: Option<Canceller>,
    /// Bytes of values made so far.
    constants: u64,
    /// Why planning was refused: DataFusion may ignore the error of a rule.
    refused: Option<(ErrorCode, String)>,
}

/// Plans on this thread, until the time is over or the [canceller](Canceller::current) of this thread is cancelled.
pub(super) fn planning<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    watched(Watch::new(Canceller::current(), Instant::now() + TIME_MAX), work)
}

fn watched<T>(watch: Watch, work: impl FnOnce() -> Result<T>) -> Result<T> {
    /// Restores the thread's watch even if `work` panics: the thread has other work after it.
    struct Restore(Option<Watch>);

    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }

    watch.check()?;
    let _restore = Restore(CURRENT.replace(Some(watch)));
    let planned = work();
    let refused = CURRENT.with_borrow_mut(|current| current.as_mut()?.refused.take());
    match refused {
        Some((code, message)) => Err(Error::new(code, message)),
        None => planned,
    }
}

/// Whether planning may go on.
///
/// # Errors
/// [`ErrorCode::Cancelled`], or [`ErrorCode::InvalidSql`] after [`TIME_MAX`].
pub(super) fn check() -> Result<(), DataFusionError> {
    let checked = CURRENT.with_borrow(|current| current.as_ref().map_or(Ok(()), Watch::check));
    checked.map_err(refuse)
}

/// Ends planning with this error, whatever DataFusion makes of it.
pub(super) fn refuse(error: Error) -> DataFusionError {
    CURRENT.with_borrow_mut(|current| {
        if let Some(watch) = current {
            watch.refused = Some((error.code(), error.message().to_owned()));
        }
    });
    external(error)
}

/// Whether planning on this thread was refused.
pub(super) fn is_over() -> bool {
    CURRENT.with_borrow(|current| current.as_ref().is_some_and(|watch| watch.refused.is_some()))
}

/// Whether a value may be computed from constants now; always while the statement runs.
pub(super) fn may_make(bytes: u64) -> bool {
    CURRENT.with_borrow_mut(|current| {
        let Some(watch) = current else { return true };
        let made = watch.constants.saturating_add(bytes);
        let may = bytes <= CONSTANT_MAX && made <= CONSTANTS_MAX;
        if may {
            watch.constants = made;
        }
        may
    })
}

impl Watch {
    fn new(canceller: Option<Canceller>, until: Instant) -> Self {
        Self { until, canceller, constants: 0, refused: None }
    }

    fn check(&self) -> Result<()> {
        if self.canceller.as_ref().is_some_and(Canceller::is_cancelled) {
            return Err(Error::new(ErrorCode::Cancelled, "the statement was cancelled while it was planned"));
        }
        if Instant::now() < self.until {
            return Ok(());
        }
        let message = format!(
            "planning the statement took longer than {} s; split it, or name fewer tables and columns",
            TIME_MAX.as_secs()
        );
        Err(Error::new(ErrorCode::InvalidSql, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planning_ends_when_it_is_cancelled_or_late_and_the_thread_goes_on() {
        let canceller = Canceller::new(None);
        let later = || Instant::now() + TIME_MAX;
        let outcome: Result<()> = watched(Watch::new(Some(canceller.clone()), later()), || {
            check().unwrap();
            canceller.cancel();
            // DataFusion does not always heed the error of a rule.
            check().unwrap_err();
            Ok(())
        });
        assert_eq!(outcome.unwrap_err().code(), ErrorCode::Cancelled);
        let begun = watched(Watch::new(Some(canceller), later()), || Ok(()));
        assert_eq!(begun.unwrap_err().code(), ErrorCode::Cancelled, "not even begun");
        let late: Result<()> = watched(Watch::new(None, Instant::now()), || Ok(()));
        assert_eq!(late.unwrap_err().code(), ErrorCode::InvalidSql);
        check().unwrap();
    }

    #[test]
    fn a_query_of_a_cancelled_call_is_not_planned() {
        let dir = tempfile::tempdir().unwrap();
        let cache = crate::Cache::open(dir.path().join("cache")).unwrap();
        let prepared = cache.prepare("SELECT 1").unwrap();
        let canceller = Canceller::new(None);
        canceller.run(|| {
            cache.sql("SELECT 1", &[]).unwrap().concat().unwrap();
            canceller.cancel();
            let outcomes = [
                cache.sql("SELECT 1", &[]).map(drop),
                cache.prepare("SELECT 1").map(drop),
                prepared.execute(&[]).map(drop),
            ];
            for outcome in outcomes {
                assert_eq!(outcome.unwrap_err().code(), ErrorCode::Cancelled);
            }
        });
        cache.sql("SELECT 1", &[]).unwrap().concat().unwrap();
    }

    #[test]
    fn planning_makes_few_and_small_values() {
        assert!(may_make(u64::MAX), "nothing is planned");
        planning(|| {
            assert!(!may_make(CONSTANT_MAX + 1));
            let made = (0..).take_while(|_| may_make(CONSTANT_MAX)).count();
            assert_eq!(made as u64, CONSTANTS_MAX / CONSTANT_MAX);
            Ok(())
        })
        .unwrap();
    }
}
