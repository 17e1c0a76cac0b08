//! Keeps panics and texts from crossing the border to C.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pillion::{Error, ErrorCode, Result};

/// Does work for code of another language. A panic becomes [`ErrorCode::Internal`], because it must not reach C; what the work
/// changed stays as it was when it panicked.
///
/// # Errors
/// Those of the work; [`ErrorCode::Internal`].
pub fn contained<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref().map(String::as_str));
        let message = match text {
            Some(text) => format!("the call ended unexpectedly: {text}"),
            None => "the call ended unexpectedly".to_owned(),
        };
        Err(Error::new(ErrorCode::Internal, message))
    })
}

/// An error with its causes as a text of C, which ends at a zero and so has none.
pub fn words(error: &Error) -> String {
    format!("{error:#}").replace('\0', "\\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let error = contained::<()>(|| panic!("row {} is missing", 7)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Internal);
        assert_eq!(error.message(), "the call ended unexpectedly: row 7 is missing");
        let error = contained::<()>(|| panic!("plain")).unwrap_err();
        assert_eq!(error.message(), "the call ended unexpectedly: plain");
        assert_eq!(contained(|| Ok(1)).unwrap(), 1);
    }

    #[test]
    fn words_have_no_zeros() {
        let cause = Error::new(ErrorCode::Io, "b\0c");
        let error = Error::new(ErrorCode::Io, "a").with_source(cause);
        assert_eq!(words(&error), "a: b\\0c");
    }
}
