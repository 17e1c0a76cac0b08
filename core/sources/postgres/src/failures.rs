//! What a failure of the client or the server means to whoever asked.

use std::error::Error as StdError;

use pillion::{Error, ErrorCode};
use tokio_postgres::error::DbError;

/// The error of a session that was made. `place` says where, such as `PostgreSQL at db:5432`.
pub(crate) fn of_session(place: &str, error: tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(reported) => {
            Error::new(code_of(reported.code().code()), format!("{place}: {}", text_of(reported)))
        }
        None => cut_off(place, error),
    }
}

/// The error for a code of the server and what it says.
pub(crate) fn of_state(place: &str, state: &str, text: &str) -> Error {
    Error::new(code_of(state), format!("{place}: {text}"))
}

/// The error of making a session.
pub(crate) fn of_connecting(place: &str, error: tokio_postgres::Error) -> Error {
    if error.as_db_error().is_some() {
        return of_session(place, error);
    }
    if let Some(why) = tls_failure(&error) {
        return Error::new(
            ErrorCode::SourceUnavailable,
            format!("{place}: there is no encrypted connection: {why}"),
        );
    }
    // The client has no codes for these two; a test compares the texts.
    let text = error.to_string();
    let what = error.source().map(ToString::to_string).unwrap_or_default();
    if text.starts_with("authentication error")
        || what.contains("password missing")
        || what.contains("user missing")
    {
        let message = format!("{place}: the server wants credentials that were not given: {what}");
        return Error::new(ErrorCode::SourceRefused, message);
    }
    if text.starts_with("error performing TLS handshake") {
        let message = format!("{place}: there is no encrypted connection: {what}");
        return Error::new(ErrorCode::SourceUnavailable, message);
    }
    Error::new(ErrorCode::SourceUnavailable, format!("{place} cannot be reached")).with_source(error)
}

/// The connection ended before its work did.
pub(crate) fn cut_off(place: &str, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::new(ErrorCode::SourceUnavailable, format!("{place}: the connection ended in the middle"))
        .with_source(error)
}

/// Whether the server did not understand a text, as opposed to failing to execute it.
pub(crate) fn is_of_text(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| {
        let state = state.code();
        state != "42501" && ["42", "22", "0A", "26"].contains(&class_of(state))
    })
}

/// What the server says, with its hint.
pub(crate) fn text_of(reported: &DbError) -> String {
    match reported.hint() {
        Some(hint) => format!("{} ({hint})", reported.message()),
        None => reported.message().to_owned(),
    }
}

/// The first two characters, by which the server groups its codes.
fn class_of(state: &str) -> &str {
    state.get(..2).unwrap_or_default()
}

/// Codes are those of the appendix "PostgreSQL Error Codes" of its manual.
fn code_of(state: &str) -> ErrorCode {
    match state {
        "28000" | "28P01" | "42501" => ErrorCode::SourceRefused,
        "3D000" | "3F000" | "42P01" => ErrorCode::SourceNotFound,
        _ => match class_of(state) {
            "42" | "0A" | "54" | "25" => ErrorCode::InvalidArgument,
            "28" => ErrorCode::SourceRefused,
            "22" | "23" | "XX" => ErrorCode::SourceInvalid,
            _ => ErrorCode::SourceUnavailable,
        },
    }
}

/// What TLS complains of, where that is the cause.
fn tls_failure(error: &tokio_postgres::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.to_string());
        }
        // An error of input and output hides what it was made of from `source`.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(tls.to_string());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_codes() {
        for (state, code) in [
            ("28P01", ErrorCode::SourceRefused),
            ("3D000", ErrorCode::SourceNotFound),
            ("42601", ErrorCode::InvalidArgument),
            ("22012", ErrorCode::SourceInvalid),
            ("57P01", ErrorCode::SourceUnavailable),
            ("53300", ErrorCode::SourceUnavailable),
            ("40001", ErrorCode::SourceUnavailable),
        ] {
            assert_eq!(code_of(state), code, "{state}");
        }
    }
}
