//! Embedded: the cache runs in this process, which owns the directory.

mod background;
#[cfg(feature = "sql")]
mod modify;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::datatypes::SchemaRef;

use self::background::Background;
use crate::answer::batches::{Batches, Canceller};
use crate::answer::certificate::Certificate;
use crate::answer::row::Row;
use crate::coverage::{Held, Upstream};
use crate::input::{Input, OpenInput};
#[cfg(feature = "sidecar")]
use crate::storage::Maps;
use crate::storage::{self, Clock, Files, KeyColumn, Store, Sync, TableShape, key};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::mode::WriteMode;
use crate::types::options::{CacheOptions, Durability};
use crate::types::permitted::Permitted;
use crate::types::recorder::{Recording, UpkeepWork};
use crate::types::rules::{TableRules, WritePolicy};
use crate::types::value::Value;
use crate::types::version::Version;
use crate::way::change::ChangeRequest;
use crate::way::definition::TableDefinition;
use crate::way::executed::Executed;
use crate::way::local::{self, Local};
use crate::way::refreshing::Refreshing;
use crate::way::status::{Status, Way};
use crate::way::table_info::TableInfo;
use crate::way::{Backend, Reader, Served, Statement, Upkeep, Writer, delegate_reads};

/// The cache in this process.
#[derive(Debug)]
pub(crate) struct Embedded {
    background: Option<Background>,
    local: Arc<Local<Arc<Store>>>,
}

impl Embedded {
    pub(crate) fn open(dir: &Path, options: CacheOptions) -> Result<Self> {
        Self::with_files(Files::below(dir)?, options)
    }

    pub(crate) fn with_files(files: Files, options: CacheOptions) -> Result<Self> {
        let sync = match options.durability {
            Durability::Always => Sync::Always,
            Durability::Interval(_) | Durability::Never => Sync::Later,
        };
        let store = Arc::new(Store::open(files, sync, options.load_memory, options.history)?);
        store.limit_disk(options.disk_limit);
        store.limit_moves(options.compaction_throughput);
        let background = Background::start(&store, options.durability, &options.recording)?;
        Ok(Self { background: Some(background), local: Arc::new(Local::new(store, options)?) })
    }

    fn store(&self) -> &Store {
        self.local.source()
    }

    /// From now on `upstream` fetches what reads need and tables do not hold.
    pub(crate) fn fetch_from(&self, upstream: Arc<dyn Upstream>) {
        self.local.upstream().fill(upstream);
    }

    /// The clock that shows the time of day.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.store().files().clock.clone()
    }

    /// Whether this process is a copy of the one that opened the cache, which has its threads.
    pub(crate) fn is_forked(&self) -> bool {
        self.store().is_forked()
    }

    /// # Errors
    /// In a copy of the process that opened the cache.
    pub(crate) fn refuse_if_forked(&self) -> Result<()> {
        self.store().refuse_if_forked()
    }
}

impl Embedded {
    /// All rows of a table, with some columns, even if they are too old for readers.
    pub(crate) fn scan_held(&self, table: u64, columns: Option<&[String]>) -> Result<Batches> {
        local::scan(&self.store().state(), table, columns, Certificate::default())
    }

    /// What is held now.
    pub(crate) fn state(&self) -> Arc<storage::State> {
        self.store().state().clone()
    }

    /// The rows with some encoded keys, all of one version, even if they are too old for readers.
    pub(crate) fn rows_held(&self, table: u64, keys: &KeyColumn) -> Result<Vec<Option<Row>>> {
        let state = self.store().state();
        let table = local::table_of(&state, table)?;
        let elsewhere = |held: &Held<'_>| Err(held.not_covered("only held rows are read here"));
        keys.iter().map(|(key, hash)| local::look_up(&state, table, key, hash, elsewhere)).collect()
    }

    /// Whether a crash of the machine could lose a commit.
    #[cfg(test)]
    pub(crate) fn could_lose_commits(&self) -> bool {
        self.store().could_lose_commits()
    }

    /// Makes changes of the files in one commit.
    ///
    /// # Errors
    /// Those of a write.
    pub(crate) fn write_changes(
        &self,
        changes: Vec<storage::Change<'_>>,
        as_of: SystemTime,
    ) -> Result<Version> {
        self.store().refuse_unless_writable()?;
        self.store().write(changes, as_of)
    }

    /// Removes a table, and forgets positions of sources in the same commit.
    ///
    /// # Errors
    /// [`ErrorCode::TableNotFound`] and those of a write.
    pub(crate) fn drop_fed_table(&self, name: &str, sources: Vec<String>) -> Result<Version> {
        let table = self.store().state().table(name)?.shape.id;
        let forgotten =
            sources.into_iter().map(|source| storage::Change::Position { source, position: Vec::new() });
        let changes = std::iter::once(storage::Change::Drop { table }).chain(forgotten).collect();
        self.store().write(changes, SystemTime::now())
    }

    /// Gives a table all of its rows, and remembers the position of their source, in one commit: defines the table, or puts the
    /// rows in the place of the held ones. If its columns or rules are others than before, the table itself is replaced.
    ///
    /// # Errors
    /// Those of the input, of a definition and of a write. Everything is then as before.
    pub(crate) fn load_table(
        &self,
        name: &str,
        rules: &TableRules,
        input: Input,
        (source, position): (String, Vec<u8>),
        as_of: SystemTime,
    ) -> Result<Version> {
        self.store().refuse_unless_writable()?;
        let mut input = input.open(None)?;
        let state = self.store().state();
        let held = state.table(name).ok().map(|table| local::info(&state, table));
        drop(state);
        if held.as_ref().is_some_and(|held| held.rules.write_policy != rules.write_policy) {
            return Err(Error::new(
                ErrorCode::TableExists,
                format!(
                    "table `{name}` exists and is not fed by this source; drop it, or give the new one another name"
                ),
            ));
        }
        let replaced = held.as_ref().map(|held| held.id);
        if let Some(held) = held
            && held.rules == rules.clone().of_table()
            && has_room_for(&held.schema, &input.schema)
        {
            let (table, mode) = (held.id, WriteMode::Replace);
            let rows = storage::Change::Rows { table, mode, rows: &mut input.batches };
            let position = storage::Change::Position { source, position };
            return self.store().write(vec![rows, position], as_of);
        }
        let shape = TableShape::new(name, &input.schema, rules.clone())?;
        let position = (source, position);
        let state = self.store().create_fed_table(shape, as_of, &mut input.batches, replaced, position)?;
        Ok(state.version)
    }
}

/// Refuses rules that do not suit the columns of a table.
///
/// # Errors
/// Those of a definition.
pub(crate) fn check_table(name: &str, schema: &SchemaRef, rules: &TableRules) -> Result<()> {
    TableShape::new(name, schema, rules.clone()).map(drop)
}

/// Whether a table can take rows of other columns: the same names and types, and no nulls where it has none.
pub(crate) fn has_room_for(held: &SchemaRef, rows: &SchemaRef) -> bool {
    held.fields().len() == rows.fields().len()
        && rows.fields().iter().all(|field| {
            held.field_with_name(field.name()).is_ok_and(|held| {
                held.data_type() == field.data_type() && (held.is_nullable() || !field.is_nullable())
            })
        })
}

#[cfg(not(feature = "sql"))]
impl Embedded {
    /// In a build without SQL.
    pub(crate) fn modify(
        &self,
        _: &str,
        _: &[Value],
        _: Option<&Permitted>,
        _: &dyn Fn(&str) -> Result<Version>,
    ) -> Result<Executed> {
        Err(local::unsupported())
    }
}

/// A change whose input is open.
enum Opened {
    Rows { table: u64, mode: WriteMode, rows: OpenInput },
    Delete { table: u64, keys: KeyColumn, invalidates: bool },
    Truncate { table: u64 },
    Position { source: String, position: Vec<u8> },
}

impl Opened {
    fn change(&mut self) -> storage::Change<'_> {
        match self {
            Self::Rows { table, mode, rows } => {
                storage::Change::Rows { table: *table, mode: *mode, rows: &mut rows.batches }
            }
            Self::Delete { table, keys, invalidates } => {
                let (table, keys, invalidates) = (*table, std::mem::take(keys), *invalidates);
                storage::Change::Delete { table, keys, invalidates }
            }
            Self::Truncate { table } => storage::Change::Truncate { table: *table },
            Self::Position { source, position } => storage::Change::Position {
                source: std::mem::take(source),
                position: std::mem::take(position),
            },
        }
    }
}

impl Embedded {
    fn open_change(&self, change: ChangeRequest) -> Result<Opened> {
        match change {
            ChangeRequest::Rows { table, mode, rows } => {
                let schema = local::table_of(&self.store().state(), table)?.shape.schema.clone();
                Ok(Opened::Rows { table, mode, rows: rows.open(Some(&schema))? })
            }
            ChangeRequest::Delete { table, keys } => {
                Ok(Opened::Delete { table, keys: self.encode_keys(table, &keys)?, invalidates: false })
            }
            ChangeRequest::Invalidate { table, keys } => {
                Ok(Opened::Delete { table, keys: self.encode_keys(table, &keys)?, invalidates: true })
            }
            ChangeRequest::Truncate { table } => Ok(Opened::Truncate { table }),
            ChangeRequest::Position { source, position } => Ok(Opened::Position { source, position }),
        }
    }

    /// Defines a table that is not there yet.
    ///
    /// # Errors
    /// [`ErrorCode::TableExists`]; as [`define_table`](Writer::define_table).
    fn define_new(&self, name: &str, definition: TableDefinition) -> Result<Arc<storage::State>> {
        self.store().refuse_unless_writable()?;
        definition.refuse_origin()?;
        let as_of = SystemTime::now();
        let mut input = definition.input.open(None)?;
        let shape = TableShape::new(name, &input.schema, definition.rules)?;
        self.store().create_table(shape, as_of, &mut input.batches)
    }

    /// What makes working sets whose rows are invalidated cover nothing, in the same commit, whether or not this process refreshes them:
    /// their sources still have these rows.
    fn uncovered(&self, changes: &[Opened]) -> Result<Vec<Opened>> {
        let state = self.store().state();
        let mut positions = Vec::new();
        for change in changes {
            let Opened::Delete { table, invalidates: true, .. } = change else { continue };
            let rules = &local::table_of(&state, *table)?.shape.rules;
            let (Some(_), WritePolicy::Source(fed)) = (&rules.working_set, &rules.write_policy) else {
                continue;
            };
            let is_set = |change: &Opened| matches!(change, Opened::Position { source, .. } if source == fed);
            if !changes.iter().chain(&positions).any(is_set) {
                positions.push(Opened::Position { source: fed.clone(), position: Vec::new() });
            }
        }
        Ok(positions)
    }

    fn encode_keys(&self, table: u64, keys: &[Vec<Value>]) -> Result<KeyColumn> {
        let state = self.store().state();
        let shape = &local::table_of(&state, table)?.shape;
        if shape.primary_key.is_empty() {
            return Err(shape.no_primary_key());
        }
        let mut column = KeyColumn::default();
        for key in keys {
            column.push(&key::encode_key(&shape.schema, &shape.primary_key, key)?);
        }
        Ok(column)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if self.store().is_forked() {
            // The parent process has the threads and goes on with the files.
            self.background.take().map(std::mem::ManuallyDrop::new);
            return;
        }
        // The threads end first: they would take a closed store for a failure.
        drop(self.background.take());
        // Snapshots hold the engine and may outlive this handle.
        let is_shared = Arc::strong_count(&self.local) > 1 || Arc::strong_count(&self.store().state()) > 1;
        if let Err(error) = self.store().close(is_shared) {
            tracing::warn!(%error, "the cache was not closed cleanly; nothing committed is lost");
        }
    }
}

impl Reader for Embedded {
    delegate_reads!(local);

    fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        self.local.sql(text, parameters)
    }
}

impl Writer for Embedded {
    fn define_table(&self, name: &str, definition: TableDefinition) -> Result<TableInfo> {
        let state = self.store().state();
        if let Ok(table) = state.table(name) {
            let info = local::info(&state, table);
            info.check_definition(&definition.rules)?;
            return Ok(info);
        }
        drop(state);
        if name.is_empty() {
            return Err(Error::new(ErrorCode::InvalidArgument, "a table needs a name"));
        }
        let rules = definition.rules.clone();
        match self.define_new(name, definition) {
            Ok(state) => Ok(local::info(&state, state.table(name)?)),
            // Another thread has defined the table meanwhile.
            Err(error) if error.code() == ErrorCode::TableExists => {
                let state = self.store().state();
                let info = local::info(&state, state.table(name)?);
                info.check_definition(&rules)?;
                Ok(info)
            }
            Err(error) => Err(error),
        }
    }

    fn drop_table(&self, name: &str) -> Result<Version> {
        let table = self.store().state().table(name)?.shape.id;
        self.store().write(vec![storage::Change::Drop { table }], SystemTime::now())
    }

    fn write(&self, changes: Vec<ChangeRequest>, as_of: SystemTime) -> Result<Version> {
        let store = self.store();
        store.refuse_unless_writable()?;
        let mut opened: Vec<Opened> =
            changes.into_iter().map(|change| self.open_change(change)).collect::<Result<_>>()?;
        let uncovered = self.uncovered(&opened)?;
        opened.extend(uncovered);
        let changes = opened.iter_mut().map(Opened::change).collect();
        store.write_if_wanted(changes, as_of, &|| match Canceller::is_current_cancelled() {
            false => Ok(()),
            true => Err(Error::new(ErrorCode::Cancelled, "the write was given up before it was committed")),
        })
    }

    fn execute(&self, text: &str, parameters: &[Value], permitted: Option<&Permitted>) -> Result<Executed> {
        self.modify(text, parameters, permitted, &|name| self.drop_table(name))
    }
}

impl Upkeep for Embedded {
    fn compact(&self) -> Result<()> {
        self.store().refuse_unless_writable()?;
        let _hurry = self.store().hurry();
        let (store, recording) = (self.store(), self.local.recording());
        let expired = recording.upkeep(UpkeepWork::Expire, || store.expire(SystemTime::now(), &|| false));
        recording.upkeep(UpkeepWork::Fold, || store.fold()).and(expired)
    }

    fn sync(&self) -> Result<()> {
        self.local.recording().upkeep(UpkeepWork::Sync, || self.store().sync())
    }

    fn close(&self) -> Result<()> {
        self.store().close(true)
    }

    fn adjust(&self, options: &CacheOptions) -> Result<()> {
        self.store().refuse_if_forked()?;
        options.check()?;
        self.store().limit_disk(options.disk_limit);
        self.store().limit_moves(options.compaction_throughput);
        Ok(())
    }
}

#[cfg(feature = "sidecar")]
impl Served for Embedded {
    fn maps(&self) -> Option<Arc<Maps>> {
        Some(self.store().files().maps.clone())
    }

    fn identity(&self) -> Option<(u64, u64)> {
        self.store().files().identity()
    }

    fn includes(&self, version: Version) -> Result<Option<bool>> {
        self.local.includes(version)
    }
}

#[cfg(not(feature = "sidecar"))]
impl Served for Embedded {}

impl Backend for Embedded {
    fn way(&self) -> Way {
        Way::Embedded
    }

    fn messages_sent(&self) -> u64 {
        0
    }

    fn pin(&self) -> Result<Arc<dyn Reader>> {
        self.local.pin()
    }

    fn prepare(self: Arc<Self>, text: &str) -> Result<Arc<dyn Statement>> {
        self.local.clone().prepare(text)
    }

    fn changes(&self, table: u64, since: Version) -> Result<Batches> {
        self.local.changes(self.store().files(), table, since)
    }

    fn source_position(&self, source: &str) -> Result<Option<Vec<u8>>> {
        self.local.source_position(source)
    }

    fn recording(&self) -> &Recording {
        self.local.recording()
    }

    fn refreshing(&self) -> Option<&dyn Refreshing> {
        None
    }

    fn status(&self) -> Result<Status> {
        let state = self.store().state();
        Ok(Status {
            way: Way::Embedded,
            dir: self.store().dir().to_owned(),
            version: state.version,
            tables: local::tables(&state),
            damage: self.store().damage().map(str::to_owned),
            poisoned: self.store().poison(),
            owner: None,
        })
    }
}
