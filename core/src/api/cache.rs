//! The handle of a cache.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::backend::Backend;
use super::batches::Batches;
use super::definition::TableDefinition;
use super::error::{Error, ErrorCode, Result};
use super::options::CacheOptions;
use super::prepared::Prepared;
use super::snapshot::Snapshot;
use super::table::{Table, TableInfo};
use super::transaction::Transaction;
use super::url::Url;
use super::value::Value;
use super::version::Version;
use crate::attached::Attached;
use crate::embedded::Embedded;

/// How a cache is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Way {
    /// The cache runs in this process, which owns the directory.
    Embedded,
    /// Another process owns the directory, or nobody; this one maps its files read-only and sends no message.
    Attached,
    /// A sidecar answers every call over its socket.
    Remote,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Attached => f.write_str("attached"),
            Self::Remote => f.write_str("remote"),
        }
    }
}

/// A table cache.
///
/// A handle: cloning is cheap and all clones are the same cache, from any thread. The cache is closed with
/// [`close`](Self::close), or when the last handle, [`Table`], [`Snapshot`] and answer is dropped.
///
/// ```
/// use pillion::{Cache, TableDefinition};
/// # use std::sync::Arc;
/// # use arrow::array::{Int64Array, StringArray, RecordBatch};
/// # let dir = tempfile::tempdir().unwrap();
/// # let batch = RecordBatch::try_from_iter([
/// #     ("id", Arc::new(Int64Array::from(vec![1, 2])) as arrow::array::ArrayRef),
/// #     ("name", Arc::new(StringArray::from(vec!["one", "two"]))),
/// # ]).unwrap();
///
/// let cache = Cache::open(dir.path())?;
/// let numbers = cache.define_table("numbers", TableDefinition::new(batch).primary_key(["id"]))?;
/// let row = numbers.get(2)?.expect("loaded above");
/// assert_eq!(row.get::<&str>("name")?, "two");
/// # Ok::<(), pillion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cache {
    pub(crate) backend: Arc<dyn Backend>,
}

impl Cache {
    /// Opens a cache directory with the default [`CacheOptions`] and becomes its owner, or creates it.
    ///
    /// Reads the manifest and the end of the log, and no data, so the time does not grow with the tables. Holds
    /// the directory's lock until the cache is closed or this process dies.
    ///
    /// # Errors
    /// [`DirectoryLocked`](ErrorCode::DirectoryLocked) if it has an owner; [`NotACache`](ErrorCode::NotACache) if
    /// it holds other files; [`NewerFormat`](ErrorCode::NewerFormat);
    /// [`UnsupportedFileSystem`](ErrorCode::UnsupportedFileSystem) for network file systems;
    /// [`Corrupt`](ErrorCode::Corrupt), [`DiskFull`](ErrorCode::DiskFull), [`Io`](ErrorCode::Io).
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        CacheOptions::new().open(dir)
    }

    /// Opens a cache directory for reading, whether or not another process owns it.
    ///
    /// Takes no lock and writes nothing, so a read-only mount will do. Each call reads the newest commit of the
    /// owner: finding that there is none costs one load of shared memory, following one costs its edits. What is
    /// mapped stays readable when the owner replaces it, stops or dies; [`Status::owner`] says when it was last
    /// seen. Writes are refused with [`ReadOnly`](ErrorCode::ReadOnly). If the owner's machine crashed and lost
    /// commits that this handle had seen, one call of this handle fails with
    /// [`WentBack`](ErrorCode::WentBack).
    ///
    /// # Errors
    /// [`NotACache`](ErrorCode::NotACache) if there is none; [`NewerFormat`](ErrorCode::NewerFormat);
    /// [`Corrupt`](ErrorCode::Corrupt); [`Io`](ErrorCode::Io).
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self> {
        CacheOptions::new().open_read_only(dir)
    }

    /// Connects to a sidecar on a Unix socket with the default
    /// [`ConnectOptions`](crate::ConnectOptions); waits for one that is still starting.
    ///
    /// A client that can read the sidecar's directory is [`Attached`](Way::Attached): it maps the files and reads them
    /// without a message, also while the sidecar is stopped, as [`open_read_only`](Self::open_read_only) does; writes
    /// are sent to the sidecar and are there for the next read. Another one is [`Remote`](Way::Remote): each call is a
    /// message. A call has `deadline` as its limit, connecting included; one that only reads is repeated on a new
    /// connection if the sidecar was restarted, a write whose answer was lost is
    /// [`OutcomeUnknown`](ErrorCode::OutcomeUnknown).
    ///
    /// # Errors
    /// [`Unavailable`](ErrorCode::Unavailable) or [`Timeout`](ErrorCode::Timeout) if no sidecar answers in time. At once
    /// [`PermissionDenied`](ErrorCode::PermissionDenied) if this user may not open the socket, or the sidecar does not let
    /// it in; [`InvalidArgument`](ErrorCode::InvalidArgument) if the path is no socket or too long;
    /// [`Unsupported`](ErrorCode::Unsupported) if what answers speaks no protocol that this client does.
    #[cfg(feature = "sidecar")]
    pub fn connect(socket: impl AsRef<Path>, deadline: std::time::Duration) -> Result<Self> {
        super::connect::ConnectOptions::new().deadline(deadline).connect(socket)
    }

    /// Opens the cache that a URL names, so that a program changes its way in by a setting:
    ///
    /// - `file:DIR` or a plain path is [`open`](Self::open), with `?mode=ro` [`open_read_only`](Self::open_read_only);
    /// - `unix:SOCKET` is [`connect`](Self::connect), with `?attach=require` or `?attach=never`, `?dir=DIR` where this
    ///   process sees the directory elsewhere than the sidecar, and `?deadline=SECONDS` for another limit than 60
    ///   seconds; `&` joins several.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for an unknown scheme or option; those of the call it stands
    /// for.
    pub fn from_url(url: &str) -> Result<Self> {
        match Url::parse(url)? {
            Url::Directory { dir, read_only: false } => Self::open(dir),
            Url::Directory { dir, read_only: true } => Self::open_read_only(dir),
            #[cfg(feature = "sidecar")]
            Url::Socket { socket, options } => options.connect(socket),
        }
    }

    /// As [`from_url`](Self::from_url), for a program that only reads: a directory is opened read-only, so that it may
    /// have an owner.
    ///
    /// # Errors
    /// As [`from_url`](Self::from_url).
    pub fn from_url_to_read(url: &str) -> Result<Self> {
        match Url::parse(url)? {
            Url::Directory { dir, .. } => Self::open_read_only(dir),
            #[cfg(feature = "sidecar")]
            Url::Socket { socket, options } => options.connect(socket),
        }
    }

    /// Opens the cache that the environment variable `PILLION_URL` names; see [`from_url`](Self::from_url).
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) if it is not set; those of [`from_url`](Self::from_url).
    pub fn from_env() -> Result<Self> {
        let url = std::env::var("PILLION_URL").map_err(|error| {
            Error::new(
                ErrorCode::InvalidArgument,
                "set PILLION_URL to a cache URL, such as `file:/var/lib/pillion`",
            )
            .with_source(error)
        })?;
        Self::from_url(&url)
    }

    pub(crate) fn open_with(dir: &Path, options: CacheOptions) -> Result<Self> {
        Ok(Self { backend: Arc::new(Embedded::open(dir, options)?) })
    }

    pub(crate) fn open_read_only_with(dir: &Path, options: CacheOptions) -> Result<Self> {
        Ok(Self { backend: Arc::new(Attached::open(dir, options)?) })
    }

    /// How this cache is reached.
    pub fn way(&self) -> Way {
        self.backend.way()
    }

    /// Calls that were sent to a sidecar by this handle and its clones, beside those that made the connection. Of an
    /// embedded cache 0; of an attached one only its writes are sent.
    pub fn messages_sent(&self) -> u64 {
        self.backend.messages_sent()
    }

    /// Defines a table and loads its first rows in one commit. If a table of that name exists with the same
    /// primary key and sort order, it is returned as it is and the input is not touched: so a program can say what
    /// it needs at every start.
    ///
    /// Blocks until the rows are on disk; memory is bounded by [`CacheOptions::load_memory`].
    ///
    /// # Errors
    /// [`TableExists`](ErrorCode::TableExists) with another definition;
    /// [`ColumnNotFound`](ErrorCode::ColumnNotFound) and [`UnsupportedType`](ErrorCode::UnsupportedType) for the
    /// definition; [`NullKey`](ErrorCode::NullKey) and [`DuplicateKey`](ErrorCode::DuplicateKey) for the rows;
    /// [`SourceNotFound`](ErrorCode::SourceNotFound) and [`SourceInvalid`](ErrorCode::SourceInvalid) for the input;
    /// [`DiskFull`](ErrorCode::DiskFull), [`ReadOnly`](ErrorCode::ReadOnly), [`Poisoned`](ErrorCode::Poisoned),
    /// [`Io`](ErrorCode::Io). After an error there is no such table and nothing stays on disk.
    pub fn define_table(&self, name: &str, definition: TableDefinition) -> Result<Table> {
        let info = self.backend.define_table(name, definition)?;
        Ok(Table::new(self.backend.clone(), info))
    }

    /// Removes a table and its rows. Snapshots and rows taken before keep them.
    ///
    /// # Errors
    /// [`TableNotFound`](ErrorCode::TableNotFound), [`ReadOnly`](ErrorCode::ReadOnly),
    /// [`Poisoned`](ErrorCode::Poisoned), [`Io`](ErrorCode::Io).
    pub fn drop_table(&self, name: &str) -> Result<Version> {
        self.backend.drop_table(name)
    }

    /// Begins a list of changes that one commit will make.
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.backend.clone())
    }

    /// Up to where a source told everything, as the last transaction with a
    /// [`source_position`](Transaction::source_position) said; `None` if none did.
    ///
    /// # Errors
    /// None of an embedded cache.
    pub fn source_position(&self, source: &str) -> Result<Option<Vec<u8>>> {
        self.backend.source_position(source)
    }

    /// A table by its exact name.
    ///
    /// # Errors
    /// [`TableNotFound`](ErrorCode::TableNotFound), naming the nearest table there is.
    pub fn table(&self, name: &str) -> Result<Table> {
        Ok(Table::new(self.backend.clone(), self.backend.table(name)?))
    }

    /// What there is to know of every table, by name.
    ///
    /// # Errors
    /// None of an embedded cache.
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        self.backend.tables()
    }

    /// Holds the newest version for several reads.
    ///
    /// # Errors
    /// None of an embedded cache.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(self.backend.pin()?))
    }

    /// Plans a query and begins to run it at the newest version; all its tables are read at that version.
    ///
    /// The text is one statement of DataFusion's SQL that reads: a query, `EXPLAIN`, `SHOW` or `DESCRIBE`. Unquoted
    /// names are lower-cased. `$1`, `$2`, … stand for `parameters`. Planning takes a fraction of a millisecond on
    /// the calling thread; use [`prepare`](Self::prepare) for what runs often.
    ///
    /// # Errors
    /// [`InvalidSql`](ErrorCode::InvalidSql), [`InvalidParameter`](ErrorCode::InvalidParameter),
    /// [`Unsupported`](ErrorCode::Unsupported). Errors of the run come with the batches.
    pub fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        self.backend.sql(text, parameters)
    }

    /// Plans a query once, to be run many times with different parameters at the version that is then newest.
    ///
    /// # Errors
    /// [`InvalidSql`](ErrorCode::InvalidSql), [`Unsupported`](ErrorCode::Unsupported).
    pub fn prepare(&self, text: &str) -> Result<Prepared> {
        Ok(Prepared::new(self.backend.clone().prepare(text)?))
    }

    /// The newest version.
    ///
    /// # Errors
    /// None of an embedded cache.
    pub fn version(&self) -> Result<Version> {
        self.backend.version()
    }

    /// Moves all rows that stand in the log into sorted segments now, which the cache otherwise does in the background when
    /// they are many, and removes rows that are too old for their tables
    /// ([`TableDefinition::retain`](crate::TableDefinition::retain)). Which other rows there are does not change; versions
    /// go on counting. Blocks until it is done, commits go on meanwhile.
    ///
    /// # Errors
    /// [`ReadOnly`](ErrorCode::ReadOnly), [`DiskFull`](ErrorCode::DiskFull), [`Poisoned`](ErrorCode::Poisoned),
    /// [`Io`](ErrorCode::Io), [`Corrupt`](ErrorCode::Corrupt). Nothing is lost.
    pub fn compact(&self) -> Result<()> {
        self.backend.compact()
    }

    /// Makes every commit so far durable; blocks on the disk.
    ///
    /// # Errors
    /// [`ReadOnly`](ErrorCode::ReadOnly); [`Poisoned`](ErrorCode::Poisoned) if the disk refuses, now or before.
    pub fn sync(&self) -> Result<()> {
        self.backend.sync()
    }

    /// Serves this cache to other processes on a Unix socket until the returned server is dropped. Starts threads of its
    /// own and returns at once.
    ///
    /// # Errors
    /// [`DirectoryLocked`](ErrorCode::DirectoryLocked) if another process listens on the socket;
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) if its path is too long or names another kind of file;
    /// [`Io`](ErrorCode::Io).
    #[cfg(feature = "sidecar")]
    pub fn serve(&self, options: crate::protocol::ServerOptions) -> Result<crate::protocol::Server> {
        crate::protocol::Server::start(self.backend.clone(), options)
    }

    /// How the cache stands.
    ///
    /// # Errors
    /// None of an embedded cache.
    pub fn status(&self) -> Result<Status> {
        self.backend.status()
    }

    /// Makes everything durable and marks the directory as cleanly closed, so that versions go on counting at the
    /// next opening. Other handles can read on; writes are refused, also those whose rows are still coming, when these have
    /// come: until then nobody else can own the directory. Dropping the last handle does the same, but can only log an error.
    ///
    /// # Errors
    /// [`Poisoned`](ErrorCode::Poisoned), [`DiskFull`](ErrorCode::DiskFull), [`Io`](ErrorCode::Io).
    pub fn close(&self) -> Result<()> {
        self.backend.close()
    }
}

/// How a cache stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// How it is reached.
    pub way: Way,
    /// Its directory.
    pub dir: std::path::PathBuf,
    /// Its newest version.
    pub version: Version,
    /// Its tables, by name.
    pub tables: Vec<TableInfo>,
    /// What was found damaged when it was opened, and left out.
    pub damage: Option<String>,
    /// What went wrong with the disk, if a write failed since: the cache takes no more of them, and its owner must open it
    /// again. Attached handles are not told; the sidecar is asked for it with a remote one.
    pub poisoned: Option<String>,
    /// The owner, if that is another process that was ever seen.
    pub owner: Option<OwnerSeen>,
}

/// A sign of life of the owner of a directory.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OwnerSeen {
    /// When it was last seen alive; an owner that lives renews it every second.
    pub at: std::time::SystemTime,
    /// Whether it closed the cache.
    pub closed: bool,
}
