//! Embedded: the cache runs in this process.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parking_lot::{Condvar, Mutex};

use crate::api::backend::{Backend, Reader, Statement};
use crate::api::batches::{AnswerInfo, Batches, IteratorSource};
use crate::api::cache::{Status, Way};
use crate::api::definition::TableDefinition;
use crate::api::error::{Error, ErrorCode, Result};
use crate::api::key::Key;
use crate::api::options::{CacheOptions, Durability};
use crate::api::row::{ColumnIndex, Row};
use crate::api::table::TableInfo;
use crate::api::value::Value;
use crate::api::version::{Freshness, Tier, Version};
use crate::source::Input;
use crate::storage::{Files, OsVfs, State, Store, Sync, TableShape, TableState, check_storable, key};

/// How often the background thread looks for work that has no clock of its own.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The cache in this process.
#[derive(Debug)]
pub(crate) struct Embedded {
    // Stopped before the store is closed.
    upkeep: Option<Upkeep>,
    store: Arc<Store>,
    #[cfg(feature = "sql")]
    engine: crate::query::Engine,
}

impl Embedded {
    pub(crate) fn open(dir: &Path, options: CacheOptions) -> Result<Self> {
        let sync = match options.durability {
            Durability::Always => Sync::Always,
            Durability::Interval(_) | Durability::Never => Sync::Later,
        };
        let store = Arc::new(Store::open(files(dir)?, sync, options.load_memory)?);
        let upkeep = Upkeep::start(store.clone(), options.durability)?;
        Self::new(store, Some(upkeep), options)
    }

    pub(crate) fn open_read_only(dir: &Path, options: CacheOptions) -> Result<Self> {
        Self::new(Arc::new(Store::open_read_only(files(dir)?)?), None, options)
    }

    #[cfg_attr(
        not(feature = "sql"),
        expect(clippy::unnecessary_wraps, reason = "fails only with the query engine")
    )]
    fn new(store: Arc<Store>, upkeep: Option<Upkeep>, options: CacheOptions) -> Result<Self> {
        #[cfg(not(feature = "sql"))]
        drop(options);
        Ok(Self {
            upkeep,
            store,
            #[cfg(feature = "sql")]
            engine: crate::query::Engine::new(options)?,
        })
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.store.state())
    }

    #[cfg(feature = "sql")]
    fn query(&self, state: &Arc<State>, text: &str, parameters: &[Value]) -> Result<Batches> {
        self.engine.query(state, text, parameters)
    }

    #[cfg(not(feature = "sql"))]
    fn query(&self, _: &Arc<State>, _: &str, _: &[Value]) -> Result<Batches> {
        Err(without_sql())
    }
}

#[cfg(not(feature = "sql"))]
fn without_sql() -> Error {
    Error::new(
        ErrorCode::Unsupported,
        "this build has no SQL: enable the feature `sql` of the crate `pillion`",
    )
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.upkeep.take());
        if let Err(error) = self.store.close() {
            tracing::warn!(%error, "the cache was not closed cleanly; nothing committed is lost");
        }
    }
}

impl Reader for Embedded {
    fn version(&self) -> Result<Version> {
        Ok(self.store.state().version)
    }

    fn tables(&self) -> Result<Vec<TableInfo>> {
        Ok(read::tables(&self.store.state()))
    }

    fn table(&self, name: &str) -> Result<TableInfo> {
        let state = self.store.state();
        Ok(read::info(&state, state.table(name)?))
    }

    fn table_by_id(&self, table: u64) -> Result<TableInfo> {
        let state = self.store.state();
        Ok(read::info(&state, read::table(&state, table)?))
    }

    fn get(&self, table: u64, key: &dyn Key) -> Result<Option<Row>> {
        read::get(&self.store.state(), table, key)
    }

    fn get_many(&self, table: u64, keys: &mut dyn Iterator<Item = &dyn Key>) -> Result<Vec<Option<Row>>> {
        let state = self.store.state();
        keys.map(|key| read::get(&state, table, key)).collect()
    }

    fn scan(&self, table: u64, columns: Option<&[String]>) -> Result<Batches> {
        read::scan(&self.store.state(), table, columns)
    }

    fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        self.query(&self.state(), text, parameters)
    }
}

impl Backend for Embedded {
    fn way(&self) -> Way {
        Way::Embedded
    }

    fn pin(&self) -> Result<Arc<dyn Reader>> {
        Ok(Arc::new(Pinned {
            state: self.state(),
            #[cfg(feature = "sql")]
            engine: self.engine.clone(),
        }))
    }

    #[cfg(feature = "sql")]
    fn prepare(self: Arc<Self>, text: &str) -> Result<Arc<dyn Statement>> {
        let plan = self.engine.prepare(&self.state(), text)?;
        Ok(Arc::new(EmbeddedStatement { cache: self, plan }))
    }

    #[cfg(not(feature = "sql"))]
    fn prepare(self: Arc<Self>, _: &str) -> Result<Arc<dyn Statement>> {
        Err(without_sql())
    }

    fn define_table(&self, name: &str, definition: TableDefinition) -> Result<TableInfo> {
        let state = self.store.state();
        if let Ok(table) = state.table(name) {
            return existing_table(&state, table, &definition);
        }
        drop(state);
        if name.is_empty() {
            return Err(Error::new(ErrorCode::InvalidArgument, "a table needs a name"));
        }
        self.store.refuse_unless_writable()?;
        let as_of = SystemTime::now();
        let mut input = definition.input.open()?;
        let shape = table_shape(name, &input.schema, &definition.primary_key, &definition.sort_by)?;
        let state = self.store.create_table(shape, as_of, &mut input.batches)?;
        Ok(read::info(&state, state.table(name)?))
    }

    fn drop_table(&self, name: &str) -> Result<Version> {
        self.store.drop_table(name)
    }

    fn append(&self, table: u64, rows: Input) -> Result<Version> {
        self.store.refuse_unless_writable()?;
        let as_of = SystemTime::now();
        self.store.append(table, as_of, &mut rows.open()?.batches)
    }

    fn replace(&self, table: u64, rows: Input) -> Result<Version> {
        self.store.refuse_unless_writable()?;
        let as_of = SystemTime::now();
        self.store.replace(table, as_of, &mut rows.open()?.batches)
    }

    fn sync(&self) -> Result<()> {
        self.store.sync()
    }

    fn status(&self) -> Result<Status> {
        let state = self.store.state();
        Ok(Status {
            way: Way::Embedded,
            dir: self.store.dir().to_owned(),
            read_only: self.store.is_read_only(),
            version: state.version,
            tables: read::tables(&state),
            damage: self.store.damage().map(str::to_owned),
        })
    }

    fn close(&self) -> Result<()> {
        self.store.close()
    }
}

/// One version, held.
#[derive(Debug)]
pub(crate) struct Pinned {
    state: Arc<State>,
    #[cfg(feature = "sql")]
    engine: crate::query::Engine,
}

impl Reader for Pinned {
    fn version(&self) -> Result<Version> {
        Ok(self.state.version)
    }

    fn tables(&self) -> Result<Vec<TableInfo>> {
        Ok(read::tables(&self.state))
    }

    fn table(&self, name: &str) -> Result<TableInfo> {
        Ok(read::info(&self.state, self.state.table(name)?))
    }

    fn table_by_id(&self, table: u64) -> Result<TableInfo> {
        Ok(read::info(&self.state, read::table(&self.state, table)?))
    }

    fn get(&self, table: u64, key: &dyn Key) -> Result<Option<Row>> {
        read::get(&self.state, table, key)
    }

    fn get_many(&self, table: u64, keys: &mut dyn Iterator<Item = &dyn Key>) -> Result<Vec<Option<Row>>> {
        keys.map(|key| read::get(&self.state, table, key)).collect()
    }

    fn scan(&self, table: u64, columns: Option<&[String]>) -> Result<Batches> {
        read::scan(&self.state, table, columns)
    }

    #[cfg(feature = "sql")]
    fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        self.engine.query(&self.state, text, parameters)
    }

    #[cfg(not(feature = "sql"))]
    fn sql(&self, _: &str, _: &[Value]) -> Result<Batches> {
        Err(without_sql())
    }
}

#[cfg(feature = "sql")]
#[derive(Debug)]
struct EmbeddedStatement {
    cache: Arc<Embedded>,
    plan: crate::query::PreparedPlan,
}

#[cfg(feature = "sql")]
impl Statement for EmbeddedStatement {
    fn parameters(&self) -> usize {
        self.plan.parameters()
    }

    fn execute(&self, at: Option<&dyn Reader>, parameters: &[Value]) -> Result<Batches> {
        let state = match at {
            None => self.cache.state(),
            Some(reader) => match (reader as &dyn std::any::Any).downcast_ref::<Pinned>() {
                Some(pinned) if pinned.engine.is(&self.cache.engine) => pinned.state.clone(),
                _ => return Err(Error::new(ErrorCode::InvalidArgument, "the snapshot is of another cache")),
            },
        };
        self.cache.engine.execute(&state, &self.plan, parameters)
    }
}

/// Reads of one state.
mod read {
    use super::*;

    pub(super) fn table(state: &State, id: u64) -> Result<&Arc<TableState>> {
        state.tables.get(&id).ok_or_else(|| {
            Error::new(ErrorCode::TableNotFound, "the table was dropped; look it up again by its name")
        })
    }

    #[inline]
    pub(super) fn get(state: &State, id: u64, key: &dyn Key) -> Result<Option<Row>> {
        let table = table(state, id)?;
        let shape = &table.shape;
        if shape.primary_key.is_empty() {
            return Err(Error::new(
                ErrorCode::NoPrimaryKey,
                format!("table `{}` has no primary key; define it with one, or use SQL", shape.name),
            ));
        }
        let key = key::encode_key(&shape.schema, &shape.primary_key, key)?;
        match table.find(&key)? {
            Some((segment, row)) => Row::new(segment.clone(), row, state.version, freshness(table)).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn scan(state: &State, id: u64, columns: Option<&[String]>) -> Result<Batches> {
        let table = table(state, id)?;
        let full = &table.shape.schema;
        let projection: Vec<usize> = match columns {
            Some(columns) => columns.iter().map(|name| name.index_in(full)).collect::<Result<_>>()?,
            None => (0..full.fields().len()).collect(),
        };
        let schema: SchemaRef = match columns {
            Some(_) => Arc::new(
                full.project(&projection)
                    .map_err(|error| Error::internal("cannot project a schema").with_source(error))?,
            ),
            None => full.clone(),
        };
        let answer = schema.clone();
        let segments = table.segments.clone().into_iter();
        let batches =
            segments.flat_map(move |segment| -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
                let count = match segment.open() {
                    Ok(open) => open.batch_count(),
                    Err(error) => return Box::new(std::iter::once(Err(error))),
                };
                let (projection, schema) = (projection.clone(), schema.clone());
                Box::new((0..count).map(move |batch| segment.open()?.read_batch(batch, &projection, &schema)))
            });
        let info = AnswerInfo { version: state.version, freshness: freshness(table), tier: Tier::Local };
        Ok(Batches::new(answer, info, Box::new(IteratorSource(batches))))
    }

    pub(super) fn tables(state: &State) -> Vec<TableInfo> {
        let mut tables: Vec<_> = state.tables.values().map(|table| info(state, table)).collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }

    pub(super) fn info(state: &State, table: &TableState) -> TableInfo {
        let shape = &table.shape;
        let names = |columns: &[usize]| {
            columns.iter().map(|&column| shape.schema.field(column).name().clone()).collect()
        };
        TableInfo {
            id: shape.id,
            name: shape.name.clone(),
            schema: shape.schema.clone(),
            primary_key: names(&shape.primary_key),
            sort_by: names(&shape.sort_by),
            rows: table.rows(),
            bytes: table.bytes(),
            segments: table.segments.len(),
            freshness: freshness(table),
            version: state.version,
        }
    }
}

/// How fresh a table is.
pub(crate) fn freshness(table: &TableState) -> Option<Freshness> {
    let nanoseconds = u64::try_from(table.as_of?).ok()?;
    Some(Freshness { as_of: SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds) })
}

fn files(dir: &Path) -> Result<Files> {
    let dir = std::path::absolute(dir).map_err(|error| Error::io("find", dir, error))?;
    Ok(Files { dir, vfs: Arc::new(OsVfs) })
}

fn existing_table(state: &State, table: &TableState, definition: &TableDefinition) -> Result<TableInfo> {
    let info = read::info(state, table);
    let sort_by = if definition.sort_by.is_empty() { &definition.primary_key } else { &definition.sort_by };
    if info.primary_key == definition.primary_key && &info.sort_by == sort_by {
        return Ok(info);
    }
    Err(Error::new(
        ErrorCode::TableExists,
        format!(
            "table `{}` exists with primary key ({}) and sort order ({}), not ({}) and ({}); drop it first",
            info.name,
            info.primary_key.join(", "),
            info.sort_by.join(", "),
            definition.primary_key.join(", "),
            sort_by.join(", ")
        ),
    ))
}

/// Checks a definition against the columns of its input.
fn table_shape(
    name: &str,
    schema: &SchemaRef,
    primary_key: &[String],
    sort_by: &[String],
) -> Result<TableShape> {
    let unsupported = |reason| Error::new(ErrorCode::UnsupportedType, reason);
    let schema: SchemaRef = Arc::new(Schema::new(schema.fields().clone()));
    let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let message = format!("two columns are called `{}`; rename one", pair[0]);
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    schema.fields().iter().try_for_each(|field| check_storable(field).map_err(unsupported))?;
    let find = |columns: &[String]| -> Result<Vec<usize>> {
        let mut found = Vec::new();
        for column in columns {
            let index = column.index_in(&schema)?;
            if found.contains(&index) {
                let message = format!("column `{column}` is named twice");
                return Err(Error::new(ErrorCode::InvalidArgument, message));
            }
            found.push(index);
        }
        Ok(found)
    };
    let primary_key = find(primary_key)?;
    for &column in &primary_key {
        let field = schema.field(column);
        if !key::is_key_type(field.data_type()) {
            let (name, data_type) = (field.name(), field.data_type());
            return Err(unsupported(format!(
                "column `{name}` is {data_type}, which cannot be part of a primary key"
            )));
        }
    }
    let sort_by = if sort_by.is_empty() { primary_key.clone() } else { find(sort_by)? };
    for &column in &sort_by {
        let field = schema.field(column);
        if field.data_type().is_nested() {
            return Err(unsupported(format!("column `{}` is nested and cannot be sorted by", field.name())));
        }
    }
    Ok(TableShape { id: 0, name: name.to_owned(), schema, primary_key, sort_by })
}

/// The background thread: makes commits durable and writes checkpoints.
#[derive(Debug)]
struct Upkeep {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Upkeep {
    fn start(store: Arc<Store>, durability: Durability) -> Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let signal = stop.clone();
        let interval = match durability {
            Durability::Interval(interval) => interval,
            Durability::Always | Durability::Never => UPKEEP_INTERVAL,
        };
        let thread = std::thread::Builder::new()
            .name("pillion-upkeep".to_owned())
            .spawn(move || {
                let (stopped, condition) = &*signal;
                let mut stopped = stopped.lock();
                while !*stopped {
                    condition.wait_for(&mut stopped, interval);
                    if *stopped {
                        return;
                    }
                    // A failure poisons the store, which logged it; the next writer is told.
                    let result = match durability {
                        Durability::Interval(_) => store.sync(),
                        Durability::Always | Durability::Never => store.checkpoint_if_due(),
                    };
                    if result.is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| Error::new(ErrorCode::Io, "cannot start a thread").with_source(error))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the background thread of the cache panicked");
        }
    }
}
