//! The handle of a table.

use crate::way::table_info::TableInfo;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::datatypes::SchemaRef;

use super::subscription::Subscription;
use crate::answer::batches::Batches;
use crate::answer::row::Row;
use crate::blocking::brief;
use crate::input::Input;
use crate::types::bounds::ReadBounds;
use crate::types::error::Result;
use crate::types::key::{Key, owned};
use crate::types::mode::WriteMode;
use crate::types::recorder::{Operation, Recording};
use crate::types::version::Version;
use crate::way::change::ChangeRequest;
use crate::way::refreshing::{AuditReport, refreshing};
use crate::way::{Backend, Reader};

/// A table of a cache, at whatever version is newest when a call is made.
///
/// A handle: cloning is cheap. It stands for the one table that it was made for: once that is dropped, calls fail
/// with [`TableNotFound`](crate::ErrorCode::TableNotFound), even if another table has its name now.
#[derive(Clone, Debug)]
pub struct Table {
    backend: Arc<dyn Backend>,
    id: u64,
    name: Arc<str>,
    schema: SchemaRef,
    recording: Recording,
}

impl Table {
    pub(crate) fn new(backend: Arc<dyn Backend>, info: TableInfo, recording: &Recording) -> Self {
        let recording = recording.clone();
        Self { backend, id: info.id, name: info.name.into(), schema: info.schema, recording }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Describes the table as it is now.
    ///
    /// # Errors
    /// [`TableNotFound`](crate::ErrorCode::TableNotFound) if it was dropped.
    pub fn info(&self) -> Result<TableInfo> {
        self.backend.table_by_id(self.id)
    }

    /// The row with a primary key, or `None`. Does not allocate for keys of up to 64 encoded bytes and blocks only
    /// where a page must be read from disk.
    ///
    /// # Errors
    /// [`NoPrimaryKey`](crate::ErrorCode::NoPrimaryKey), [`InvalidKey`](crate::ErrorCode::InvalidKey);
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io) with file and offset. Of a working set
    /// [`NotCovered`](crate::ErrorCode::NotCovered); if it [delegates](crate::OnMiss::Delegate), a key that is not held blocks until the
    /// source has answered, and fails as it does.
    #[inline]
    pub fn get(&self, key: impl Key) -> Result<Option<Row>> {
        if self.recording.is_on() {
            return self.recording.looked_up_one(|| self.backend.get(self.id, &key));
        }
        self.backend.get(self.id, &key)
    }

    /// As [`get`](Self::get), but never waits for a source: `None` if it would have to. For callers that must not block, or that hold a
    /// lock: they get the row on another thread then. Not for others: it may change in any version.
    #[doc(hidden)]
    pub fn get_at_once(&self, key: impl Key) -> Option<Result<Option<Row>>> {
        brief::briefly(|| self.get(key))
    }

    /// As [`get`](Self::get), within bounds of this read alone.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`Stale`](crate::ErrorCode::Stale), and those of sources.
    pub fn get_within(&self, bounds: ReadBounds, key: impl Key) -> Result<Option<Row>> {
        bounds.run(|| self.get(key))
    }

    /// As [`get_many`](Self::get_many), within bounds of this read alone.
    ///
    /// # Errors
    /// As [`get_within`](Self::get_within).
    pub fn get_many_within<K: Key>(&self, bounds: ReadBounds, keys: &[K]) -> Result<Vec<Option<Row>>> {
        bounds.run(|| self.get_many(keys))
    }

    /// As [`scan`](Self::scan), within bounds of this read alone.
    ///
    /// # Errors
    /// As [`scan`](Self::scan); [`Stale`](crate::ErrorCode::Stale), and those of sources.
    pub fn scan_within(&self, bounds: ReadBounds) -> Result<Batches> {
        bounds.run(|| self.scan())
    }

    /// The rows with some primary keys, all of one version, in the order of the keys.
    ///
    /// # Errors
    /// As [`get`](Self::get), for the first key that fails.
    pub fn get_many<K: Key>(&self, keys: &[K]) -> Result<Vec<Option<Row>>> {
        let get_many = || self.backend.get_many(self.id, &mut keys.iter().map(|key| key as &dyn Key));
        if self.recording.is_on() { self.recording.looked_up_many(get_many) } else { get_many() }
    }

    /// All rows with all columns, segment by segment; within a segment in the table's sort order.
    ///
    /// # Errors
    /// [`TableNotFound`](crate::ErrorCode::TableNotFound) if it was dropped; errors of reading come with the batches.
    pub fn scan(&self) -> Result<Batches> {
        self.recording.handled(Operation::Scan, || self.backend.scan(self.id, None))
    }

    /// All rows with some columns, in the order given; the other columns are not read.
    ///
    /// # Errors
    /// As [`scan`](Self::scan); [`ColumnNotFound`](crate::ErrorCode::ColumnNotFound).
    pub fn scan_columns<S: Into<String>>(&self, columns: impl IntoIterator<Item = S>) -> Result<Batches> {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        self.recording.handled(Operation::Scan, || self.backend.scan(self.id, Some(&columns)))
    }

    /// Adds rows in one commit and returns its version. Columns are matched by name and must have the table's
    /// types.
    ///
    /// Up to about 2 MiB of rows only go to the log; more are first sorted into files, in bounded memory. All rows
    /// become visible together; [`Durability`](crate::Durability) says how soon they survive a crash of the machine.
    ///
    /// # Errors
    /// [`DuplicateKey`](crate::ErrorCode::DuplicateKey) if two rows have the same key, or a row of the table has it;
    /// [`InvalidKey`](crate::ErrorCode::InvalidKey) if one has more than 4 MiB;
    /// [`NullKey`](crate::ErrorCode::NullKey), [`SchemaMismatch`](crate::ErrorCode::SchemaMismatch), errors of the
    /// input, [`DiskFull`](crate::ErrorCode::DiskFull), [`ReadOnly`](crate::ErrorCode::ReadOnly),
    /// [`Poisoned`](crate::ErrorCode::Poisoned), [`Io`](crate::ErrorCode::Io). The table is then as before.
    pub fn append(&self, rows: impl Into<Input>) -> Result<Version> {
        self.write(ChangeRequest::Rows { table: self.id, mode: WriteMode::Append, rows: rows.into() })
    }

    /// Adds rows, replacing those with the same primary keys, in one commit, and returns its version. If several of
    /// the new rows have the same key, the last one counts.
    ///
    /// Up to about 2 MiB of rows only go to the log: such a commit costs what its own rows cost, however large the
    /// table is. More are first written into files, as [`append`](Self::append) does.
    ///
    /// # Errors
    /// [`NoPrimaryKey`](crate::ErrorCode::NoPrimaryKey); those of [`append`](Self::append) except for duplicate keys.
    pub fn upsert(&self, rows: impl Into<Input>) -> Result<Version> {
        self.write(ChangeRequest::Rows { table: self.id, mode: WriteMode::Upsert, rows: rows.into() })
    }

    /// Removes the row with a primary key, in one commit, and returns its version. A missing row is not an error.
    ///
    /// # Errors
    /// [`NoPrimaryKey`](crate::ErrorCode::NoPrimaryKey), [`InvalidKey`](crate::ErrorCode::InvalidKey),
    /// [`DiskFull`](crate::ErrorCode::DiskFull), [`ReadOnly`](crate::ErrorCode::ReadOnly),
    /// [`Poisoned`](crate::ErrorCode::Poisoned), [`Io`](crate::ErrorCode::Io). The table is then as before.
    pub fn delete(&self, key: impl Key) -> Result<Version> {
        self.delete_many(&[key])
    }

    /// Removes the rows with some primary keys, in one commit, and returns its version.
    ///
    /// # Errors
    /// As [`delete`](Self::delete), for the first key that fails.
    pub fn delete_many<K: Key>(&self, keys: &[K]) -> Result<Version> {
        let keys = keys.iter().map(owned).collect::<Result<_>>()?;
        self.write(ChangeRequest::Delete { table: self.id, keys })
    }

    /// Removes the rows with some primary keys from the cache, in one commit, and returns its version, because they
    /// are wrong or no longer wanted: whoever feeds the table will bring back the right ones. As
    /// [`delete_many`](Self::delete_many), and also allowed where a [source](crate::WritePolicy::Source) feeds the
    /// table.
    ///
    /// Until the rows come back, reads do not find them.
    ///
    /// # Errors
    /// As [`delete`](Self::delete), for the first key that fails.
    pub fn invalidate<K: Key>(&self, keys: &[K]) -> Result<Version> {
        let keys = keys.iter().map(owned).collect::<Result<_>>()?;
        self.write(ChangeRequest::Invalidate { table: self.id, keys })
    }

    /// Removes all rows, in one commit, and returns its version. Snapshots and rows taken before keep them.
    ///
    /// # Errors
    /// [`DiskFull`](crate::ErrorCode::DiskFull), [`ReadOnly`](crate::ErrorCode::ReadOnly),
    /// [`Poisoned`](crate::ErrorCode::Poisoned), [`Io`](crate::ErrorCode::Io). The table is then as before.
    pub fn truncate(&self) -> Result<Version> {
        self.write(ChangeRequest::Truncate { table: self.id })
    }

    /// Replaces all rows with new ones in one commit and returns its version; readers see the old rows until then.
    /// Needs disk space for both, and for a third copy while the previous files are kept for recovery.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn replace(&self, rows: impl Into<Input>) -> Result<Version> {
        self.write(ChangeRequest::Rows { table: self.id, mode: WriteMode::Replace, rows: rows.into() })
    }

    /// What commits changed in the table after a version, in their order, deletes of rows by key included. It ends at
    /// the newest version, which is the [`version`](Batches::version) of the answer: pass that as `since` the next
    /// time.
    ///
    /// The first two columns are `_change` (text) and `_sequence` (UInt64, that of the commit). The table's own
    /// columns follow, and each may be null. `_change` is
    /// - `upsert`: the row is there, and replaces the one with its key if there was one;
    /// - `delete`: the row with this key is gone; only the columns of the key are set;
    /// - `truncate`: all rows are gone; no column is set. If the table was defined after `since`, the changes begin with this:
    ///   the reader may hold the rows of an earlier table of that name, which was dropped.
    ///
    /// Whoever holds the rows of `since` and applies these changes to them has the rows of the newest version, with
    /// one exception: when rows of a table **without a primary key** are removed because they are [too
    /// old](crate::TableDefinition::retain), no change reports them, as nothing names them. Leave out older rows
    /// yourself ([`TableRules::retention`](crate::TableRules::retention)), or read the table anew. With a primary key
    /// they are reported as deletes.
    ///
    /// Within a commit, too, later rows come later. Rows of large loads are read from the cache's files while the
    /// answer is read.
    ///
    /// # Errors
    /// [`TableNotFound`](crate::ErrorCode::TableNotFound) if it was dropped: take a new handle to follow a table that
    /// has its name now.
    /// [`HistoryGone`](crate::ErrorCode::HistoryGone) if the log no longer reaches back to `since`: read the table
    /// anew (the answer of [`scan`](Self::scan) has its version), and see
    /// [`CacheOptions::history`](crate::CacheOptions::history).
    /// [`WentBack`](crate::ErrorCode::WentBack) if `since` was lost in a crash, or is of another cache.
    pub fn changes(&self, since: Version) -> Result<Batches> {
        self.recording.handled(Operation::Changes, || self.backend.changes(self.id, since))
    }

    /// Refreshes the table from its source now; see [`Cache::refresh`](crate::Cache::refresh).
    ///
    /// # Errors
    /// As [`Cache::refresh`](crate::Cache::refresh).
    pub fn refresh(&self) -> Result<Version> {
        refreshing(&*self.backend)?.refresh(&self.name)
    }

    /// Waits until a table that [follows](crate::source::TableSource::changes) its source has everything that the source had
    /// committed at a position, and returns a version that shows it. The position is one of the source, or what people write for one: what
    /// `SELECT pg_current_wal_lsn()` gives in PostgreSQL after a commit. Blocks for at most `limit`.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorCode::Timeout), which says what the table waits for;
    /// [`InvalidArgument`](crate::ErrorCode::InvalidArgument) for bytes that are not a position, and for a table that does not follow its
    /// source; [`Cancelled`](crate::ErrorCode::Cancelled) if the table is dropped meanwhile;
    /// [`Unsupported`](crate::ErrorCode::Unsupported) if another process owns the cache and no sidecar answers for it.
    pub fn wait_for(&self, position: impl AsRef<[u8]>, limit: Duration) -> Result<Version> {
        refreshing(&*self.backend)?.wait_for(&self.name, position.as_ref(), limit)
    }

    /// Compares all rows of a table that [follows](crate::source::TableSource::changes) its source with those of the source, and fetches those
    /// that differ again. Returns when it is done: about as long as the source takes to read the table. Reads and the stream go on.
    ///
    /// Both sides add up digests of their rows at exactly the same position, so rows that changed a moment ago differ in nothing, and only the keys
    /// of ranges that differ are looked at closer. The log and the answer name the rows; [`FollowStatus::audit`](crate::FollowStatus::audit) counts
    /// them. A fault is one of this cache, of its disk, or of the source, which should not send other changes than it makes: report it.
    ///
    /// The source needs a free replication slot and keeps one state of the table until it has read a part of it.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorCode::Unsupported) for a table that does not follow its source, or whose source compares nothing;
    /// [`SourceUnavailable`](crate::ErrorCode::SourceUnavailable) if the source cannot be reached or the table does not follow it now;
    /// [`Cancelled`](crate::ErrorCode::Cancelled) if the table is copied anew or dropped meanwhile, and the errors of a write. What was mended
    /// stays so.
    pub fn audit(&self) -> Result<AuditReport> {
        refreshing(&*self.backend)?.audit(&self.name)
    }

    /// Keeps asking for [`changes`](Self::changes), and hands out what was committed after `since`. Rows that become
    /// too old are reported only for tables with a primary key.
    pub fn subscribe(&self, since: Version) -> Subscription {
        Subscription::new(self.clone(), since)
    }

    fn write(&self, change: ChangeRequest) -> Result<Version> {
        let write = || self.backend.write(vec![change], SystemTime::now());
        self.recording.handled(Operation::Write, write)
    }

    /// The newest version of its cache.
    pub(crate) fn version(&self) -> Result<Version> {
        self.backend.version()
    }

    /// Its number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

/// A table as a [`Snapshot`](crate::Snapshot) sees it.
#[derive(Clone, Debug)]
pub struct TableSnapshot {
    reader: Arc<dyn Reader>,
    info: TableInfo,
}

impl TableSnapshot {
    pub(crate) fn new(reader: Arc<dyn Reader>, info: TableInfo) -> Self {
        Self { reader, info }
    }

    /// Describes the table at this version.
    pub fn info(&self) -> &TableInfo {
        &self.info
    }

    /// The row with a primary key, or `None`; see [`Table::get`].
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn get(&self, key: impl Key) -> Result<Option<Row>> {
        self.reader.get(self.info.id, &key)
    }

    /// As [`get`](Self::get), but never waits for a source: `None` if it would have to. For callers that must not block, or that hold a
    /// lock: they get the row on another thread then. Not for others: it may change in any version.
    #[doc(hidden)]
    pub fn get_at_once(&self, key: impl Key) -> Option<Result<Option<Row>>> {
        brief::briefly(|| self.get(key))
    }

    /// The rows with some primary keys, in the order of the keys; see [`Table::get_many`].
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn get_many<K: Key>(&self, keys: &[K]) -> Result<Vec<Option<Row>>> {
        self.reader.get_many(self.info.id, &mut keys.iter().map(|key| key as &dyn Key))
    }

    /// All rows with all columns; see [`Table::scan`].
    ///
    /// # Errors
    /// Errors of reading come with the batches.
    pub fn scan(&self) -> Result<Batches> {
        self.reader.scan(self.info.id, None)
    }
}
