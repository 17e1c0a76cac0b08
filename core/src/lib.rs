//! An accelerated table cache: a working set of tables kept next to the application and answered from
//! memory-mapped columnar files, lookups by key in well under a microsecond and SQL through DataFusion.
//!
//! It is not a system of record and not a distributed database: it holds what a source can give again.
//!
//! ```no_run
//! use pillion::{Cache, TableDefinition};
//!
//! let cache = Cache::open("cache")?;
//! let flights = cache.define_table(
//!     "flights",
//!     TableDefinition::parquet("flights.parquet").primary_key(["time_hour", "carrier", "flight"]),
//! )?;
//!
//! // A lookup: a function call, no query engine, no copy.
//! if let Some(row) = flights.get(("2013-01-01T10:00:00", "UA", 1545))? {
//!     println!("delayed by {:?} minutes", row.get::<Option<i64>>("arr_delay")?);
//! }
//!
//! // One row is gone, in one commit; `append`, `upsert` and `replace` take rows from anywhere.
//! flights.delete(("2013-01-01T10:00:00", "UA", 1545))?;
//!
//! // SQL, streamed.
//! for batch in cache.sql("SELECT carrier, avg(arr_delay) FROM flights GROUP BY carrier", &[])? {
//!     println!("{} rows", batch?.num_rows());
//! }
//! # Ok::<(), pillion::Error>(())
//! ```
//!
//! - [`Cache`] is the handle; [`TableDefinition`] says what a table is to be and [`Input`] where rows come from.
//! - [`Table`] reads and writes at the newest version, [`Snapshot`] holds one; [`Row`] and [`Batches`] are answers.
//! - [`source::Source`] is a place that rows come from; [`TableDefinition::from_source`] keeps a table fresh from one.
//! - [`Transaction`] makes several changes one commit, with the position up to which a source was read; [`Durability`] says
//!   which crash a commit survives.
//! - [`Cache::prepare`] plans a query once; [`Cache::into_async`] gives the same handles to async code.
//! - [`Error::kind`] says what to do about a failure.
//!
//! # Features
//! `sql` (SQL through DataFusion), `parquet`, `csv` and `ndjson` (loading such files), `gzip` and `zstd` (compressed CSV and
//! NDJSON), `arrow-compression` (compressed Arrow IPC) and `sidecar` (serving a cache to other processes, and being served) are on
//! by default; `datafusion` (the tables in contexts of DataFusion) is not. Without them the crate stores and finds rows and needs none of their dependencies.

mod answer;
mod api;
mod blocking;
mod coverage;
mod input;
mod open;
#[cfg(feature = "sql")]
mod query;
mod refresh;
#[cfg(feature = "sidecar")]
mod remote;
#[cfg(feature = "sidecar")]
mod serve;
pub mod source;
mod storage;
#[cfg(test)]
mod test_random;
#[cfg(test)]
mod test_report;
/// Texts as values: for sources whose files hold texts. Each text becomes exactly the same value of its column, or is refused with
/// file, line and column.
///
/// ```
/// use std::path::Path;
///
/// use pillion::texts::{CsvFormat, CsvReader, InferredType, TextColumns, TextRows};
///
/// let format = CsvFormat::new().delimiter(Some(b';')).nulls(["NA"]);
/// let mut reader = CsvReader::new("prices.csv", "id;price\n007;1.50\n8;NA\n".as_bytes(), &format)?;
/// let (mut rows, mut types) = (TextRows::default(), vec![InferredType::default(); 2]);
/// reader.read(&mut rows, 8192, 4 << 20)?;
/// InferredType::look_at(&mut types, reader.names(), Path::new("prices.csv"), &rows)?;
///
/// use arrow::datatypes::{DataType, Field, Schema};
/// assert_eq!((types[0].data_type(), types[1].data_type()), (DataType::Utf8, DataType::Float64));
/// let price = Schema::new(vec![Field::new("price", DataType::Decimal128(10, 2), true)]);
/// let batch = TextColumns::of(price.into(), vec![1])?.convert(Path::new("prices.csv"), &rows)?;
/// assert_eq!((batch.num_rows(), batch.column(0).null_count()), (2, 1));
/// # Ok::<(), pillion::Error>(())
/// ```
pub mod texts {
    #[cfg(feature = "csv")]
    pub use crate::answer::csv::CsvEncoder;
    #[cfg(feature = "csv")]
    pub use crate::input::csv::CsvReader;
    pub use crate::input::csv::{CsvFormat, InferredType, TextColumns, TextRows};
    pub use crate::types::decoded_len::decoded_len;
}
/// Files of a table, wherever their bytes are: for sources whose relations are files. [`Input::files`](crate::Input::files) reads
/// files on disk in the same way.
///
/// A source finds out how each file is read ([`FileReading`](files::FileReading)) and which columns it has
/// ([`FileColumns`](files::FileColumns)). A plan ([`FilePlan`](files::FilePlan)) has the columns of all files together, and an
/// adapter ([`FileAdapter`](files::FileAdapter)) makes batches of one file batches of the plan.
///
/// ```
/// use std::sync::Arc;
///
/// use pillion::FileOptions;
/// use pillion::files::{FileAdapter, FilePlan, FileReading, PlannedFile};
///
/// let options = FileOptions::new().option("null", "NA")?;
/// let days = [("day=2013-01-01/a.csv", "id\n1\n"), ("day=2013-01-02/b.csv", "id;delay\n2;NA\n3;4.5\n")];
/// let mut files = Vec::new();
/// for (path, text) in days {
///     let reading = FileReading::of(path, &options)?;
///     let columns = Arc::new(reading.look_at_texts(path, text.as_bytes(), &options, &|_| false)?);
///     files.push(PlannedFile { path: path.to_owned(), name: path.to_owned(), columns });
/// }
/// let plan = Arc::new(FilePlan::new(files, options.clone())?);
/// let columns: Vec<&str> = plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
/// assert_eq!(columns, ["id", "delay", "day"]);
/// for (number, (path, text)) in days.into_iter().enumerate() {
///     let adapter = FileAdapter::new(&plan, plan.schema(), number)?;
///     for batch in FileReading::of(path, &options)?.open_texts(path, text.as_bytes(), adapter.wanted())? {
///         assert_eq!(adapter.adapt(&batch?)?.num_columns(), 3);
///     }
/// }
/// # Ok::<(), pillion::Error>(())
/// ```
pub mod files {
    pub use crate::input::{
        ArrowReader, FileAdapter, FileBatches, FileColumns, FilePlan, FileReading, PlannedFile,
        check_arrow_message, missing_codec,
    };
}
/// The tables in a `SessionContext` of the program itself, with the feature `datafusion`.
///
/// [`Cache::datafusion_catalog`] and [`Snapshot::datafusion_catalog`] make the catalog. The types are those of DataFusion 55: this module,
/// unlike the rest of the crate, changes with DataFusion's version.
#[cfg(feature = "datafusion")]
pub mod datafusion {
    pub use crate::query::{CacheCatalog, with_rules};
}
mod types;
mod url;
mod way;
#[cfg(feature = "sidecar")]
mod wire;

pub use answer::batches::{BatchStream, Batches, Canceller};
pub use answer::certificate::{Certificate, TableCertificate};
pub use answer::row::{FromCell, Row};
pub use api::cache::Cache;
#[cfg(feature = "sidecar")]
pub use api::connect::{Attach, ConnectOptions};
pub use api::nonblocking::{
    AsyncCache, AsyncPrepared, AsyncSnapshot, AsyncSubscription, AsyncTable, AsyncTableSnapshot,
    AsyncTransaction,
};
pub use api::prepared::Prepared;
pub use api::snapshot::Snapshot;
pub use api::subscription::Subscription;
pub use api::table::{Table, TableSnapshot};
pub use api::transaction::Transaction;
pub use input::{FileFormat, FileOptions, Input, InputFile};
#[cfg(feature = "sidecar")]
pub use serve::{Server, ServerMonitor, ServerOptions, ServerStats};
pub use types::column::ColumnIndex;
pub use types::error::{Error, ErrorCode, ErrorKind, Result};
// The command suggests names as the cache does. Not for others: it may change in any version.
pub use types::bounds::ReadBounds;
#[doc(hidden)]
pub use types::error::nearest;
pub use types::key::{Key, KeyParts};
pub use types::options::{CacheOptions, Durability};
pub use types::permitted::Permitted;
pub use types::recorder::{
    ConnectionEvent, DOOR_HANDLE, DOOR_SOCKET, Event, Operation, Recorder, UpkeepWork,
};
pub use types::rules::{OnMiss, Retention, TableRules, WorkingSet, WritePolicy};
pub use types::statement::modifies;
pub use types::value::{AnyValue, Value, ValueRef};
pub use types::version::{Freshness, Tier, Version};
pub use way::definition::TableDefinition;
pub use way::executed::Executed;
pub use way::refreshing::{
    AuditReport, AuditStatus, Divergence, DivergentRow, FollowPhase, FollowStatus, KeptName, RefreshState,
    RefreshStatus,
};
pub use way::status::{OwnerSeen, Status, Way};
pub use way::table_info::TableInfo;

/// Entry points for fuzzing.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    #[cfg(feature = "sidecar")]
    pub use crate::serve::fuzzing::*;
    pub use crate::storage::fuzzing::*;
}

#[cfg(target_endian = "big")]
compile_error!("the files of a cache are little-endian and read in place");
