//! Ways in: what each of them implements, and those that read in this process.

pub(crate) mod attached;
pub(crate) mod change;
pub(crate) mod definition;
pub(crate) mod embedded;
pub(crate) mod executed;
pub(crate) mod local;
mod misses;
pub(crate) mod refreshing;
pub(crate) mod staleness;
pub(crate) mod status;
pub(crate) mod table_info;
#[cfg(feature = "sidecar")]
mod through;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::datatypes::{DataType, SchemaRef};

use self::change::ChangeRequest;
use self::definition::TableDefinition;
use self::executed::Executed;
use self::refreshing::Refreshing;
use self::status::{Status, Way};
use self::table_info::TableInfo;
use crate::answer::batches::Batches;
use crate::answer::row::Row;
#[cfg(feature = "sidecar")]
use crate::storage::Maps;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::key::Key;
use crate::types::options::CacheOptions;
use crate::types::permitted::Permitted;
use crate::types::recorder::Recording;
use crate::types::value::Value;
use crate::types::version::Version;

/// Reads of one version, or of the newest at each call.
pub(crate) trait Reader: Any + Debug + Send + Sync {
    /// The oldest version that the next call may read.
    fn version(&self) -> Result<Version>;

    /// All tables, by name.
    fn tables(&self) -> Result<Vec<TableInfo>>;

    /// A table by name.
    fn table(&self, name: &str) -> Result<TableInfo>;

    /// A table by number.
    fn table_by_id(&self, table: u64) -> Result<TableInfo>;

    /// The row with a key.
    fn get(&self, table: u64, key: &dyn Key) -> Result<Option<Row>>;

    /// The rows with some keys, all of one version, in the order of the keys.
    fn get_many(&self, table: u64, keys: &mut dyn Iterator<Item = &dyn Key>) -> Result<Vec<Option<Row>>>;

    /// All rows, with some columns.
    fn scan(&self, table: u64, columns: Option<&[String]>) -> Result<Batches>;

    /// Plans and runs a query.
    fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches>;

    /// Runs a query if this takes no planning and no waiting, as a lookup does; otherwise `None`.
    #[cfg(feature = "sidecar")]
    fn sql_known(&self, text: &str, parameters: &[Value]) -> Result<Option<Batches>>;
}

/// Writes; each makes one commit.
pub(crate) trait Writer {
    /// Defines a table and loads it; if it is already defined alike, leaves it as it is.
    fn define_table(&self, name: &str, definition: TableDefinition) -> Result<TableInfo>;

    /// Removes a table.
    fn drop_table(&self, name: &str) -> Result<Version>;

    /// Makes changes in one commit; `as_of` is the moment as of which their input is fresh.
    fn write(&self, changes: Vec<ChangeRequest>, as_of: SystemTime) -> Result<Version>;

    /// Runs a statement that changes tables, if it touches only tables that are permitted.
    fn execute(&self, text: &str, parameters: &[Value], permitted: Option<&Permitted>) -> Result<Executed>;
}

/// Changes to a cache that leave its rows as they are.
pub(crate) trait Upkeep {
    /// Moves rows out of the log.
    fn compact(&self) -> Result<()>;

    /// Makes every commit durable.
    fn sync(&self) -> Result<()>;

    /// Makes everything durable and refuses further writes.
    fn close(&self) -> Result<()>;

    /// Takes over the settings that can change while the cache is open.
    fn adjust(&self, options: &CacheOptions) -> Result<()>;
}

/// The error for a statement of somebody who may touch only some tables, where another process would run it.
pub(crate) fn refuse_permitted(permitted: Option<&Permitted>) -> Result<()> {
    match permitted {
        None => Ok(()),
        Some(_) => Err(Error::new(
            ErrorCode::Unsupported,
            "another process runs the statement, and knows no tables that are not permitted: run it in the process that owns the cache",
        )),
    }
}

/// The error for settings of a cache that another process owns.
pub(crate) fn not_the_owner() -> Error {
    let message = "another process owns the cache: change the settings there";
    Error::new(ErrorCode::Unsupported, message)
}

/// What only serving a cache to other processes needs.
#[cfg(feature = "sidecar")]
pub(crate) trait Served {
    /// The mapped files, if this process decides how long they stay; only then may answers name them.
    fn maps(&self) -> Option<Arc<Maps>>;

    /// Device and inode of the directory's head file, by which another process finds out whether it sees the same
    /// directory.
    fn identity(&self) -> Option<(u64, u64)>;

    /// Whether this cache has everything of a version; `None` if the version is of another cache.
    fn includes(&self, version: Version) -> Result<Option<bool>>;
}

/// What serving needs of a way in, in a build that serves nothing.
#[cfg(not(feature = "sidecar"))]
pub(crate) trait Served {}

/// A way in: what the handles of a cache use.
pub(crate) trait Backend: Reader + Writer + Upkeep + Served {
    /// Which way in this is.
    fn way(&self) -> Way;

    /// Messages sent to a sidecar so far.
    fn messages_sent(&self) -> u64;

    /// The newest version, held.
    fn pin(&self) -> Result<Arc<dyn Reader>>;

    /// Plans a query once.
    fn prepare(self: Arc<Self>, text: &str) -> Result<Arc<dyn Statement>>;

    /// What commits changed in a table after a version.
    fn changes(&self, table: u64, since: Version) -> Result<Batches>;

    /// The last position of a source.
    fn source_position(&self, source: &str) -> Result<Option<Vec<u8>>>;

    /// The state of the cache as a whole.
    fn status(&self) -> Result<Status>;

    /// Who is told what this way in does.
    fn recording(&self) -> &Recording;

    /// The refreshes of its tables, if this way in makes them.
    fn refreshing(&self) -> Option<&dyn Refreshing>;
}

/// A query that was planned once.
pub(crate) trait Statement: Debug + Send + Sync {
    /// Number of parameters.
    fn parameters(&self) -> usize;

    /// Columns of its answers and types of its parameters, if they were planned in this process.
    fn planned(&self) -> Option<(SchemaRef, Vec<Option<DataType>>)> {
        None
    }

    /// Runs it at a held version, or at the newest.
    fn execute(&self, at: Option<&dyn Reader>, parameters: &[Value]) -> Result<Batches>;

    /// As [`execute`](Self::execute) if this takes no planning and no waiting; otherwise `None`.
    #[cfg(feature = "sidecar")]
    fn execute_known(&self, at: Option<&dyn Reader>, parameters: &[Value]) -> Result<Option<Batches>>;
}

/// The reads, except queries that have to be planned, of a way in that delegates them to one of its fields.
macro_rules! delegate_reads {
    ($field:ident) => {
        fn version(&self) -> $crate::types::error::Result<$crate::types::version::Version> {
            self.$field.version()
        }

        fn tables(&self) -> $crate::types::error::Result<Vec<$crate::way::table_info::TableInfo>> {
            self.$field.tables()
        }

        fn table(&self, name: &str) -> $crate::types::error::Result<$crate::way::table_info::TableInfo> {
            self.$field.table(name)
        }

        fn table_by_id(
            &self,
            table: u64,
        ) -> $crate::types::error::Result<$crate::way::table_info::TableInfo> {
            self.$field.table_by_id(table)
        }

        #[inline]
        fn get(
            &self,
            table: u64,
            key: &dyn $crate::types::key::Key,
        ) -> $crate::types::error::Result<Option<$crate::answer::row::Row>> {
            self.$field.get(table, key)
        }

        fn get_many(
            &self,
            table: u64,
            keys: &mut dyn Iterator<Item = &dyn $crate::types::key::Key>,
        ) -> $crate::types::error::Result<Vec<Option<$crate::answer::row::Row>>> {
            self.$field.get_many(table, keys)
        }

        fn scan(
            &self,
            table: u64,
            columns: Option<&[String]>,
        ) -> $crate::types::error::Result<$crate::answer::batches::Batches> {
            self.$field.scan(table, columns)
        }

        #[cfg(feature = "sidecar")]
        fn sql_known(
            &self,
            text: &str,
            parameters: &[$crate::types::value::Value],
        ) -> $crate::types::error::Result<Option<$crate::answer::batches::Batches>> {
            self.$field.sql_known(text, parameters)
        }
    };
}

pub(crate) use delegate_reads;
