//! The rivals' side of the comparisons: SQLite, LMDB, redb, Redis, DuckDB, and DataFusion as it is.
//!
//! Apart from the harness, so that only who asks for a comparison builds them. A rival is set up as its users would
//! who care for speed; what that is stands at the top of its module. Where it has no such thing as what a row
//! measures, its cells stay empty. Where the machine has no such rival, its lines are left out and the bench says so.

pub mod datafusion;
pub mod duckdb;
pub mod headline;
pub mod lmdb;
mod packed;
pub mod redb;
pub mod redis;
pub mod sqlite;
pub mod stores;
