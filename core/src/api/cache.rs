//! The handle of a cache.

use crate::way::status::{Status, Way};
use std::sync::Arc;

use super::prepared::Prepared;
use super::snapshot::Snapshot;
use super::table::Table;
use super::transaction::Transaction;
use crate::answer::batches::Batches;
use crate::source::Source;
use crate::types::bounds::ReadBounds;
use crate::types::error::Result;
use crate::types::options::CacheOptions;
use crate::types::permitted::Permitted;
use crate::types::recorder::{Event, Operation, Recording};
use crate::types::value::Value;
use crate::types::version::Version;
use crate::way::Backend;
use crate::way::definition::TableDefinition;
use crate::way::executed::Executed;
use crate::way::refreshing::{RefreshStatus, Refreshing, refreshing};
use crate::way::table_info::TableInfo;

/// A table cache.
///
/// A handle: cloning is cheap, and all clones are the same cache, from any thread. [`close`](Self::close) closes the
/// cache, and so does dropping the last handle, [`Table`], [`Snapshot`] and answer.
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
    recording: Recording,
}

impl Cache {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        let recording = backend.recording().clone();
        Self { backend, recording }
    }

    /// The same cache for a door: a server that hands calls of its clients on to the cache. Its calls are not told to the
    /// [recorder](crate::CacheOptions::recorder) as those of a handle, so that none counts twice: the door tells of them with
    /// [`record`](Self::record). Everything else is told as always.
    #[must_use]
    pub fn for_door(&self) -> Self {
        Self { backend: self.backend.clone(), recording: self.recording.of_door() }
    }

    /// Tells the [recorder](crate::CacheOptions::recorder) of the cache something, if it has one: what a door tells of its calls.
    /// Waits for the recorder.
    pub fn record(&self, event: &Event<'_>) {
        self.recording.record(event);
    }

    /// How this cache is reached.
    pub fn way(&self) -> Way {
        self.backend.way()
    }

    /// Calls that this handle and its clones sent to a sidecar, not counting those that made the connection. An
    /// embedded cache sends none; an attached one sends no lookups and no scans.
    pub fn messages_sent(&self) -> u64 {
        self.backend.messages_sent()
    }

    /// Defines a table and loads its first rows in one commit. If a table of that name exists with the same
    /// [rules](crate::TableRules), it is returned unchanged and the input is not read: a program can declare its
    /// tables at every start.
    ///
    /// Blocks until the rows are on disk; memory is bounded by [`CacheOptions::load_memory`](crate::CacheOptions::load_memory).
    ///
    /// # Errors
    /// [`TableExists`](crate::ErrorCode::TableExists) with another definition;
    /// [`ColumnNotFound`](crate::ErrorCode::ColumnNotFound) and [`UnsupportedType`](crate::ErrorCode::UnsupportedType) for the
    /// definition; [`NullKey`](crate::ErrorCode::NullKey) and [`DuplicateKey`](crate::ErrorCode::DuplicateKey) for the rows;
    /// [`SourceNotFound`](crate::ErrorCode::SourceNotFound) and [`SourceInvalid`](crate::ErrorCode::SourceInvalid) for the input;
    /// [`DiskFull`](crate::ErrorCode::DiskFull), [`ReadOnly`](crate::ErrorCode::ReadOnly), [`Poisoned`](crate::ErrorCode::Poisoned),
    /// [`Io`](crate::ErrorCode::Io). After an error there is no such table and nothing stays on disk.
    pub fn define_table(&self, name: &str, definition: TableDefinition) -> Result<Table> {
        let info = self.backend.define_table(name, definition)?;
        Ok(Table::new(self.backend.clone(), info, &self.recording))
    }

    /// Makes a source known by a name, for tables that are [fed by it](TableDefinition::from_source). It is not asked
    /// anything yet. The cache forgets its sources when it is closed: add them at every start.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorCode::InvalidArgument) for a name that is taken, empty or has a slash;
    /// [`Unsupported`](crate::ErrorCode::Unsupported) if another process owns the cache.
    pub fn add_source(&self, name: &str, source: impl Source) -> Result<()> {
        self.refreshing()?.add_source(name, Arc::new(source), false)
    }

    /// As [`add_source`](Self::add_source), but the source may take the place of one of that name. Refreshes under way end
    /// with the old source; its tables are then refreshed from the new one.
    ///
    /// # Errors
    /// As [`add_source`](Self::add_source), except for a name that is taken.
    pub fn replace_source(&self, name: &str, source: impl Source) -> Result<()> {
        self.refreshing()?.add_source(name, Arc::new(source), true)
    }

    /// Keeps a table as a [definition from a source](TableDefinition::from_source) says, and returns at once. The table is there
    /// when its first load has succeeded; a load that fails is tried again for ever. A table that is there already is read
    /// as it is until the next refresh; if the definition asks for something else than it was loaded by, all of it is
    /// fetched anew. The cache forgets what it follows when it is closed: say it at every start.
    ///
    /// [`define_table`](Self::define_table) does the same for a definition from a source, waits for the first load, and
    /// stops following the table if that fails.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorCode::InvalidArgument) for an unknown source or a definition without one;
    /// [`Unsupported`](crate::ErrorCode::Unsupported) for what the source does not do, or if another process owns the
    /// cache.
    pub fn follow_table(&self, name: &str, definition: TableDefinition) -> Result<()> {
        self.refreshing()?.follow(name, definition)
    }

    /// Ends that a table is fed by its source. Its rows stay as they are and are read; only [`follow_table`](Self::follow_table) or
    /// [`define_table`](Self::define_table) lets them change again, after all of them were fetched anew if the table
    /// [followed](crate::source::TableSource::changes) its source. That source forgets in the background what it kept for the table: it
    /// need not be reachable now, but must be [added](Self::add_source) sooner or later. Nothing happens for a table that no source feeds.
    /// Returns whether the table was fed until now.
    ///
    /// # Errors
    /// Those of a write; [`Unsupported`](crate::ErrorCode::Unsupported) if another process owns the cache.
    pub fn unfollow_table(&self, name: &str) -> Result<bool> {
        self.refreshing()?.unfollow(name)
    }

    /// Takes over the settings that can change while the cache is open: `disk_limit`, `compaction_throughput` and
    /// `refreshes_at_once`. The other settings stay as they were when the cache was opened.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorCode::InvalidArgument) for a setting of zero;
    /// [`Unsupported`](crate::ErrorCode::Unsupported) if another process owns the cache.
    pub fn adjust(&self, options: &CacheOptions) -> Result<()> {
        self.backend.adjust(options)
    }

    /// How the refreshes of tables from sources stand, by table.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorCode::Unsupported) if another process owns the cache and this handle came without its
    /// socket.
    pub fn refreshes(&self) -> Result<Vec<RefreshStatus>> {
        self.refreshing()?.refreshes()
    }

    /// Refreshes a table from its source now, also if refreshes are paused, and waits until the rows of a refresh that began after
    /// this call are there. Works before the table has been loaded for the first time.
    ///
    /// # Errors
    /// Those of the source and of a write: the rows are then as before. [`InvalidArgument`](crate::ErrorCode::InvalidArgument)
    /// for a table that no source feeds; [`Cancelled`](crate::ErrorCode::Cancelled). Through a sidecar also
    /// [`Timeout`](crate::ErrorCode::Timeout): the refresh goes on, and [`refreshes`](Self::refreshes) shows how far it is.
    /// Otherwise as [`refreshes`](Self::refreshes).
    pub fn refresh(&self, table: &str) -> Result<Version> {
        self.refreshing()?.refresh(table)
    }

    /// Gives up the refresh of a table that is under way, and returns whether there was one. Its rows stay as they are,
    /// and the next refresh is that of the schedule: with [`on_call`](crate::source::TableSource::on_call) the next
    /// [`refresh`](Self::refresh). It counts as no failure.
    ///
    /// # Errors
    /// As [`refreshes`](Self::refreshes); [`InvalidArgument`](crate::ErrorCode::InvalidArgument) for a table that no source
    /// feeds.
    pub fn cancel_refresh(&self, table: &str) -> Result<bool> {
        self.refreshing()?.cancel(table)
    }

    /// Begins no refresh of a table any more until [`resume_refreshes`](Self::resume_refreshes), except by
    /// [`refresh`](Self::refresh). One that is under way goes on.
    ///
    /// # Errors
    /// As [`cancel_refresh`](Self::cancel_refresh).
    pub fn pause_refreshes(&self, table: &str) -> Result<()> {
        self.refreshing()?.pause(table, true)
    }

    /// Lets refreshes of a table begin again.
    ///
    /// # Errors
    /// As [`cancel_refresh`](Self::cancel_refresh).
    pub fn resume_refreshes(&self, table: &str) -> Result<()> {
        self.refreshing()?.pause(table, false)
    }

    fn refreshing(&self) -> Result<&dyn Refreshing> {
        refreshing(&*self.backend)
    }

    /// Removes a table and its rows. Snapshots and rows taken before keep them.
    ///
    /// # Errors
    /// [`TableNotFound`](crate::ErrorCode::TableNotFound), [`ReadOnly`](crate::ErrorCode::ReadOnly),
    /// [`Poisoned`](crate::ErrorCode::Poisoned), [`Io`](crate::ErrorCode::Io).
    pub fn drop_table(&self, name: &str) -> Result<Version> {
        self.backend.drop_table(name)
    }

    /// Begins a list of changes that one commit will make.
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.backend.clone())
    }

    /// The position up to which the cache has everything from a source: the one that the last transaction with a
    /// [`source_position`](Transaction::source_position) gave; `None` if none did.
    ///
    /// # Errors
    /// [`WentBack`](crate::ErrorCode::WentBack), once, if commits that this handle saw are lost. Attached and remote caches also
    /// fail with [`Closed`](crate::ErrorCode::Closed) if another cache took the place of this one, remote ones with
    /// [`Unavailable`](crate::ErrorCode::Unavailable) or [`Timeout`](crate::ErrorCode::Timeout).
    pub fn source_position(&self, source: &str) -> Result<Option<Vec<u8>>> {
        self.backend.source_position(source)
    }

    /// A table by its exact name.
    ///
    /// # Errors
    /// [`TableNotFound`](crate::ErrorCode::TableNotFound), naming the nearest table there is.
    pub fn table(&self, name: &str) -> Result<Table> {
        Ok(Table::new(self.backend.clone(), self.backend.table(name)?, &self.recording))
    }

    /// Describes every table, in the order of their names.
    ///
    /// # Errors
    /// [`WentBack`](crate::ErrorCode::WentBack), once, if commits that this handle saw are lost. Attached and remote caches also
    /// fail with [`Closed`](crate::ErrorCode::Closed) if another cache took the place of this one, remote ones with
    /// [`Unavailable`](crate::ErrorCode::Unavailable) or [`Timeout`](crate::ErrorCode::Timeout).
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        self.backend.tables()
    }

    /// Holds the newest version for several reads.
    ///
    /// # Errors
    /// [`WentBack`](crate::ErrorCode::WentBack), once, if commits that this handle saw are lost. Attached and remote caches also
    /// fail with [`Closed`](crate::ErrorCode::Closed) if another cache took the place of this one, remote ones with
    /// [`Unavailable`](crate::ErrorCode::Unavailable) or [`Timeout`](crate::ErrorCode::Timeout).
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(self.backend.pin()?))
    }

    /// Plans a query at the newest version, at which all its tables are read. It runs once its first batch is asked for.
    ///
    /// The text is one statement of DataFusion's SQL that reads: a query, `EXPLAIN`, `SHOW` or `DESCRIBE`. Unquoted
    /// names are lower-cased. `$1`, `$2`, … stand for `parameters`. Planning takes a fraction of a millisecond on
    /// the calling thread; use [`prepare`](Self::prepare) for what runs often. Texts that name rows by their whole key and
    /// differ only in whole numbers and in texts in quotes are planned once.
    ///
    /// # Errors
    /// [`InvalidSql`](crate::ErrorCode::InvalidSql), [`InvalidParameter`](crate::ErrorCode::InvalidParameter),
    /// [`Unsupported`](crate::ErrorCode::Unsupported). Errors of the run come with the batches.
    pub fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        self.recording.handled(Operation::Sql, || self.backend.sql(text, parameters))
    }

    /// As [`sql`](Self::sql), within bounds of this query alone.
    ///
    /// # Errors
    /// As [`sql`](Self::sql); [`Stale`](crate::ErrorCode::Stale), and those of sources.
    pub fn sql_within(&self, bounds: ReadBounds, text: &str, parameters: &[Value]) -> Result<Batches> {
        bounds.run(|| self.sql(text, parameters))
    }

    /// Runs a statement that changes tables, in one commit. Readers see all of it or none.
    ///
    /// - `INSERT INTO table [(columns)] VALUES …` or `SELECT …` adds rows, as [`Table::append`](crate::Table::append) does; a
    ///   column that is not named becomes null. With `ON CONFLICT [(key)] DO NOTHING` rows whose key is there are left out; with
    ///   `DO UPDATE SET column = EXCLUDED.column, …` for every other column they replace it, and so does `REPLACE INTO`.
    ///   `INSERT OVERWRITE table …` replaces all rows.
    /// - `UPDATE table SET … [WHERE …]` and `DELETE FROM table WHERE …` change rows of tables with a primary key, whose
    ///   columns keep their values. They read the newest rows, and other commits to the table wait until they are done.
    /// - `DELETE FROM table` and `TRUNCATE table` remove all rows.
    /// - `CREATE TABLE [IF NOT EXISTS] name (column type [NOT NULL], …, PRIMARY KEY (columns)) [WITH (sort_by = 'columns')] [AS
    ///   SELECT …]` and `DROP TABLE [IF EXISTS] name`.
    ///
    /// The text is one statement of DataFusion's SQL. Unquoted names are lower-cased. `$1`, `$2`, … stand for `parameters`.
    /// Blocks as [`Table::append`](crate::Table::append) does, and while the statement's query runs; an UPDATE and a DELETE keep
    /// the keys of the rows that they change in memory, or the rows while they are few. Rules about who may write hold as for
    /// every other write.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = pillion::Cache::open(dir.path())?;
    /// cache.execute("CREATE TABLE fruits (id BIGINT, name VARCHAR, price DOUBLE, PRIMARY KEY (id))", &[])?;
    /// cache.execute("INSERT INTO fruits VALUES (1, 'apple', 0.5), (2, 'pear', $1)", &[0.7.into()])?;
    /// let executed = cache.execute("UPDATE fruits SET price = price * 2 WHERE name = 'pear'", &[])?;
    /// assert_eq!(executed.rows, 1);
    /// # assert_eq!(cache.table("fruits")?.get(2)?.expect("inserted").get::<f64>("price")?, 1.4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Nothing is changed then. [`InvalidSql`](crate::ErrorCode::InvalidSql), [`InvalidParameter`](crate::ErrorCode::InvalidParameter),
    /// [`Execution`](crate::ErrorCode::Execution) for a value that the statement cannot compute;
    /// [`Unsupported`](crate::ErrorCode::Unsupported) for queries, and for statements that are not listed;
    /// [`NoPrimaryKey`](crate::ErrorCode::NoPrimaryKey), [`DuplicateKey`](crate::ErrorCode::DuplicateKey),
    /// [`NullKey`](crate::ErrorCode::NullKey), [`SchemaMismatch`](crate::ErrorCode::SchemaMismatch) for a null where none may be;
    /// [`TableExists`](crate::ErrorCode::TableExists), [`TableNotFound`](crate::ErrorCode::TableNotFound);
    /// [`WriteNotAllowed`](crate::ErrorCode::WriteNotAllowed) by the rules of the table; those of
    /// [`Transaction::commit`](crate::Transaction::commit).
    pub fn execute(&self, text: &str, parameters: &[Value]) -> Result<Executed> {
        self.recording.handled(Operation::Write, || self.backend.execute(text, parameters, None))
    }

    /// As [`execute`](Self::execute), for somebody who may touch only some tables. The statement sees no sign of tables that it may
    /// neither read nor change, and counts of rows as what a table shows: an UPDATE and a DELETE with a condition need to read it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = pillion::Cache::open(dir.path())?;
    /// # cache.execute("CREATE TABLE mine (id BIGINT, PRIMARY KEY (id))", &[])?;
    /// # cache.execute("CREATE TABLE theirs (id BIGINT, PRIMARY KEY (id))", &[])?;
    /// use pillion::{ErrorCode, Permitted};
    ///
    /// let permitted = Permitted::new(|table| table == "mine", |table| table == "mine");
    /// cache.execute_permitted("INSERT INTO mine VALUES (1)", &[], &permitted)?;
    /// let error = cache.execute_permitted("INSERT INTO mine SELECT id FROM theirs", &[], &permitted).unwrap_err();
    /// assert_eq!(error.code(), ErrorCode::TableNotFound);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`execute`](Self::execute); [`PermissionDenied`](crate::ErrorCode::PermissionDenied) for a table that it may read and
    /// not change, or change and not read; [`Unsupported`](crate::ErrorCode::Unsupported) if another process owns the cache.
    pub fn execute_permitted(
        &self,
        text: &str,
        parameters: &[Value],
        permitted: &Permitted,
    ) -> Result<Executed> {
        let permitted = Some(permitted);
        self.recording.handled(Operation::Write, || self.backend.execute(text, parameters, permitted))
    }

    /// Plans a query once, to be run many times with different parameters at the version that is then newest.
    ///
    /// # Errors
    /// [`InvalidSql`](crate::ErrorCode::InvalidSql), [`Unsupported`](crate::ErrorCode::Unsupported).
    pub fn prepare(&self, text: &str) -> Result<Prepared> {
        let recording = &self.recording;
        let statement = recording.handled(Operation::Prepare, || self.backend.clone().prepare(text))?;
        Ok(Prepared::new(statement, recording.clone()))
    }

    /// The newest version.
    ///
    /// # Errors
    /// [`WentBack`](crate::ErrorCode::WentBack), once, if commits that this handle saw are lost. Attached and remote caches also
    /// fail with [`Closed`](crate::ErrorCode::Closed) if another cache took the place of this one, remote ones with
    /// [`Unavailable`](crate::ErrorCode::Unavailable) or [`Timeout`](crate::ErrorCode::Timeout).
    pub fn version(&self) -> Result<Version> {
        self.backend.version()
    }

    /// Moves all rows from the log into sorted segments now; otherwise the cache does that in the background once
    /// there are many. Also removes rows that are too old for their tables
    /// ([`TableDefinition::retain`](crate::TableDefinition::retain)). All other rows stay, and versions go on
    /// counting. Blocks until it is done; commits go on meanwhile.
    ///
    /// # Errors
    /// [`ReadOnly`](crate::ErrorCode::ReadOnly), [`DiskFull`](crate::ErrorCode::DiskFull), [`Poisoned`](crate::ErrorCode::Poisoned),
    /// [`Io`](crate::ErrorCode::Io), [`Corrupt`](crate::ErrorCode::Corrupt). Nothing is lost.
    pub fn compact(&self) -> Result<()> {
        self.backend.compact()
    }

    /// Makes every commit so far durable; blocks on the disk.
    ///
    /// # Errors
    /// [`ReadOnly`](crate::ErrorCode::ReadOnly); [`Poisoned`](crate::ErrorCode::Poisoned) if the disk fails, or
    /// failed before.
    pub fn sync(&self) -> Result<()> {
        self.backend.sync()
    }

    /// The state of the cache as a whole.
    ///
    /// # Errors
    /// [`WentBack`](crate::ErrorCode::WentBack), once, if commits that this handle saw are lost. Attached and remote caches also
    /// fail with [`Closed`](crate::ErrorCode::Closed) if another cache took the place of this one, remote ones with
    /// [`Unavailable`](crate::ErrorCode::Unavailable) or [`Timeout`](crate::ErrorCode::Timeout).
    pub fn status(&self) -> Result<Status> {
        self.backend.status()
    }

    /// Makes everything durable and marks the directory as cleanly closed, so that versions go on counting at the
    /// next opening. Other handles can still read, and further writes are refused. A write whose rows are still being
    /// read is refused once they are read; until then no other process can own the directory. Dropping the last
    /// handle does the same, but can only log an error.
    ///
    /// All of that is for the owner. The directory of an attached or a remote cache is another process's, so that there
    /// this only refuses further writes of this handle and its clones, [`sync`](Self::sync) among them: nothing is sent,
    /// and nothing made durable. An attached cache without a sidecar has no writes to refuse.
    ///
    /// # Errors
    /// [`Poisoned`](crate::ErrorCode::Poisoned), [`DiskFull`](crate::ErrorCode::DiskFull), [`Io`](crate::ErrorCode::Io).
    pub fn close(&self) -> Result<()> {
        self.backend.close()
    }
}
