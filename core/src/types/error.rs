//! The one error type of the public interface.
//!
//! A caller branches on [`Error::kind`], which says what to do; a log or a remote peer carries
//! [`Error::code`], whose number never changes; a person reads the message.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;

/// Result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing was changed and the same call can succeed later: wait, free the named resource, try again.
    Retry,
    /// The request itself is wrong: change the query, the key, the definition or the rows.
    Request,
    /// The upstream or the input file is missing, down or damaged; what the cache holds goes on serving.
    Source,
    /// The call may or may not have taken effect: read before repeating it.
    OutcomeUnknown,
    /// This handle can no longer do that: open the cache again.
    Reopen,
    /// Damage or a defect: keep the directory and report it.
    Report,
}

macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident = $number:literal => $kind:ident;)+) => {
        /// A stable number for each kind of failure; the number is part of the wire protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum ErrorCode {
            $($(#[$doc])+ $name = $number,)+
        }

        impl ErrorCode {
            /// Every code, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What a caller can do about it.
            pub fn kind(self) -> ErrorKind {
                match self {
                    $(Self::$name => ErrorKind::$kind,)+
                }
            }

            /// The number, as sent to remote peers.
            pub fn number(self) -> u16 {
                self as u16
            }

            /// The code of a number, if this version knows it.
            pub fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// An argument is out of range or contradicts another.
    InvalidArgument = 100 => Request;
    /// No table of that name in this version of the cache.
    TableNotFound = 101 => Request;
    /// No column of that name or position in the table or row.
    ColumnNotFound = 102 => Request;
    /// A table of that name exists with another definition.
    TableExists = 103 => Request;
    /// The call needs a primary key and the table has none.
    NoPrimaryKey = 104 => Request;
    /// The key has the wrong number of parts or a part of the wrong type, or is too long for a row.
    InvalidKey = 105 => Request;
    /// Two rows carry the same primary key.
    DuplicateKey = 106 => Request;
    /// A row carries a null in its primary key.
    NullKey = 107 => Request;
    /// Rows do not have the columns or types of their table.
    SchemaMismatch = 108 => Request;
    /// A column type cannot be stored, or cannot be part of a key.
    UnsupportedType = 109 => Request;
    /// The SQL text cannot be parsed or planned.
    InvalidSql = 110 => Request;
    /// A parameter is missing, superfluous or of the wrong type.
    InvalidParameter = 111 => Request;
    /// The cache was opened read-only.
    ReadOnly = 112 => Request;
    /// A statement or feature that this version or build does not have.
    Unsupported = 113 => Request;
    /// A value was read as a type that it does not have.
    TypeMismatch = 114 => Request;
    /// The query failed on a value: division by zero, overflow, a bad cast.
    Execution = 115 => Request;
    /// The sidecar does not let this user in.
    PermissionDenied = 116 => Request;
    /// The table's write policy does not allow the change.
    WriteNotAllowed = 117 => Request;
    /// The request or its answer exceeds a limit that does not depend on other work: ask for less at a time.
    TooLarge = 118 => Request;
    /// The table holds only some rows of its source, and the read may need others: add the condition that the message names to it, or
    /// ask the source.
    NotCovered = 119 => Request;
    /// An input file or upstream object does not exist.
    SourceNotFound = 200 => Source;
    /// An input file is truncated, corrupt or not of its format.
    SourceInvalid = 201 => Source;
    /// The source cannot be reached, or ended before its answer did.
    SourceUnavailable = 202 => Source;
    /// The source does not accept the credentials, or does not allow them to read this.
    SourceRefused = 203 => Source;
    /// The rows are older than the table allows, because its source has been out of reach or refreshes failed.
    Stale = 204 => Source;
    /// Another process, or another handle of this one, owns the directory.
    DirectoryLocked = 300 => Retry;
    /// The directory was written by a newer version of Pillion.
    NewerFormat = 301 => Request;
    /// The directory holds something else than a cache, or no cache where one is needed.
    NotACache = 302 => Request;
    /// The file system cannot hold a cache directory.
    UnsupportedFileSystem = 303 => Request;
    /// The disk is full; nothing was changed.
    DiskFull = 400 => Retry;
    /// The query needs more memory than it may use.
    MemoryLimit = 401 => Retry;
    /// A crash of the owner lost commits that this reader had seen, or the owner may lose them because its disk failed.
    /// Reported once; the next call reads what there is now.
    WentBack = 402 => Retry;
    /// As many exist as are allowed: of what one connection holds or waits for, or of connections, uploads, tables or
    /// positions of sources. The same call succeeds when some of them are gone.
    TooMany = 403 => Retry;
    /// The deadline of the call passed before its answer came.
    Timeout = 404 => Retry;
    /// The sidecar cannot be reached.
    Unavailable = 405 => Retry;
    /// The query was cancelled before its answer was complete.
    Cancelled = 406 => Retry;
    /// The log does not reach back to the version whose changes are asked for, and never will again: read the table
    /// anew, and ask for the changes since the version of that answer.
    HistoryGone = 407 => Request;
    /// Bytes on disk do not match their checksum.
    Corrupt = 500 => Report;
    /// The operating system refused a read or a write.
    Io = 501 => Report;
    /// An earlier write failed, so this handle no longer writes; reads go on.
    Poisoned = 502 => Reopen;
    /// The cache was closed.
    Closed = 503 => Reopen;
    /// The commit was being written when the disk failed: opening the cache again shows whether it is there.
    OutcomeUnknown = 504 => OutcomeUnknown;
    /// A defect in Pillion or in a library below it.
    Internal = 600 => Report;
}

/// An error: what to do, a stable number, a message for people, and the cause below it.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    code: ErrorCode,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error without a cause below it.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { inner: Box::new(Inner { code, message: message.into(), source: None }) }
    }

    /// The same error with the cause below it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// The same error with `context` in front of its message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.inner.message = format!("{context}: {}", self.inner.message);
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.inner.code.kind()
    }

    /// The stable number of this failure.
    pub fn code(&self) -> ErrorCode {
        self.inner.code
    }

    /// The message without the causes below it.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// An operating-system error on `path`; a full disk gets its own code.
    pub(crate) fn io(action: &str, path: &Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let path = path.display();
        match source.kind() {
            Io::StorageFull | Io::QuotaExceeded => {
                Self::new(ErrorCode::DiskFull, format!("no space left to {action} {path}"))
            }
            Io::FileTooLarge => Self::new(
                ErrorCode::DiskFull,
                format!(
                    "cannot {action} {path}: the limit of this process for files is too low (`ulimit -f`)"
                ),
            ),
            _ => Self::new(ErrorCode::Io, format!("cannot {action} {path}")),
        }
        .with_source(source)
    }

    /// Whether the operating system said that a file is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        let mut source = self.source();
        while let Some(cause) = source {
            if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
                return cause.kind() == std::io::ErrorKind::NotFound;
            }
            source = cause.source();
        }
        false
    }

    /// Damage found in a file of the cache at a byte offset.
    pub(crate) fn corrupt(path: &Path, offset: u64, what: impl fmt::Display) -> Self {
        Self::new(ErrorCode::Corrupt, format!("{}: {what} at byte {offset}", path.display()))
    }

    /// A defect of ours.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }
}

/// `{}` prints the message, `{:#}` the message and the causes below it.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        if f.alternate() {
            let mut cause = self.source();
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({}): {self:#}", self.inner.code, self.inner.code.number())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

const _: () = assert!(size_of::<Error>() == 8, "a Result of a small value must stay small");

/// The nearest of `known` to `unknown`, if it is near enough to be a slip of the finger.
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let len = unknown.chars().count();
    let limit = (len / 3).max(1);
    known
        .into_iter()
        // Skips names of very different length: a comparison takes time by the product of both lengths.
        .filter(|name| name.chars().count().abs_diff(len) <= limit)
        .map(|name| (strsim::damerau_levenshtein(&unknown.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Names of more bytes are not compared with other names.
const COMPARED_LEN_MAX: usize = 256;

/// "; did you mean `x`?", or nothing.
pub(crate) fn suggestion<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    // A comparison takes time by the product of both lengths, and a name that a client sends may be as long as a
    // message.
    if unknown.len() > COMPARED_LEN_MAX {
        return String::new();
    }
    let known = known.into_iter().filter(|name| name.len() <= COMPARED_LEN_MAX);
    nearest(unknown, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
