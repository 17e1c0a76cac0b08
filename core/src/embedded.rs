//! Embedded: the cache runs in this process, which owns the directory.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arrow::datatypes::{Schema, SchemaRef};
use parking_lot::{Condvar, Mutex};

use crate::api::backend::{Backend, Reader, Statement, delegate_reads};
use crate::api::batches::Batches;
use crate::api::cache::{Status, Way};
use crate::api::definition::TableDefinition;
use crate::api::error::{Error, ErrorCode, Result};
use crate::api::options::{CacheOptions, Durability};
use crate::api::row::ColumnIndex;
use crate::api::table::TableInfo;
use crate::api::value::Value;
use crate::api::version::Version;
use crate::local::{self, Local};
use crate::source::Input;
#[cfg(feature = "sidecar")]
use crate::storage::Maps;
use crate::storage::{Files, Store, Sync, TableShape, check_storable, key};

/// How often the background thread looks for work that has no clock of its own, and says that it lives.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The cache in this process.
#[derive(Debug)]
pub(crate) struct Embedded {
    upkeep: Option<Upkeep>,
    local: Arc<Local<Arc<Store>>>,
}

impl Embedded {
    pub(crate) fn open(dir: &Path, options: CacheOptions) -> Result<Self> {
        let sync = match options.durability {
            Durability::Always => Sync::Always,
            Durability::Interval(_) | Durability::Never => Sync::Later,
        };
        let store = Arc::new(Store::open(Files::below(dir)?, sync, options.load_memory)?);
        let upkeep = Upkeep::start(store.clone(), options.durability)?;
        Ok(Self { upkeep: Some(upkeep), local: Arc::new(Local::new(store, options)?) })
    }

    fn store(&self) -> &Store {
        self.local.source()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if self.store().is_forked() {
            // The parent has the thread and goes on with the files.
            self.upkeep.take().map(std::mem::ManuallyDrop::new);
            return;
        }
        // The thread must not find the store closed and take that for a failure.
        drop(self.upkeep.take());
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

impl Backend for Embedded {
    fn way(&self) -> Way {
        Way::Embedded
    }

    #[cfg(feature = "sidecar")]
    fn maps(&self) -> Option<Arc<Maps>> {
        Some(self.store().files().maps.clone())
    }

    #[cfg(feature = "sidecar")]
    fn identity(&self) -> Option<(u64, u64)> {
        self.store().files().identity()
    }

    #[cfg(feature = "sidecar")]
    fn includes(&self, version: Version) -> Result<Option<bool>> {
        self.local.includes(version)
    }

    fn pin(&self) -> Result<Arc<dyn Reader>> {
        self.local.pin()
    }

    fn prepare(self: Arc<Self>, text: &str) -> Result<Arc<dyn Statement>> {
        self.local.clone().prepare(text)
    }

    fn define_table(&self, name: &str, definition: TableDefinition) -> Result<TableInfo> {
        let state = self.store().state();
        if let Ok(table) = state.table(name) {
            let info = local::info(&state, table);
            info.check_definition(&definition.primary_key, &definition.sort_by)?;
            return Ok(info);
        }
        drop(state);
        if name.is_empty() {
            return Err(Error::new(ErrorCode::InvalidArgument, "a table needs a name"));
        }
        self.store().refuse_unless_writable()?;
        let as_of = SystemTime::now();
        let mut input = definition.input.open(None)?;
        let shape = table_shape(name, &input.schema, &definition.primary_key, &definition.sort_by)?;
        match self.store().create_table(shape, as_of, &mut input.batches) {
            Ok(state) => Ok(local::info(&state, state.table(name)?)),
            // Another thread defined it meanwhile.
            Err(error) if error.code() == ErrorCode::TableExists => {
                let state = self.store().state();
                let info = local::info(&state, state.table(name)?);
                info.check_definition(&definition.primary_key, &definition.sort_by)?;
                Ok(info)
            }
            Err(error) => Err(error),
        }
    }

    fn drop_table(&self, name: &str) -> Result<Version> {
        self.store().drop_table(name)
    }

    fn append(&self, table: u64, rows: Input) -> Result<Version> {
        self.store().refuse_unless_writable()?;
        let as_of = SystemTime::now();
        let schema = self.table_by_id(table)?.schema;
        self.store().append(table, as_of, &mut rows.open(Some(&schema))?.batches)
    }

    fn replace(&self, table: u64, rows: Input) -> Result<Version> {
        self.store().refuse_unless_writable()?;
        let as_of = SystemTime::now();
        let schema = self.table_by_id(table)?.schema;
        self.store().replace(table, as_of, &mut rows.open(Some(&schema))?.batches)
    }

    fn sync(&self) -> Result<()> {
        self.store().sync()
    }

    fn status(&self) -> Result<Status> {
        let state = self.store().state();
        Ok(Status {
            way: Way::Embedded,
            dir: self.store().dir().to_owned(),
            version: state.version,
            tables: local::tables(&state),
            damage: self.store().damage().map(str::to_owned),
            owner: None,
        })
    }

    fn close(&self) -> Result<()> {
        self.store().close(true)
    }
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
        let sync_interval = match durability {
            Durability::Interval(interval) => Some(interval),
            Durability::Always | Durability::Never => None,
        };
        let thread = std::thread::Builder::new()
            .name("pillion-upkeep".to_owned())
            .spawn(move || {
                let (stopped, condition) = &*signal;
                let mut stopped = stopped.lock();
                let mut synced_at = Instant::now();
                while !*stopped {
                    condition.wait_for(
                        &mut stopped,
                        sync_interval.unwrap_or(UPKEEP_INTERVAL).min(UPKEEP_INTERVAL),
                    );
                    if *stopped {
                        return;
                    }
                    let mut result = store.upkeep();
                    if let Some(interval) = sync_interval
                        && synced_at.elapsed() >= interval
                    {
                        result = result.and_then(|()| store.sync());
                        synced_at = Instant::now();
                    }
                    // The store is closed or poisoned, which it logged; the next writer is told.
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
