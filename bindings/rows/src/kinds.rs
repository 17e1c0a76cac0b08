//! The names of what a caller can do about an error.

use pillion::ErrorKind;

/// The name of a kind of errors, which is the same in every language and never changes.
pub fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Retry => "retry",
        ErrorKind::Request => "request",
        ErrorKind::Source => "source",
        ErrorKind::OutcomeUnknown => "outcome_unknown",
        ErrorKind::Reopen => "reopen",
        _ => "report",
    }
}
