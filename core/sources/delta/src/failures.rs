//! What a failure of the kernel means to whoever asked.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use delta_kernel::{KernelError, KernelResult};
use pillion::source::Call;
use pillion::{Error, ErrorCode, Result};
use tracing::Dispatch;

/// Asks the kernel something of a table. It logs nothing: its errors come back as ours. A log that makes it panic is damaged.
///
/// # Errors
/// Those of reading files; [`ErrorCode::Unsupported`] for what the kernel cannot read, [`ErrorCode::SourceInvalid`] for a damaged log.
pub(crate) fn ask<T>(shown: &str, call: &Call, work: impl FnOnce() -> KernelResult<T>) -> Result<T> {
    call.check()?;
    let quiet = || tracing::dispatcher::with_default(&Dispatch::none(), work);
    match catch_unwind(AssertUnwindSafe(quiet)) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(meaning(shown, call, &error)),
        Err(cause) => {
            let message = format!("`{shown}` is damaged: reading it panicked ({})", text_of(&*cause));
            Err(Error::new(ErrorCode::SourceInvalid, message))
        }
    }
}

/// The error that a handler gives to the kernel, which looks for a file that is not there by its kind.
pub(crate) fn to_kernel(error: Error) -> KernelError {
    match error.code() {
        ErrorCode::SourceNotFound => KernelError::file_not_found(error.message()),
        _ => KernelError::generic_err(error),
    }
}

/// The error of a kernel that wants to write.
pub(crate) fn only_reads() -> KernelError {
    KernelError::unsupported("a source only reads")
}

fn meaning(shown: &str, call: &Call, error: &KernelError) -> Error {
    let error = error.without_backtrace();
    if let KernelError::GenericError { source } = error
        && let Some(error) = source.downcast_ref::<Error>()
    {
        return Error::new(error.code(), error.message());
    }
    if matches!(error, KernelError::Cancelled)
        && let Err(ended) = call.check()
    {
        return ended;
    }
    let (code, message) = match error {
        KernelError::FileNotFound(what) => return vanished(shown, what),
        KernelError::Unsupported(_)
        | KernelError::InvalidProtocol(_)
        | KernelError::InvalidColumnMappingMode(_) => {
            (ErrorCode::Unsupported, format!("`{shown}` cannot be read by this version: {error}"))
        }
        KernelError::InternalError(_) => (ErrorCode::Internal, format!("reading `{shown}` failed: {error}")),
        _ => {
            (ErrorCode::SourceInvalid, format!("the log of `{shown}` is damaged or not understood: {error}"))
        }
    };
    Error::new(code, message)
}

/// The error of a file that is not there although the log names it. `what` says so.
pub(crate) fn vanished(shown: &str, what: &str) -> Error {
    let message = format!(
        "a file of the table `{shown}` is gone: {what}; it was removed while it was read, as `VACUUM` does, or the table is damaged"
    );
    Error::new(ErrorCode::SourceUnavailable, message)
}

fn text_of(cause: &(dyn Any + Send)) -> &str {
    let owned = cause.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let asked = |error: KernelError| ask::<()>("s3://b/t", &Call::new(), || Err(error)).unwrap_err();
        let refused = Error::new(ErrorCode::SourceRefused, "no such key");
        let refused = asked(to_kernel(refused));
        assert_eq!((refused.code(), refused.message()), (ErrorCode::SourceRefused, "no such key"));
        let gone = asked(to_kernel(Error::new(ErrorCode::SourceNotFound, "`x` is not there")));
        assert_eq!(gone.code(), ErrorCode::SourceUnavailable);
        assert!(gone.message().contains("`x` is not there"), "{gone}");
        assert_eq!(asked(KernelError::unsupported("the feature `x`")).code(), ErrorCode::Unsupported);
        assert_eq!(asked(KernelError::schema("odd")).code(), ErrorCode::SourceInvalid);
        let panicked = ask::<()>("t", &Call::new(), || panic!("odd")).unwrap_err();
        assert!(panicked.message().contains("odd"), "{panicked}");
    }

    #[test]
    fn the_end_of_a_call_is_told_as_such() {
        let call = Call::new();
        let ended = ask::<()>("t", &call, || {
            call.cancel();
            Err(KernelError::Cancelled)
        });
        assert_eq!(ended.unwrap_err().code(), ErrorCode::Cancelled);
    }
}
