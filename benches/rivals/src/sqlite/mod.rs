//! SQLite, tuned for reading: a page cache and a map that hold the whole file, statements that are kept and read in
//! place, tables without a hidden row number where the key is not an integer.
//!
//! Files are written in the order of the key and vacuumed, so that they are as compact as they can be. Where a row
//! says "in a transaction", one transaction is held open around all calls, so that they see one version and file
//! locks are taken only once; otherwise each statement sees the newest version, as a lookup in Pillion does.

mod bulk;
mod lookup;
mod query;
mod upsert;

pub use bulk::{Load, OpenAndGet};
pub use lookup::{GetAbsent, GetMany, GetPoint, GetTrip};
pub use query::{Computed, Groups, PointText, Range};
pub use upsert::{Upsert, apply_changes};

use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use pillion_benches::Result;
use pillion_benches::data::{Points, Trips};
use pillion_benches::harness::Sink;
use rusqlite::{Connection, Row, Statement};

/// The name of the contestant.
pub const SQLITE: &str = "SQLite";

/// What makes reading fast; set by every connection.
const TUNING: &str =
    "PRAGMA cache_size = -1048576; PRAGMA mmap_size = 2147418112; PRAGMA temp_store = memory;";
/// What stays with a file. With a write-ahead log a statement takes one file lock, and need not look for a rollback
/// journal that a crash left.
const JOURNAL: &str = "PRAGMA journal_mode = wal; PRAGMA synchronous = normal;";

const CREATE_POINTS: &str =
    "CREATE TABLE points (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL, price REAL NOT NULL,
     city TEXT NOT NULL, code TEXT NOT NULL)";
const CREATE_TRIPS: &str =
    "CREATE TABLE trips (moment INTEGER, carrier TEXT, number INTEGER, delay REAL NOT NULL, origin TEXT NOT NULL,
     PRIMARY KEY (moment, carrier, number)) WITHOUT ROWID";

/// Version of SQLite.
pub fn version() -> &'static str {
    rusqlite::version()
}

/// Makes a file with the table of the lookups.
///
/// # Errors
/// SQLite refuses.
pub fn store_points(file: &Path, points: Points) -> Result<()> {
    store(file, CREATE_POINTS, Points::NAME, &points.sorted_batches()?)
}

/// Makes a file with the table of the lookups by several columns.
///
/// # Errors
/// SQLite refuses.
pub fn store_trips(file: &Path, trips: Trips) -> Result<()> {
    store(file, CREATE_TRIPS, Trips::NAME, &trips.batches()?)
}

fn store(file: &Path, create: &str, table: &str, batches: &[RecordBatch]) -> Result<()> {
    let mut connection = open(file)?;
    connection.execute_batch(JOURNAL)?;
    insert(&mut connection, create, table, batches)?;
    connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(truncate)")?;
    Ok(())
}

fn open(file: &Path) -> Result<Connection> {
    let connection = Connection::open(file)?;
    connection.execute_batch(TUNING)?;
    Ok(connection)
}

/// A connection that lives as long as the program, so that statements of it can be kept.
fn keep_open(file: &Path) -> Result<&'static Connection> {
    Ok(Box::leak(Box::new(open(file)?)))
}

/// Makes a table and inserts all rows in one transaction.
fn insert(connection: &mut Connection, create: &str, table: &str, batches: &[RecordBatch]) -> Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(create)?;
    {
        let mut statement =
            transaction.prepare(&format!("INSERT INTO {table} VALUES (?1, ?2, ?3, ?4, ?5)"))?;
        for batch in batches {
            for row in 0..batch.num_rows() {
                for (parameter, column) in (1..).zip(batch.columns()) {
                    bind(&mut statement, parameter, column, row)?;
                }
                statement.raw_execute()?;
            }
        }
    }
    Ok(transaction.commit()?)
}

fn bind(statement: &mut Statement<'_>, parameter: usize, column: &dyn Array, row: usize) -> Result<()> {
    match column.data_type() {
        DataType::Int64 => {
            statement.raw_bind_parameter(parameter, column.as_primitive::<Int64Type>().value(row))?;
        }
        DataType::Float64 => {
            statement.raw_bind_parameter(parameter, column.as_primitive::<Float64Type>().value(row))?;
        }
        DataType::Utf8 => statement.raw_bind_parameter(parameter, column.as_string::<i32>().value(row))?,
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let moments = column.as_primitive::<TimestampMicrosecondType>();
            statement.raw_bind_parameter(parameter, moments.value(row))?;
        }
        other => return Err(format!("a column of type {other}").into()),
    }
    Ok(())
}

/// Reads every column of a row of the points.
#[inline]
fn read_point(row: &Row<'_>, sink: &mut impl Sink) -> Result<()> {
    sink.int(row.get_ref(0)?.as_i64()?);
    sink.int(row.get_ref(1)?.as_i64()?);
    sink.float(row.get_ref(2)?.as_f64()?);
    sink.text(row.get_ref(3)?.as_str()?);
    sink.text(row.get_ref(4)?.as_str()?);
    sink.end_row();
    Ok(())
}
