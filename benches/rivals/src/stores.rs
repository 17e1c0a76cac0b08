//! The points in every system that looks rows up by key, beside SQLite: those that this machine has.

use std::path::Path;

use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Keys, Points};
use pillion_benches::harness::Row;

use crate::duckdb::{self, DUCKDB};
use crate::lmdb::{self, LMDB};
use crate::redb::{self, REDB};
use crate::redis::{self, REDIS};

const LMDB_TRANSACTION: &str = "LMDB, in a transaction";
const REDB_TRANSACTION: &str = "redb, in a transaction";

/// The same rows in each of them.
pub struct Stores {
    points: Points,
    lmdb: lmdb::Store,
    /// Another one for lookups in one transaction: a thread has one transaction of an environment at a time.
    lmdb_held: lmdb::Store,
    redb: redb::Store,
    redis: Option<redis::Server>,
    duckdb: Option<duckdb::Database>,
}

impl Stores {
    /// Stores the rows in a folder, and says on a line what this machine does not have.
    ///
    /// # Errors
    /// A system refuses.
    pub fn create(dir: &Path, points: Points) -> Result<Self> {
        let redis = redis::Server::start(points)?;
        if redis.is_none() {
            println!("not run: no redis-server");
        }
        let duckdb = duckdb::store_points(dir, points)?;
        if duckdb.is_none() {
            println!("not run: {} names no library of DuckDB", duckdb::LIBRARY_VARIABLE);
        }
        Ok(Self {
            points,
            lmdb: lmdb::Store::create(&dir.join("points.lmdb"), points)?,
            lmdb_held: lmdb::Store::create(&dir.join("held.lmdb"), points)?,
            redb: redb::Store::create(&dir.join("points.redb"), points)?,
            redis,
            duckdb,
        })
    }

    /// Adds their versions to a report.
    ///
    /// # Errors
    /// Redis does not answer.
    pub fn describe(&self, bench: &mut Bench) -> Result<()> {
        bench.set(LMDB, &lmdb::version());
        bench.set(REDB, &redb::VERSION);
        if let Some(redis) = &self.redis {
            bench.set(REDIS, &redis.version()?);
        }
        if let Some(duckdb) = &self.duckdb {
            bench.set(DUCKDB, &duckdb.version());
        }
        Ok(())
    }

    /// Adds lookups of keys that are there.
    ///
    /// # Errors
    /// A contestant cannot be made.
    pub fn get(&self, row: Row) -> Result<Row> {
        let keys = Keys::new(self.points);
        let mut row = row
            .with(LMDB, lmdb::GetPoint::new(&self.lmdb, keys))
            .with(LMDB_TRANSACTION, lmdb::GetPoint::in_transaction(&self.lmdb_held, keys)?)
            .with(REDB, redb::GetPoint::new(&self.redb, keys))
            .with(REDB_TRANSACTION, redb::GetPoint::in_transaction(&self.redb, keys)?);
        if let Some(redis) = &self.redis {
            row = row.with(REDIS, redis::GetPoint::new(redis, keys)?);
        }
        self.query_prepared(row)
    }

    /// Adds lookups of keys that are not there.
    ///
    /// # Errors
    /// A contestant cannot be made.
    pub fn get_absent(&self, row: Row) -> Result<Row> {
        let keys = Keys::new(self.points);
        let mut row = row
            .with(LMDB, lmdb::GetAbsent::new(&self.lmdb, keys))
            .with(REDB, redb::GetAbsent::new(&self.redb, keys));
        if let Some(redis) = &self.redis {
            row = row.with(REDIS, redis::GetAbsent::new(redis, keys)?);
        }
        if let Some(duckdb) = &self.duckdb {
            row = row.with(DUCKDB, duckdb::GetAbsent::new(duckdb, keys)?);
        }
        Ok(row)
    }

    /// Adds lookups in this process that take no SQL.
    pub fn get_embedded(&self, row: Row) -> Row {
        let keys = Keys::new(self.points);
        row.with(LMDB, lmdb::GetPoint::new(&self.lmdb, keys))
            .with(REDB, redb::GetPoint::new(&self.redb, keys))
    }

    /// Adds queries of one row that were prepared.
    ///
    /// # Errors
    /// A contestant cannot be made.
    pub fn query_prepared(&self, row: Row) -> Result<Row> {
        match &self.duckdb {
            Some(duckdb) => Ok(row.with(DUCKDB, duckdb::GetPoint::new(duckdb, Keys::new(self.points))?)),
            None => Ok(row),
        }
    }

    /// Adds queries of one row as text.
    ///
    /// # Errors
    /// A contestant cannot be made.
    pub fn query_text(&self, row: Row) -> Result<Row> {
        match &self.duckdb {
            Some(duckdb) => Ok(row.with(DUCKDB, duckdb::PointText::new(duckdb, Keys::new(self.points))?)),
            None => Ok(row),
        }
    }
}
