//! Refreshes as users of a cache see them.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Backend;
use super::definition::TableDefinition;
use crate::source::Source;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::value::Value;
use crate::types::version::Version;

/// A way in that refreshes tables from sources.
pub(crate) trait Refreshing: Debug + Send + Sync {
    /// Makes a source known by a name. With `replaces` it may take the place of one of that name.
    fn add_source(&self, name: &str, source: Arc<dyn Source>, replaces: bool) -> Result<()>;

    /// Keeps a table as its definition says, from now on. Returns at once.
    fn follow(&self, name: &str, definition: TableDefinition) -> Result<()>;

    /// Ends that a table is fed by its source; its rows stay. Returns whether it was fed.
    fn unfollow(&self, table: &str) -> Result<bool>;

    /// Refreshes a table now, and waits until that is done.
    fn refresh(&self, table: &str) -> Result<Version>;

    /// Gives up the refresh of a table that is under way. Returns whether there was one.
    fn cancel(&self, table: &str) -> Result<bool>;

    /// Stops refreshes of a table, or lets them go on.
    fn pause(&self, table: &str, is_paused: bool) -> Result<()>;

    /// Waits until a table has everything of its source up to a position.
    fn wait_for(&self, table: &str, position: &[u8], limit: Duration) -> Result<Version>;

    /// Compares a table with its source, and mends rows that differ.
    fn audit(&self, table: &str) -> Result<AuditReport>;

    /// How the refreshes of all tables stand, by name.
    fn refreshes(&self) -> Result<Vec<RefreshStatus>>;
}

/// The refreshes of a way in.
///
/// # Errors
/// [`ErrorCode::Unsupported`] if it makes none.
pub(crate) fn refreshing(backend: &dyn Backend) -> Result<&dyn Refreshing> {
    backend.refreshing().ok_or_else(|| {
        Error::new(
            ErrorCode::Unsupported,
            "only the process that owns the cache refreshes its tables: ask it there, or connect to its socket",
        )
    })
}

/// How the refreshes of a table stand.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefreshStatus {
    /// The table. It does not exist before its first load has succeeded.
    pub table: String,
    /// The source that feeds it.
    pub source: String,
    /// What happens now.
    pub state: RefreshState,
    /// Refreshes that succeeded since the cache was opened.
    pub succeeded: u64,
    /// Refreshes that failed since the last one that succeeded, without those that were cancelled.
    pub failures: u32,
    /// Why the last one failed; `None` if it succeeded. Its message has no credential.
    pub last_error: Option<Arc<Error>>,
    /// When the last refresh that succeeded asked the source.
    pub last_success: Option<SystemTime>,
    /// How a table stands that [follows](crate::source::TableSource::changes) its source; `None` for tables that are refreshed. The fields
    /// above are about its copies then, and `failures` and `last_error` also about reaching the source.
    pub following: Option<FollowStatus>,
}

/// How a table stands that follows its source. All tables that follow a source share everything but the phase.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FollowStatus {
    /// What happens now.
    pub phase: FollowPhase,
    /// The name under which the source keeps changes for this cache, such as a replication slot.
    pub name: Option<String>,
    /// Up to where everything is applied, as the source writes it.
    pub position: Option<String>,
    /// When the source made the last transaction that is applied, since the cache was opened.
    pub last_commit: Option<SystemTime>,
    /// How much the source had beyond the position when it was last asked, about every 30 s, in its own units: bytes of log.
    pub lag: Option<u64>,
    /// How old the newest moment is up to which everything is applied, if the source had more when it was last asked; zero if it had not.
    pub lag_time: Option<Duration>,
    /// What the source kept under names of Pillion when it was last asked, its own first: those of this cache, and those of others of the
    /// same database, which may be left over from a cache that is gone.
    pub names: Vec<KeptName>,
    /// What audits have found in the table; `None` if there was none yet.
    pub audit: Option<AuditStatus>,
}

/// What a source keeps for a cache until that has it on disk, such as the log of a replication slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptName {
    /// The name at the source.
    pub name: String,
    /// How much it keeps, in bytes; `None` if it does not say so.
    pub bytes: Option<u64>,
    /// Who follows under it now, by the name that the source knows; `None` for nobody.
    pub user: Option<String>,
    /// Whether it is of this cache: the one that it follows by, or one that the source is to forget.
    pub is_own: bool,
}

/// What is known of the [audits](crate::Table::audit) of a table, also those of earlier processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditStatus {
    /// When the last one ended that came to its end.
    pub ended: SystemTime,
    /// The rows of the source that it compared.
    pub rows: u64,
    /// Rows that differed, in all audits of the table.
    pub divergent_rows: u64,
}

/// What an [audit](crate::Table::audit) found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AuditReport {
    /// The table.
    pub table: String,
    /// The rows of the source that were compared: all of them.
    pub rows: u64,
    /// How many rows differed, were missing, or were held and not at the source.
    pub divergent_rows: u64,
    /// How many of these are as the source has them now. The others change so often that they could not be mended; the stream may bring them whole.
    pub mended_rows: u64,
    /// The first 1,000 of the rows that differed, by their keys.
    pub divergent: Vec<DivergentRow>,
    /// When all rows were last known to be those of the source, by an earlier audit or by the copy of the table: what differs began to after
    /// that.
    pub sound_since: Option<SystemTime>,
    /// How long it took.
    pub elapsed: Duration,
}

/// A row that differed from that of the source.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DivergentRow {
    /// The values of its primary key.
    pub key: Vec<Value>,
    /// How it differed.
    pub what: Divergence,
}

/// How a row differs from that of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Divergence {
    /// Other values were held.
    Changed,
    /// It was not held.
    Missing,
    /// It was held, and the source had none with its key.
    Extra,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Extra => "extra",
        })
    }
}

/// What a table that follows its source does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowPhase {
    /// All its rows are fetched; the old ones are read.
    Copying,
    /// Changes are applied as they come.
    Following,
    /// It waits for the source, for a copy of other tables, or to be tried again. Its rows are read.
    Waiting,
    /// Its rows are old and stay so, for this reason; [`refresh`](crate::Cache::refresh) copies it anew.
    Stale(String),
}

/// What a table from a source waits for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RefreshState {
    /// The next refresh begins in about this time; `None`: when it is called for.
    Waiting(Option<Duration>),
    /// A refresh is due, and waits for others to end or for its source to be reachable again.
    Due,
    /// A refresh is under way.
    Running {
        /// Rows that have come.
        rows: u64,
        /// Bytes that these take in memory.
        bytes: u64,
        /// About how many rows will come in all, if the source says so.
        expected_rows: Option<u64>,
        /// How long it has been under way.
        elapsed: Duration,
    },
    /// Refreshes are paused by hand.
    Paused,
}
