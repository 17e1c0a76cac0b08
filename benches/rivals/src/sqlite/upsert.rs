//! Transactions that replace some rows, one after another.

use std::path::Path;

use arrow::array::RecordBatch;
use pillion_benches::Result;
use pillion_benches::data::Points;
use pillion_benches::harness::{Contestant, Forget, Sink};
use pillion_benches::workload::{POINT_SQL, change, keys};
use rusqlite::{Connection, Statement};

use super::{bind, keep_open, read_point, store_points};

const UPSERT_SQL: &str = "INSERT OR REPLACE INTO points VALUES (?1, ?2, ?3, ?4, ?5)";

/// Replaces rows in one transaction.
#[derive(Debug)]
pub struct Upsert {
    connection: &'static Connection,
    upsert: Statement<'static>,
    point: Statement<'static>,
    changes: Vec<RecordBatch>,
}

impl Upsert {
    /// Replaces `changes` in turn in a new file of all `points`; `synchronous` is SQLite's setting.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn new(file: &Path, points: Points, synchronous: &str, changes: &[RecordBatch]) -> Result<Self> {
        store_points(file, points)?;
        let connection = keep_open(file)?;
        connection.execute_batch(&format!("PRAGMA synchronous = {synchronous}"))?;
        let (upsert, point) = (connection.prepare(UPSERT_SQL)?, connection.prepare(POINT_SQL)?);
        Ok(Self { connection, upsert, point, changes: changes.to_vec() })
    }
}

impl Contestant for Upsert {
    fn call(&mut self, call: u64, _: &mut impl Sink) -> Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        replace(&mut self.upsert, change(&self.changes, call)?)?;
        Ok(transaction.commit()?)
    }

    fn check(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.call(call, &mut Forget)?;
        for key in keys(change(&self.changes, call)?) {
            self.point.raw_bind_parameter(1, key)?;
            read_point(self.point.raw_query().next()?.ok_or("a row is missing")?, sink)?;
        }
        Ok(())
    }
}

/// Replaces the rows of `changes` in one transaction, in their order.
///
/// # Errors
/// SQLite refuses.
pub fn apply_changes(file: &Path, changes: &[RecordBatch]) -> Result<()> {
    let connection = super::open(file)?;
    let transaction = connection.unchecked_transaction()?;
    {
        let mut statement = connection.prepare(UPSERT_SQL)?;
        changes.iter().try_for_each(|change| replace(&mut statement, change))?;
    }
    transaction.commit()?;
    Ok(connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(truncate)")?)
}

fn replace(statement: &mut Statement<'_>, rows: &RecordBatch) -> Result<()> {
    for row in 0..rows.num_rows() {
        for (parameter, column) in (1..).zip(rows.columns()) {
            bind(statement, parameter, column, row)?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}
