//! Lookups by key: prepared statements, one row each.

use std::path::Path;

use pillion_benches::Result;
use pillion_benches::data::{Keys, Trip, TripKeys};
use pillion_benches::harness::{Contestant, Sink};
use pillion_benches::workload::{MANY, POINT_SQL};
use rusqlite::{Connection, Statement};

use super::{keep_open, read_point};

/// Looks a key up and reads every column.
#[derive(Debug)]
pub struct GetPoint {
    statement: Statement<'static>,
    keys: Keys,
}

impl GetPoint {
    /// Each lookup at the newest version.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn new(file: &Path, keys: Keys) -> Result<Self> {
        Ok(Self { statement: keep_open(file)?.prepare(POINT_SQL)?, keys })
    }

    /// All lookups in one transaction.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn in_transaction(file: &Path, keys: Keys) -> Result<Self> {
        let connection = keep_open(file)?;
        connection.execute_batch("BEGIN")?;
        Ok(Self { statement: connection.prepare(POINT_SQL)?, keys })
    }
}

impl Contestant for GetPoint {
    #[inline]
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.statement.raw_bind_parameter(1, self.keys.present(call))?;
        read_point(self.statement.raw_query().next()?.ok_or("a row is missing")?, sink)
    }
}

/// Looks up a key that is not there.
#[derive(Debug)]
pub struct GetAbsent {
    statement: Statement<'static>,
    keys: Keys,
}

impl GetAbsent {
    /// Each lookup at the newest version.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn new(file: &Path, keys: Keys) -> Result<Self> {
        Ok(Self { statement: keep_open(file)?.prepare(POINT_SQL)?, keys })
    }
}

impl Contestant for GetAbsent {
    #[inline]
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.statement.raw_bind_parameter(1, self.keys.absent(call))?;
        let absent = self.statement.raw_query().next()?.is_none();
        sink.text(if absent { "absent" } else { "present" });
        sink.end_row();
        Ok(())
    }
}

/// Looks up a key of three columns and reads every column.
#[derive(Debug)]
pub struct GetTrip {
    statement: Statement<'static>,
    keys: TripKeys,
    asked: Trip,
}

impl GetTrip {
    /// Each lookup at the newest version.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn new(file: &Path, keys: TripKeys) -> Result<Self> {
        let sql = "SELECT moment, carrier, number, delay, origin FROM trips
                   WHERE moment = ?1 AND carrier = ?2 AND number = ?3";
        Ok(Self { statement: keep_open(file)?.prepare(sql)?, keys, asked: keys.present(0) })
    }
}

impl Contestant for GetTrip {
    fn prepare(&mut self, call: u64) -> Result<()> {
        self.asked = self.keys.present(call);
        Ok(())
    }

    #[inline]
    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        self.statement.raw_bind_parameter(1, self.asked.moment)?;
        self.statement.raw_bind_parameter(2, self.asked.carrier.as_str())?;
        self.statement.raw_bind_parameter(3, self.asked.number)?;
        let mut rows = self.statement.raw_query();
        let row = rows.next()?.ok_or("a row is missing")?;
        sink.int(row.get_ref(0)?.as_i64()?);
        sink.text(row.get_ref(1)?.as_str()?);
        sink.int(row.get_ref(2)?.as_i64()?);
        sink.float(row.get_ref(3)?.as_f64()?);
        sink.text(row.get_ref(4)?.as_str()?);
        sink.end_row();
        Ok(())
    }
}

/// Looks many keys up one by one in a transaction, which is how all of them see one version.
#[derive(Debug)]
pub struct GetMany {
    connection: &'static Connection,
    statement: Statement<'static>,
    keys: Keys,
    asked: Vec<i64>,
}

impl GetMany {
    /// Each call at the newest version.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn new(file: &Path, keys: Keys) -> Result<Self> {
        let connection = keep_open(file)?;
        Ok(Self { connection, statement: connection.prepare(POINT_SQL)?, keys, asked: Vec::new() })
    }
}

impl Contestant for GetMany {
    fn prepare(&mut self, call: u64) -> Result<()> {
        self.asked = self.keys.many(call, MANY).collect();
        Ok(())
    }

    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        for &key in &self.asked {
            self.statement.raw_bind_parameter(1, key)?;
            read_point(self.statement.raw_query().next()?.ok_or("a row is missing")?, sink)?;
        }
        Ok(transaction.commit()?)
    }
}
