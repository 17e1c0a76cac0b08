//! Adds bound rows to a table, and creates it where the mode says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adbc_core::error::{Result, Status};
use adbc_core::options::IngestMode;
use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use pillion::{Cache, Error, ErrorCode, Input, Table, TableDefinition, TableInfo};
use pillion_rows::Fitted;

use crate::binding::Bound;
use crate::cancelling::Cancelling;
use crate::errors::{refusal, told};

/// Which table bound rows are added to, and how.
#[derive(Clone)]
pub(crate) struct Ingest {
    pub(crate) table: String,
    pub(crate) mode: IngestMode,
    /// Of a table that is created.
    pub(crate) primary_key: Vec<String>,
    /// Of a table that is created.
    pub(crate) sort_by: Vec<String>,
    /// Whether added rows replace those that have their keys.
    pub(crate) upsert: bool,
}

impl Ingest {
    /// Adds rows to the table, in one commit, and returns how many there were.
    ///
    /// [`IngestMode::Replace`] keeps the rules of a table that has the columns of the rows, and replaces its rows in one commit. A
    /// table with other columns is dropped first, which is a commit of its own.
    ///
    /// # Errors
    /// [`Status::AlreadyExists`] for a table that is there and may not be, or has other columns; [`Status::NotFound`] for one that is
    /// not there; those of a write. The table is then as before, except that one with other columns stays dropped.
    pub(crate) fn run(&self, cache: &Cache, bound: Bound, cancelling: &Cancelling) -> Result<i64> {
        let lent = Lent::new(bound);
        let shared = lent.shared.clone();
        cancelling.begin(move || shared.given_up.store(true, Ordering::Relaxed));
        let done = self.write(cache, &lent);
        cancelling.rest();
        done.map_err(|error| match error.code() {
            // The rows may be there although they were given up.
            ErrorCode::OutcomeUnknown => told(&error),
            _ if lent.shared.given_up.load(Ordering::Relaxed) => {
                told(&Error::new(ErrorCode::Cancelled, "the rows were given up; nothing was added"))
            }
            // What ADBC asks for.
            ErrorCode::SchemaMismatch => {
                let mut told = told(&error);
                told.status = Status::AlreadyExists;
                told
            }
            _ => told(&error),
        })?;
        i64::try_from(lent.shared.rows().count)
            .map_err(|_| refusal(Status::Internal, "more rows than a number of ADBC holds"))
    }

    fn write(&self, cache: &Cache, lent: &Lent) -> pillion::Result<()> {
        match self.mode {
            IngestMode::Create => self.create(cache, lent),
            IngestMode::Append => self.append(&cache.table(&self.table)?, lent),
            IngestMode::CreateAppend => match self.there(cache)? {
                Some(table) => self.append(&table, lent),
                // Somebody else may create it first.
                None => match self.create(cache, lent) {
                    Err(error) if error.code() == ErrorCode::TableExists && !lent.shared.rows().is_read => {
                        self.append(&cache.table(&self.table)?, lent)
                    }
                    done => done,
                },
            },
            IngestMode::Replace => match self.there(cache)? {
                Some(table) if self.keeps(&table.info()?, &lent.schema) => {
                    table.replace(lent.input(Some(table.schema()))).map(drop)
                }
                Some(_) => {
                    cache.drop_table(&self.table)?;
                    self.create(cache, lent)
                }
                None => self.create(cache, lent),
            },
        }
    }

    fn there(&self, cache: &Cache) -> pillion::Result<Option<Table>> {
        match cache.table(&self.table) {
            Ok(table) => Ok(Some(table)),
            Err(error) if error.code() == ErrorCode::TableNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether rows with these columns can take the place of the rows of a table.
    fn keeps(&self, info: &TableInfo, rows: &SchemaRef) -> bool {
        let (held, given) = (info.schema.fields(), rows.fields());
        let is_same_key = self.primary_key.is_empty() || self.primary_key == info.rules.primary_key;
        let is_same_order = self.sort_by.is_empty() || self.sort_by == info.rules.sort_by;
        is_same_key
            && is_same_order
            && held.len() == given.len()
            && held
                .iter()
                .zip(given)
                .all(|(held, given)| held.name() == given.name() && held.data_type() == given.data_type())
    }

    fn create(&self, cache: &Cache, lent: &Lent) -> pillion::Result<()> {
        let exists = || {
            let message = format!("table `{}` exists; append to it, or replace it", self.table);
            Error::new(ErrorCode::TableExists, message)
        };
        if self.there(cache)?.is_some() {
            return Err(exists());
        }
        let mut definition = TableDefinition::new(lent.input(None)).primary_key(&self.primary_key);
        if !self.sort_by.is_empty() {
            definition = definition.sort_by(&self.sort_by);
        }
        cache.define_table(&self.table, definition)?;
        // A table that somebody else has created meanwhile was left as it is, and nobody has read the rows.
        if lent.shared.rows().is_read { Ok(()) } else { Err(exists()) }
    }

    fn append(&self, table: &Table, lent: &Lent) -> pillion::Result<()> {
        let input = lent.input(Some(table.schema()));
        if self.upsert { table.upsert(input) } else { table.append(input) }.map(drop)
    }
}

/// Bound rows that are lent to a write, and come back if it does not read them.
struct Lent {
    schema: SchemaRef,
    shared: Arc<Shared>,
}

struct Shared {
    rows: Mutex<Rows>,
    given_up: AtomicBool,
}

impl Shared {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Rows {
    bound: Bound,
    count: u64,
    is_read: bool,
}

impl Lent {
    fn new(bound: Bound) -> Self {
        let schema = bound.schema();
        let rows = Mutex::new(Rows { bound, count: 0, is_read: false });
        Self { schema, shared: Arc::new(Shared { rows, given_up: AtomicBool::new(false) }) }
    }

    /// The rows for a write, with the types of a table.
    fn input(&self, table: Option<&SchemaRef>) -> Input {
        let reader = LentReader { schema: self.schema.clone(), shared: self.shared.clone() };
        Input::reader(Fitted::new(reader, table))
    }
}

struct LentReader {
    schema: SchemaRef,
    shared: Arc<Shared>,
}

impl Iterator for LentReader {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.shared.given_up.load(Ordering::Relaxed) {
            return Some(Err(ArrowError::ExternalError("cancelled".into())));
        }
        let mut rows = self.shared.rows();
        rows.is_read = true;
        let next = rows.bound.next()?;
        if let Ok(batch) = &next {
            rows.count += batch.num_rows() as u64;
        }
        Some(next)
    }
}

impl RecordBatchReader for LentReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
