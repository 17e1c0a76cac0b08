//! What a cache tells whoever counts and times its work.
//!
//! The cache knows no library of metrics. A program that wants figures gives
//! [`CacheOptions::recorder`](crate::CacheOptions::recorder) a [`Recorder`]. Without one, each place that would tell
//! something costs one branch, and no clock is read.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{ErrorCode, Result};

/// Counts and times what a cache does.
///
/// The cache calls it from any of its threads, often from many at once, and waits for it: it must be quick and must not
/// call the cache.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use pillion::{CacheOptions, Event, Recorder};
///
/// #[derive(Debug, Default)]
/// struct Misses(AtomicU64);
///
/// impl Recorder for Misses {
///     fn record(&self, event: &Event<'_>) {
///         if let Event::Lookups { misses, .. } = event {
///             self.0.fetch_add(*misses, Ordering::Relaxed);
///         }
///     }
/// }
///
/// # let dir = tempfile::tempdir().unwrap();
/// let misses = Arc::new(Misses::default());
/// let cache = CacheOptions::new().recorder(misses.clone()).open(dir.path())?;
/// # Ok::<(), pillion::Error>(())
/// ```
pub trait Recorder: fmt::Debug + Send + Sync {
    /// Something happened.
    fn record(&self, event: &Event<'_>);
}

/// What a cache tells a [`Recorder`]. Later versions tell more.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A call was answered.
    Call {
        /// How the call came: [`DOOR_SOCKET`], [`DOOR_HANDLE`], or the name of another door.
        door: &'static str,
        /// What it asked for.
        operation: Operation,
        /// From its arrival until its answer was ready. The answer of a query is ready when its first batches are.
        duration: Duration,
        /// Bytes of the request, if it came as bytes.
        request_bytes: u64,
        /// Bytes of the answer, if it goes as bytes; without those that the client reads from shared memory and files.
        answer_bytes: u64,
        /// Why it failed, if it did.
        error: Option<ErrorCode>,
    },
    /// Rows were looked up by their keys.
    Lookups {
        /// Keys whose rows are there.
        hits: u64,
        /// Keys without a row.
        misses: u64,
    },
    /// Statements were asked for that may have been answered before; only told if answers are kept
    /// ([`CacheOptions::result_cache`](crate::CacheOptions::result_cache)).
    KeptAnswers {
        /// Those whose answers were kept, and still right.
        hits: u64,
        /// Those that were computed.
        misses: u64,
    },
    /// A statement ended: its last batch was read, its commit was made, it failed, or nobody wants more of it. The span of
    /// [`tracing`] in which it began is entered meanwhile.
    Statement {
        /// Its text, without the values of its parameters.
        text: &'a str,
        /// From the call until its end. That includes the time in which its reader did not ask for more.
        duration: Duration,
        /// Rows that it gave, or changed.
        rows: u64,
        /// Why it failed, if it did.
        error: Option<ErrorCode>,
    },
    /// A refresh of a table ended.
    Refresh {
        /// The table.
        table: &'a str,
        /// The source that feeds it.
        source: &'a str,
        /// How long the refresh took.
        duration: Duration,
        /// Rows that came.
        rows: u64,
        /// Bytes that these took in memory.
        bytes: u64,
        /// Why it failed, if it did.
        error: Option<ErrorCode>,
    },
    /// The cache worked on its own files.
    Upkeep {
        /// What it did.
        work: UpkeepWork,
        /// How long that took.
        duration: Duration,
        /// Why it failed, if it did.
        error: Option<ErrorCode>,
    },
    /// A client came or went.
    Connection(ConnectionEvent),
}

/// Calls over the Unix socket.
pub const DOOR_SOCKET: &str = "socket";
/// Calls of this process, by the handles of this crate.
pub const DOOR_HANDLE: &str = "handle";

macro_rules! words {
    ($(#[$doc:meta])+ $name:ident { $($(#[$of:meta])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$of])+ $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name in metrics, which never changes.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

words! {
    /// What a call asks for.
    Operation {
        /// The row of a key.
        Get = "get",
        /// The rows of several keys.
        GetMany = "get_many",
        /// All rows of a table.
        Scan = "scan",
        /// A statement that came as text.
        Sql = "sql",
        /// The plan of a statement.
        Prepare = "prepare",
        /// A statement that was planned before.
        Execute = "execute",
        /// More of an answer that was begun.
        Fetch = "fetch",
        /// What commits changed in a table.
        Changes = "changes",
        /// A commit.
        Write = "write",
        /// Rows that are sent batch by batch.
        Upload = "upload",
        /// A refresh, and how refreshes stand.
        Refresh = "refresh",
        /// Moving rows, and making commits durable.
        Upkeep = "upkeep",
        /// What is known of the cache and its tables.
        Catalog = "catalog",
        /// The connection itself, and what it holds.
        Session = "session",
    }
}

words! {
    /// What a cache does with its own files.
    UpkeepWork {
        /// Moves rows out of the log into segments, and merges segments.
        Fold = "fold",
        /// Removes rows that are too old.
        Expire = "expire",
        /// Makes commits durable.
        Sync = "sync",
    }
}

words! {
    /// What happens to clients.
    ConnectionEvent {
        /// A client was let in.
        Opened = "opened",
        /// The connection of a client that was let in ended.
        Closed = "closed",
        /// A client was refused because of its user and groups.
        Denied = "denied",
        /// A client was refused because there are as many as are allowed.
        Refused = "refused",
    }
}

/// Who is told what a cache does, if anybody.
#[derive(Clone, Default)]
pub(crate) struct Recording {
    recorder: Option<Arc<dyn Recorder>>,
    /// Whether calls of handles are left to a door, which tells of them itself.
    is_of_door: bool,
}

impl Recording {
    pub(crate) fn by(recorder: Arc<dyn Recorder>) -> Self {
        Self { recorder: Some(recorder), is_of_door: false }
    }

    /// The same without the calls of handles.
    pub(crate) fn of_door(&self) -> Self {
        Self { recorder: self.recorder.clone(), is_of_door: true }
    }

    /// The time, if anybody wants to know how long something takes.
    #[inline]
    pub(crate) fn begin(&self) -> Option<Instant> {
        self.recorder.is_some().then(Instant::now)
    }

    /// Whether anybody is told.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.recorder.is_some()
    }

    /// Tells what happened.
    #[inline]
    pub(crate) fn record(&self, event: &Event<'_>) {
        if let Some(recorder) = &self.recorder {
            recorder.record(event);
        }
    }

    /// Does work on the cache's own files, and tells of it.
    pub(crate) fn upkeep<T>(&self, work: UpkeepWork, done: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = self.begin();
        let result = done();
        if let Some(began) = began {
            self.record(&Event::Upkeep { work, duration: began.elapsed(), error: code(&result) });
        }
        result
    }

    /// Runs a statement that changes tables, and tells its end. `rows`: how many it changed.
    pub(crate) fn modified<T>(
        &self,
        text: &str,
        modify: impl FnOnce() -> Result<T>,
        rows: impl Fn(&T) -> u64,
    ) -> Result<T> {
        let began = self.begin();
        let result = modify();
        if let Some(began) = began {
            let (duration, rows) = (began.elapsed(), result.as_ref().map_or(0, rows));
            self.record(&Event::Statement { text, duration, rows, error: code(&result) });
        }
        result
    }

    /// Looks up a row for a handle of this process, and tells of it.
    #[cold]
    pub(crate) fn looked_up_one<T>(&self, look_up: impl FnOnce() -> Result<Option<T>>) -> Result<Option<T>> {
        let found = self.handled(Operation::Get, look_up)?;
        let hits = u64::from(found.is_some());
        self.record(&Event::Lookups { hits, misses: 1 - hits });
        Ok(found)
    }

    /// As [`looked_up_one`](Self::looked_up_one), for several rows.
    pub(crate) fn looked_up_many<T>(
        &self,
        look_up: impl FnOnce() -> Result<Vec<Option<T>>>,
    ) -> Result<Vec<Option<T>>> {
        let found = self.handled(Operation::GetMany, look_up)?;
        self.lookups(&found);
        Ok(found)
    }

    /// Tells which rows were found.
    pub(crate) fn lookups<T>(&self, found: &[Option<T>]) {
        if self.is_on() {
            let hits = found.iter().flatten().count() as u64;
            self.record(&Event::Lookups { hits, misses: found.len() as u64 - hits });
        }
    }

    /// Answers a call of a handle of this process, and tells of it.
    pub(crate) fn handled<T>(&self, operation: Operation, answer: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = if self.is_of_door { None } else { self.begin() };
        let result = answer();
        if let Some(began) = began {
            self.record(&Event::Call {
                door: DOOR_HANDLE,
                operation,
                duration: began.elapsed(),
                request_bytes: 0,
                answer_bytes: 0,
                error: code(&result),
            });
        }
        result
    }
}

/// Nobody is told.
#[cfg(feature = "sidecar")]
pub(crate) static NOBODY: Recording = Recording { recorder: None, is_of_door: false };

/// Why something failed, if it did.
pub(crate) fn code<T>(result: &Result<T>) -> Option<ErrorCode> {
    result.as_ref().err().map(super::error::Error::code)
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.recorder.fmt(f)
    }
}

/// Two are alike if they tell the same recorder.
impl PartialEq for Recording {
    fn eq(&self, other: &Self) -> bool {
        match (&self.recorder, &other.recorder) {
            (None, None) => true,
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }
}
