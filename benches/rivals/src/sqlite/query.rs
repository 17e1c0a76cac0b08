//! Queries.

use std::path::Path;

use pillion_benches::Result;
use pillion_benches::data::Keys;
use pillion_benches::harness::{Contestant, Sink};
use pillion_benches::workload::{COMPUTED_SQL, GROUPS_SQL, RANGE_ROWS, RANGE_SQL, point_text};
use rusqlite::{Connection, Statement};

use super::{keep_open, read_point};

/// A query of one row, as text.
#[derive(Debug)]
pub struct PointText {
    connection: &'static Connection,
    keys: Keys,
    text: String,
}

impl PointText {
    /// Each query at the newest version.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn new(file: &Path, keys: Keys) -> Result<Self> {
        Ok(Self { connection: keep_open(file)?, keys, text: String::new() })
    }
}

impl Contestant for PointText {
    fn prepare(&mut self, call: u64) -> Result<()> {
        self.text = point_text(self.keys.present(call));
        Ok(())
    }

    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        let mut statement = self.connection.prepare(&self.text)?;
        read_point(statement.raw_query().next()?.ok_or("a row is missing")?, sink)
    }
}

/// A prepared query of a range of keys.
#[derive(Debug)]
pub struct Range {
    statement: Statement<'static>,
    keys: Keys,
}

impl Range {
    /// Each query at the newest version.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn new(file: &Path, keys: Keys) -> Result<Self> {
        Ok(Self { statement: keep_open(file)?.prepare(RANGE_SQL)?, keys })
    }
}

impl Contestant for Range {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let (from, to) = self.keys.range(call, RANGE_ROWS);
        self.statement.raw_bind_parameter(1, from)?;
        self.statement.raw_bind_parameter(2, to)?;
        let mut rows = self.statement.raw_query();
        while let Some(row) = rows.next()? {
            read_point(row, sink)?;
        }
        Ok(())
    }
}

/// A query of all rows, as text.
#[derive(Debug)]
pub struct Groups {
    connection: &'static Connection,
}

impl Groups {
    /// Each query at the newest version.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn new(file: &Path) -> Result<Self> {
        Ok(Self { connection: keep_open(file)? })
    }
}

impl Contestant for Groups {
    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        let mut statement = self.connection.prepare(GROUPS_SQL)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            sink.text(row.get_ref(0)?.as_str()?);
            sink.int(row.get_ref(1)?.as_i64()?);
            sink.float(row.get_ref(2)?.as_f64()?);
            sink.int(row.get_ref(3)?.as_i64()?);
            sink.end_row();
        }
        Ok(())
    }
}

/// A query of which the answer is a tenth of the rows, computed, as text.
#[derive(Debug)]
pub struct Computed {
    connection: &'static Connection,
}

impl Computed {
    /// Each query at the newest version.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn new(file: &Path) -> Result<Self> {
        Ok(Self { connection: keep_open(file)? })
    }
}

impl Contestant for Computed {
    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        let mut statement = self.connection.prepare(COMPUTED_SQL)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            sink.int(row.get_ref(0)?.as_i64()?);
            sink.float(row.get_ref(1)?.as_f64()?);
            sink.text(row.get_ref(2)?.as_str()?);
            sink.text(row.get_ref(3)?.as_str()?);
            sink.end_row();
        }
        Ok(())
    }
}
