//! Lookups by key: statements that are prepared, and texts.

use pillion_benches::Result;
use pillion_benches::data::Keys;
use pillion_benches::harness::{Contestant, Sink};
use pillion_benches::workload::{POINT_SQL, point_text};

use super::Database;
use super::library::{Connection, Statement};

/// Looks a key up and reads every column.
pub struct GetPoint {
    statement: Statement,
    keys: Keys,
}

impl GetPoint {
    /// Each lookup at the newest version.
    ///
    /// # Errors
    /// DuckDB refuses.
    pub fn new(database: &Database, keys: Keys) -> Result<Self> {
        Ok(Self { statement: database.connect()?.prepare(POINT_SQL)?, keys })
    }
}

impl Contestant for GetPoint {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        match self.statement.read_points(self.keys.present(call), sink)? {
            1 => Ok(()),
            rows => Err(format!("{rows} rows with one key").into()),
        }
    }
}

/// Looks up a key that is not there.
pub struct GetAbsent {
    statement: Statement,
    keys: Keys,
}

impl GetAbsent {
    /// Each lookup at the newest version.
    ///
    /// # Errors
    /// DuckDB refuses.
    pub fn new(database: &Database, keys: Keys) -> Result<Self> {
        Ok(Self { statement: database.connect()?.prepare(POINT_SQL)?, keys })
    }
}

impl Contestant for GetAbsent {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let rows = self.statement.read_points(self.keys.absent(call), sink)?;
        sink.text(if rows == 0 { "absent" } else { "present" });
        sink.end_row();
        Ok(())
    }
}

/// A query of one row, as text.
pub struct PointText {
    connection: Connection,
    keys: Keys,
    text: String,
}

impl PointText {
    /// Each query at the newest version.
    ///
    /// # Errors
    /// DuckDB refuses.
    pub fn new(database: &Database, keys: Keys) -> Result<Self> {
        Ok(Self { connection: database.connect()?, keys, text: String::new() })
    }
}

impl Contestant for PointText {
    fn prepare(&mut self, call: u64) -> Result<()> {
        self.text = point_text(self.keys.present(call));
        Ok(())
    }

    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        match self.connection.read_points(&self.text, sink)? {
            1 => Ok(()),
            rows => Err(format!("{rows} rows with one key").into()),
        }
    }
}
