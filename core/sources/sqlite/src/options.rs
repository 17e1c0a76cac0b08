//! How a file is reached.

use std::path::PathBuf;
use std::time::Duration;

use pillion::Result;

use crate::Sqlite;

/// How long a writer that holds a lock is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How a SQLite file is reached.
///
/// ```
/// use std::time::Duration;
///
/// use pillion_sqlite::SqliteOptions;
///
/// let source = SqliteOptions::new("/var/lib/shop/shop.db").busy_timeout(Duration::from_secs(3)).build();
/// # let _ = source;
/// ```
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    pub(crate) path: PathBuf,
    pub(crate) busy_timeout: Duration,
    pub(crate) is_immutable: bool,
}

impl SqliteOptions {
    /// Which file this is.
    pub(crate) fn place(&self) -> String {
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        format!("sqlite://{}", path.display())
    }

    /// A file. A relative path begins at the working directory of the process.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), busy_timeout: BUSY_TIMEOUT, is_immutable: false }
    }

    /// Options of a URL: `sqlite:///path/to/file.db?NAME=VALUE&…`. In the path, write `%3F` for `?` and `%25` for `%`.
    ///
    /// Names: `busy_timeout` (seconds), `immutable` (`0` or `1`).
    ///
    /// # Errors
    /// [`InvalidArgument`](pillion::ErrorCode::InvalidArgument), which says what is wrong with the URL.
    pub fn from_url(url: &str) -> Result<Self> {
        crate::url::parse(url)
    }

    /// Says how long a call waits for a writer that lets nobody read. The default is 10 seconds. A short time reports such a
    /// writer soon; a long one survives long transactions without write-ahead log.
    #[must_use]
    pub fn busy_timeout(mut self, limit: Duration) -> Self {
        self.busy_timeout = limit;
        self
    }

    /// Promises that nobody writes to the file: it is on media that cannot be written, or was put there as a whole. Then no lock is
    /// taken, and no other file is opened. A fetch during which the file changed fails. Rows that are only in a
    /// write-ahead log are not seen, so a file that has one is refused.
    #[must_use]
    pub fn immutable(mut self) -> Self {
        self.is_immutable = true;
        self
    }

    /// The source. Nothing is opened yet.
    #[must_use]
    pub fn build(self) -> Sqlite {
        Sqlite::with_options(self)
    }
}
