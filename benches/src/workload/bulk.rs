//! Opening and loading.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use pillion::{Cache, Input, Table};

use super::lookup::read_point;
use super::query::read;
use super::{LOADED_SQL, Stored};
use crate::Result;
use crate::data::{Keys, Points};
use crate::harness::{Contestant, Sink};

/// Opens a cache and looks up a first key. Closing it is not timed.
#[derive(Debug)]
pub struct OpenAndGet {
    dir: PathBuf,
    keys: Keys,
    opened: Option<Cache>,
}

impl OpenAndGet {
    /// Openings of the cache in `dir`, which nobody owns.
    pub fn new(dir: impl Into<PathBuf>, keys: Keys) -> Self {
        Self { dir: dir.into(), keys, opened: None }
    }
}

impl Contestant for OpenAndGet {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let cache = self.opened.insert(Cache::open(&self.dir)?);
        let row = cache.table(Points::NAME)?.get(self.keys.present(call))?;
        read_point(row.as_ref(), sink)
    }

    fn finish(&mut self) -> Result<()> {
        if let Some(cache) = self.opened.take() {
            cache.close()?;
        }
        Ok(())
    }
}

/// Replaces all rows of a table.
#[derive(Debug)]
pub struct Replace {
    // Declared before its cache, so that nothing refers to the folder when the folder is removed.
    table: Table,
    stored: Stored,
    rows: Rows,
    input: Option<Input>,
}

#[derive(Debug)]
enum Rows {
    Batches(Vec<RecordBatch>),
    Parquet(String),
}

impl Replace {
    /// Replaces rows by `batches`.
    ///
    /// # Errors
    /// The first load fails.
    pub fn by_batches(batches: Vec<RecordBatch>) -> Result<Self> {
        let stored = Stored::create()?;
        let table = stored.load_points(batches.clone())?;
        Ok(Self { table, stored, rows: Rows::Batches(batches), input: None })
    }

    /// Replaces rows by those of a Parquet file.
    ///
    /// # Errors
    /// The first load fails.
    pub fn by_parquet(path: impl Into<String>) -> Result<Self> {
        let path = path.into();
        let stored = Stored::create()?;
        let definition = pillion::TableDefinition::parquet(path.clone()).primary_key(["id"]);
        let table = stored.cache().define_table(Points::NAME, definition)?;
        Ok(Self { table, stored, rows: Rows::Parquet(path), input: None })
    }
}

impl Contestant for Replace {
    fn prepare(&mut self, _: u64) -> Result<()> {
        self.input = Some(match &self.rows {
            Rows::Batches(batches) => batches.clone().into(),
            Rows::Parquet(path) => Input::parquet(path.clone()),
        });
        Ok(())
    }

    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        let version = self.table.replace(self.input.take().ok_or("nothing to load")?)?;
        sink.int(version.sequence.cast_signed());
        Ok(())
    }

    fn check(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.call(call, &mut crate::harness::Forget)?;
        read(self.stored.cache().sql(LOADED_SQL, &[])?, sink)
    }
}
