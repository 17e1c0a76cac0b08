//! What a failure of SQLite means to whoever asked.

use pillion::{Error, ErrorCode};
use rusqlite::ffi;

/// The error of a file. `shown` is its path.
pub(crate) fn of_file(shown: &str, error: rusqlite::Error) -> Error {
    let Some(raw) = raw_of(&error) else {
        return Error::new(ErrorCode::Internal, format!("`{shown}`: {error}")).with_source(error);
    };
    let (code, why) = meaning(raw);
    match why {
        Some(why) => Error::new(code, format!("`{shown}` {why}")).with_source(error),
        None => Error::new(code, format!("`{shown}`: {error}")),
    }
}

/// The error of a text that SQLite does not understand. `what` names the text.
pub(crate) fn of_text(shown: &str, what: &str, error: rusqlite::Error) -> Error {
    let refused = |why: &str| {
        Error::new(ErrorCode::InvalidArgument, format!("`{shown}`: {what} cannot be used: {why}"))
    };
    match &error {
        rusqlite::Error::MultipleStatement => return refused("it is more than one statement"),
        rusqlite::Error::NulError(_) => return refused("it contains a zero byte"),
        _ => {}
    }
    let raw = raw_of(&error);
    let text = text_of(&error);
    match raw.map(|raw| primary(raw.extended_code)) {
        Some(ffi::SQLITE_AUTH) => refused(&format!("a source only reads, and nothing but its file ({text})")),
        Some(ffi::SQLITE_ERROR) if text.starts_with("no such table") => {
            Error::new(ErrorCode::SourceNotFound, format!("`{shown}`: {what}: {text}"))
        }
        Some(ffi::SQLITE_ERROR | ffi::SQLITE_RANGE | ffi::SQLITE_TOOBIG) => refused(&text),
        _ => of_file(shown, error).context(what),
    }
}

/// The error of a row that SQLite computes.
pub(crate) fn of_row(shown: &str, error: rusqlite::Error) -> Error {
    match raw_of(&error).map(|raw| primary(raw.extended_code)) {
        Some(ffi::SQLITE_ERROR | ffi::SQLITE_TOOBIG | ffi::SQLITE_MISMATCH) => Error::new(
            ErrorCode::SourceInvalid,
            format!("`{shown}`: a row cannot be read: {}", text_of(&error)),
        ),
        _ => of_file(shown, error),
    }
}

/// Whether another connection holds a lock, so that waiting may help.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    let code = raw_of(error).map(|raw| primary(raw.extended_code));
    matches!(code, Some(ffi::SQLITE_BUSY | ffi::SQLITE_PROTOCOL))
}

/// Whether the file could not be opened.
pub(crate) fn is_unopened(error: &rusqlite::Error) -> bool {
    raw_of(error).is_some_and(|raw| primary(raw.extended_code) == ffi::SQLITE_CANTOPEN)
}

/// Whether SQLite has no right to write where it would have to.
pub(crate) fn is_read_only(error: &rusqlite::Error) -> bool {
    raw_of(error).is_some_and(|raw| primary(raw.extended_code) == ffi::SQLITE_READONLY)
}

/// Whether what was read makes no sense, which it may do if the file changed meanwhile.
pub(crate) fn is_of_contents(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::SourceInvalid | ErrorCode::SourceUnavailable)
}

/// The codes of SQLite, if it is the one who failed.
fn raw_of(error: &rusqlite::Error) -> Option<ffi::Error> {
    match error {
        rusqlite::Error::SqliteFailure(raw, _) | rusqlite::Error::SqlInputError { error: raw, .. } => {
            Some(*raw)
        }
        _ => None,
    }
}

fn primary(extended: i32) -> i32 {
    extended & 0xff
}

/// What SQLite says, without the code.
fn text_of(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

/// Codes are those of the page "Result and Error Codes" of SQLite's manual.
fn meaning(raw: ffi::Error) -> (ErrorCode, Option<&'static str>) {
    match raw.extended_code {
        ffi::SQLITE_READONLY_ROLLBACK => {
            return (
                ErrorCode::SourceUnavailable,
                Some(
                    "was left in the middle of a transaction, and only an application that may write can roll it back: \
                     open it with one",
                ),
            );
        }
        ffi::SQLITE_READONLY_RECOVERY | ffi::SQLITE_READONLY_CANTINIT => {
            return (
                ErrorCode::SourceUnavailable,
                Some(
                    "has a write-ahead log that must be recovered, which this process may not do: \
                     let it write to the files `-wal` and `-shm`, or open the file with its application",
                ),
            );
        }
        ffi::SQLITE_IOERR_SHORT_READ => return (ErrorCode::SourceInvalid, Some("is truncated")),
        _ => {}
    }
    match primary(raw.extended_code) {
        ffi::SQLITE_NOTADB => {
            (ErrorCode::SourceInvalid, Some("is not a SQLite database, or it is encrypted"))
        }
        ffi::SQLITE_CORRUPT => {
            (ErrorCode::SourceInvalid, Some("is damaged or truncated; `PRAGMA integrity_check` says where"))
        }
        ffi::SQLITE_BUSY => (ErrorCode::SourceUnavailable, Some("is locked by a writer")),
        ffi::SQLITE_CANTOPEN => (
            ErrorCode::SourceUnavailable,
            Some(
                "cannot be opened: this process may not read it, or it has a write-ahead log without the file `-shm`, \
                 which this process may not create",
            ),
        ),
        ffi::SQLITE_PERM | ffi::SQLITE_AUTH => {
            (ErrorCode::SourceRefused, Some("may not be read by this process"))
        }
        ffi::SQLITE_FULL => (
            ErrorCode::SourceUnavailable,
            Some("cannot be read: the disk is full where SQLite puts temporary files"),
        ),
        ffi::SQLITE_INTERRUPT => (ErrorCode::Cancelled, Some("was being read when the call ended")),
        ffi::SQLITE_ERROR => (ErrorCode::InvalidArgument, None),
        ffi::SQLITE_MISUSE | ffi::SQLITE_INTERNAL => (ErrorCode::Internal, None),
        _ => (ErrorCode::SourceUnavailable, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("text of SQLite".to_owned()))
    }

    #[test]
    fn codes_say_what_to_do() {
        for (code, expected, words) in [
            (ffi::SQLITE_NOTADB, ErrorCode::SourceInvalid, "encrypted"),
            (ffi::SQLITE_CORRUPT | (1 << 8), ErrorCode::SourceInvalid, "integrity_check"),
            (ffi::SQLITE_IOERR_SHORT_READ, ErrorCode::SourceInvalid, "truncated"),
            (ffi::SQLITE_IOERR, ErrorCode::SourceUnavailable, "text of SQLite"),
            (ffi::SQLITE_READONLY_ROLLBACK, ErrorCode::SourceUnavailable, "roll it back"),
            (ffi::SQLITE_BUSY, ErrorCode::SourceUnavailable, "locked"),
            (ffi::SQLITE_CANTOPEN, ErrorCode::SourceUnavailable, "-shm"),
        ] {
            let error = of_file("/x.db", failure(code));
            assert_eq!(error.code(), expected, "{code}");
            assert!(error.message().contains("/x.db") && error.message().contains(words), "{error}");
        }
        assert!(is_busy(&failure(ffi::SQLITE_BUSY_SNAPSHOT)) && !is_busy(&failure(ffi::SQLITE_LOCKED)));
        assert_eq!(
            of_text("x", "the statement", failure(ffi::SQLITE_AUTH)).code(),
            ErrorCode::InvalidArgument
        );
        assert_eq!(of_row("x", failure(ffi::SQLITE_ERROR)).code(), ErrorCode::SourceInvalid);
    }
}
