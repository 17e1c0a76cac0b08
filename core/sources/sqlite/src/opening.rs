//! How a file is opened, and which files are opened without locks.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use pillion::{Error, ErrorCode, Result};
use rusqlite::{Connection, OpenFlags};

use crate::failures;
use crate::stamps::Stamps;

/// Fails for a file with a write-ahead log, whose rows would be missing.
///
/// # Errors
/// [`ErrorCode::SourceUnavailable`].
pub(crate) fn refuse_log(shown: &str, stamps: &Stamps) -> Result<()> {
    if stamps.log.is_none_or(|log| log.len() == 0) {
        return Ok(());
    }
    let message = format!(
        "`{shown}` has a write-ahead log, whose rows would not be seen: do without `immutable`, \
         or let its application checkpoint and close it"
    );
    Err(Error::new(ErrorCode::SourceUnavailable, message))
}

/// Whether a file is of those that have a write-ahead log, and nobody has it open: opening it as usual would create
/// files beside it, which may be another user's than those of its application.
pub(crate) fn is_closed_log(path: &Path, stamps: &Stamps) -> bool {
    let is_open = stamps.log.is_some_and(|log| log.len() > 0 || stamps.has_index);
    if is_open || stamps.database.len() == 0 {
        return false;
    }
    // Without locks there is no write-ahead log, so SQLite does not open such a file. Whatever else is wrong is found again
    // with locks.
    let asked = connect(path, "&nolock=1").and_then(|connection| {
        connection.busy_timeout(Duration::ZERO)?;
        connection.query_row("PRAGMA schema_version", [], |_| Ok(()))
    });
    asked.is_err_and(|error| failures::is_unopened(&error))
}

/// A connection that only reads. `parameters` are those of a URL of SQLite.
pub(crate) fn connect(path: &Path, parameters: &str) -> rusqlite::Result<Connection> {
    let mut url = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                url.push(char::from(*byte));
            }
            other => drop(write!(url, "%{other:02X}")), // a String takes everything
        }
    }
    url.push_str("?mode=ro");
    url.push_str(parameters);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    Connection::open_with_flags(url, flags)
}
