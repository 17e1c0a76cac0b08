//! Errors as clients get them: a status of gRPC, with Pillion's code and what to do.

use pillion::{Error, ErrorCode, ErrorKind};
use pillion_access::Denied;
use pillion_door::Full;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// The metadata that has Pillion's number of an error.
pub(crate) const CODE: &str = "pillion-code";
/// The metadata that says what to do about it.
const KIND: &str = "pillion-kind";
/// The most bytes of a message as it is sent, in percent encoding: clients bound what headers they take.
const MESSAGE_LEN_MAX: usize = 4000;

/// An error of the cache.
pub(crate) fn of(error: &Error) -> Status {
    let (code, kind) = (error.code(), error.kind());
    // What helps whoever made a mistake is told. Failures of the sidecar name its files, and are for its log only.
    let is_mistake = !matches!(kind, ErrorKind::Report | ErrorKind::Reopen) && code != ErrorCode::DiskFull;
    let message = if is_mistake {
        format!("{error:#}")
    } else {
        tracing::error!(error = format!("{error:#}"), "a call failed");
        format!("the sidecar failed ({code:?}), and its log says why")
    };
    with_code(grpc(code), code, &message)
}

/// An error of rows that the client sent: it is the client who has to mend them, not an operator.
pub(crate) fn of_rows(error: &Error) -> Status {
    match error.code() {
        code @ (ErrorCode::SourceInvalid | ErrorCode::SourceNotFound) => {
            with_code(Code::InvalidArgument, code, &format!("{error:#}"))
        }
        _ => of(error),
    }
}

/// Something in the call is not as it should be.
pub(crate) fn invalid(message: impl AsRef<str>) -> Status {
    with_code(Code::InvalidArgument, ErrorCode::InvalidArgument, message.as_ref())
}

/// Something that Pillion does not have.
pub(crate) fn unsupported(message: impl AsRef<str>) -> Status {
    with_code(Code::Unimplemented, ErrorCode::Unsupported, message.as_ref())
}

/// Something took too long.
pub(crate) fn late(message: impl AsRef<str>) -> Status {
    with_code(Code::DeadlineExceeded, ErrorCode::Timeout, message.as_ref())
}

/// Something that changes tables ended before it was known whether it did.
pub(crate) fn outcome_unknown(grpc: Code, message: impl AsRef<str>) -> Status {
    with_code(grpc, ErrorCode::OutcomeUnknown, message.as_ref())
}

/// There is more of something than is allowed.
pub(crate) fn too_large(message: impl AsRef<str>) -> Status {
    with_code(Code::ResourceExhausted, ErrorCode::TooLarge, message.as_ref())
}

/// A defect of the door.
pub(crate) fn defect(what: &str) -> Status {
    let message =
        format!("{what}; this is a defect of pillion: please report it with the log of the sidecar");
    with_code(Code::Internal, ErrorCode::Internal, &message)
}

/// Whoever asks is refused.
pub(crate) fn denied(denied: &Denied) -> Status {
    let code = match denied {
        Denied::NoToken | Denied::UnknownToken => Code::Unauthenticated,
        Denied::Forbidden { .. } => Code::PermissionDenied,
    };
    let hint = match denied {
        Denied::NoToken | Denied::UnknownToken => {
            "send the header `authorization: Bearer TOKEN`, or the token as the password of any user"
        }
        Denied::Forbidden { .. } => {
            "[tokens.NAME] of the sidecar's configuration says what each token permits"
        }
    };
    with_code(code, ErrorCode::PermissionDenied, &format!("{denied}: {hint}"))
}

/// There is no place.
pub(crate) fn full(full: Full) -> Status {
    let code = match full {
        Full::TooMany { .. } => Code::ResourceExhausted,
        Full::TooLate { .. } => Code::Unavailable,
    };
    with_code(code, ErrorCode::TooMany, &full.to_string())
}

/// A status with a code of the cache.
pub(crate) fn with_code(grpc: Code, code: ErrorCode, message: &str) -> Status {
    let mut status = Status::new(grpc, cut(message));
    let metadata = status.metadata_mut();
    metadata.insert(CODE, MetadataValue::from(code.number()));
    metadata.insert(KIND, MetadataValue::from_static(kind_name(code.kind())));
    status
}

/// The beginning of a message that clients take.
fn cut(message: &str) -> &str {
    let mut len = 0;
    let too_long = message.char_indices().find(|(_, letter)| {
        let is_plain = letter.is_ascii_graphic() && !"\"#%<>`?{}".contains(*letter);
        len += if is_plain { 1 } else { 3 * letter.len_utf8() };
        len > MESSAGE_LEN_MAX
    });
    too_long.map_or(message, |(end, _)| message.get(..end).unwrap_or_default())
}

/// As what the recorder of the cache counts a status without a code of the cache.
pub(crate) fn counted_as(code: Code) -> Option<ErrorCode> {
    Some(match code {
        Code::Ok => return None,
        Code::Cancelled => ErrorCode::Cancelled,
        Code::DeadlineExceeded => ErrorCode::Timeout,
        Code::Unauthenticated | Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::ResourceExhausted => ErrorCode::TooMany,
        Code::OutOfRange => ErrorCode::TooLarge,
        Code::Unimplemented => ErrorCode::Unsupported,
        Code::Internal | Code::Unknown | Code::DataLoss => ErrorCode::Internal,
        _ => ErrorCode::InvalidArgument,
    })
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Retry => "retry",
        ErrorKind::Request => "request",
        ErrorKind::Source => "source",
        ErrorKind::OutcomeUnknown => "outcome_unknown",
        ErrorKind::Reopen => "reopen",
        _ => "report",
    }
}

fn grpc(code: ErrorCode) -> Code {
    match code {
        ErrorCode::TableNotFound => Code::NotFound,
        ErrorCode::TableExists | ErrorCode::DuplicateKey => Code::AlreadyExists,
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::WriteNotAllowed => {
            Code::PermissionDenied
        }
        ErrorCode::Unsupported | ErrorCode::UnsupportedType => Code::Unimplemented,
        ErrorCode::TooLarge | ErrorCode::TooMany | ErrorCode::MemoryLimit | ErrorCode::DiskFull => {
            Code::ResourceExhausted
        }
        ErrorCode::Timeout => Code::DeadlineExceeded,
        ErrorCode::Cancelled => Code::Cancelled,
        // A code of its own, so that clients can ask the source instead without reading more than that.
        ErrorCode::NotCovered => Code::FailedPrecondition,
        ErrorCode::WentBack => Code::Aborted,
        ErrorCode::OutcomeUnknown => Code::Unknown,
        ErrorCode::Stale
        | ErrorCode::Unavailable
        | ErrorCode::SourceUnavailable
        | ErrorCode::DirectoryLocked
        | ErrorCode::Poisoned
        | ErrorCode::Closed => Code::Unavailable,
        other => match other.kind() {
            ErrorKind::Request => Code::InvalidArgument,
            _ => Code::Internal,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do_and_failures_show_no_files() {
        let status = of(&Error::new(ErrorCode::TableNotFound, "there is no table `x`"));
        assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no table `x`"));
        let metadata = |name| status.metadata().get(name).unwrap().to_str().unwrap();
        assert_eq!((metadata(CODE), metadata(KIND)), ("101", "request"));
        let status = of(&Error::new(ErrorCode::Io, "cannot read /secret/file"));
        assert!(status.code() == Code::Internal && !status.message().contains("secret"), "{status}");
        assert_eq!(of(&Error::new(ErrorCode::Execution, "x".repeat(9999))).message().len(), MESSAGE_LEN_MAX);
        // Cut by what is sent, which is longer than what is meant.
        let long = of(&Error::new(ErrorCode::Execution, "漢".repeat(9999)));
        assert_eq!(long.message().chars().count(), MESSAGE_LEN_MAX / 9);
        let sent = long.into_http::<()>().headers().get("grpc-message").unwrap().len();
        assert!(sent <= MESSAGE_LEN_MAX, "{sent} bytes");
        for code in ErrorCode::ALL {
            assert_ne!(grpc(*code), Code::Ok);
        }
    }
}
