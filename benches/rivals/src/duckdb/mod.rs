//! DuckDB: a file of its own, in this process, through its C interface.
//!
//! DuckDB takes an hour to compile, so the library is loaded when the bench starts, from the file that
//! `PILLION_DUCKDB_LIBRARY` names. Rows are inserted from a Parquet file in the order of the key into a table with a
//! primary key, and the file is checkpointed. Everything fits its memory limit. It has one thread: lookups with two took
//! longer, because there is nothing to share. Values are read in the vectors of the answer.

mod library;
mod lookup;

pub use library::Database;
pub use lookup::{GetAbsent, GetPoint, PointText};

use std::path::Path;

use pillion_benches::Result;
use pillion_benches::data::{Points, write_parquet};

/// The name of the contestant.
pub const DUCKDB: &str = "DuckDB";
/// Names the file of the library.
pub const LIBRARY_VARIABLE: &str = "PILLION_DUCKDB_LIBRARY";

const CREATE_POINTS: &str =
    "CREATE TABLE points (id BIGINT PRIMARY KEY, amount BIGINT NOT NULL, price DOUBLE NOT NULL,
     city VARCHAR NOT NULL, code VARCHAR NOT NULL)";

/// Makes a file with all rows; `None` if no library is named.
///
/// # Errors
/// The library cannot be loaded, or DuckDB refuses.
pub fn store_points(dir: &Path, points: Points) -> Result<Option<Database>> {
    let Some(library) = std::env::var_os(LIBRARY_VARIABLE) else { return Ok(None) };
    let parquet = dir.join("duckdb.parquet");
    write_parquet(&parquet, &points.sorted_batches()?)?;
    let database = Database::open(library.as_ref(), &dir.join("points.duckdb"))?;
    let connection = database.connect()?;
    connection.run(CREATE_POINTS)?;
    connection.run(&format!("INSERT INTO points FROM read_parquet('{}')", parquet.display()))?;
    connection.run("CHECKPOINT")?;
    connection.run("SET threads = 1")?;
    Ok(Some(database))
}
