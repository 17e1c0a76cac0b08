//! Opening and loading.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use pillion_benches::Result;
use pillion_benches::data::{Keys, Points};
use pillion_benches::harness::{Contestant, Forget, Sink};
use pillion_benches::workload::{LOADED_SQL, POINT_SQL};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{CREATE_POINTS, insert, open, read_point};

/// Opens a file and looks a first key up. Closing it is not timed.
#[derive(Debug)]
pub struct OpenAndGet {
    file: PathBuf,
    keys: Keys,
    opened: Option<Connection>,
}

impl OpenAndGet {
    /// Openings of `file`.
    pub fn new(file: &Path, keys: Keys) -> Self {
        Self { file: file.to_owned(), keys, opened: None }
    }
}

impl Contestant for OpenAndGet {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let connection = self.opened.insert(open(&self.file)?);
        let mut statement = connection.prepare(POINT_SQL)?;
        statement.raw_bind_parameter(1, self.keys.present(call))?;
        read_point(statement.raw_query().next()?.ok_or("a row is missing")?, sink)
    }

    fn finish(&mut self) -> Result<()> {
        self.opened = None;
        Ok(())
    }
}

/// Loads all rows into a new file in one transaction, which is on disk when the call returns.
///
/// A new file, because it has no old rows to remove; with a rollback journal, because that of a new file is empty,
/// where a write-ahead log would take every page twice.
#[derive(Debug)]
pub struct Load {
    batches: Vec<RecordBatch>,
    dir: TempDir,
    connection: Option<Connection>,
}

impl Load {
    /// Loads of `batches`.
    ///
    /// # Errors
    /// There is no temporary folder.
    pub fn new(batches: Vec<RecordBatch>) -> Result<Self> {
        Ok(Self { batches, dir: tempfile::tempdir()?, connection: None })
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("loaded.sqlite")
    }
}

impl Contestant for Load {
    fn call(&mut self, _: u64, _: &mut impl Sink) -> Result<()> {
        let connection = open(&self.file())?;
        connection.execute_batch("PRAGMA journal_mode = delete; PRAGMA synchronous = normal;")?;
        insert(self.connection.insert(connection), CREATE_POINTS, Points::NAME, &self.batches)
    }

    fn finish(&mut self) -> Result<()> {
        self.connection = None;
        Ok(std::fs::remove_file(self.file())?)
    }

    fn check(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.call(call, &mut Forget)?;
        let connection = self.connection.as_ref().ok_or("nothing was loaded")?;
        let mut statement = connection.prepare(LOADED_SQL)?;
        let mut rows = statement.raw_query();
        let row = rows.next()?.ok_or("no totals")?;
        sink.int(row.get_ref(0)?.as_i64()?);
        sink.int(row.get_ref(1)?.as_i64()?);
        sink.int(row.get_ref(2)?.as_i64()?);
        sink.float(row.get_ref(3)?.as_f64()?);
        sink.text(row.get_ref(4)?.as_str()?);
        sink.end_row();
        Ok(())
    }
}
