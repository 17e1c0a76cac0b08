//! Panics that fail the work they come up in and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does work that may panic; then it fails with the error that `panicked` makes. What the work was changing must be
/// dropped, or be right half-changed.
pub(crate) fn catch<T, E>(work: impl FnOnce() -> Result<T, E>, panicked: impl FnOnce() -> E) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_an_error_stays_one() {
        let work = |number: u32| {
            catch(|| if number == 0 { Err("failed") } else { Ok(12 / (number - 1)) }, || "panicked")
        };
        assert_eq!([work(0), work(1), work(2)], [Err("failed"), Err("panicked"), Ok(12)]);
    }
}
