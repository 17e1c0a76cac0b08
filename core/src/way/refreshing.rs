//! Refreshes as users of a cache see them.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Backend;
use super::definition::TableDefinition;
use crate::source::Source;
use crate::types::error::{Error, ErrorCode, Result};
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
