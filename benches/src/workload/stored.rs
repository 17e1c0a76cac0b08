//! A cache in a temporary folder with the tables of the benches.

use std::path::Path;

use arrow::array::RecordBatch;
use pillion::{Cache, CacheOptions, Table, TableDefinition};
use tempfile::TempDir;

use crate::Result;
use crate::data::{Points, Trips};

/// A cache in a temporary folder, which is removed with it.
#[derive(Debug)]
pub struct Stored {
    cache: Cache,
    dir: TempDir,
}

impl Stored {
    /// An empty cache.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn create() -> Result<Self> {
        Self::create_with(CacheOptions::new())
    }

    /// An empty cache with these settings.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn create_with(options: CacheOptions) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        Ok(Self { cache: options.open(dir.path())?, dir })
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Loads batches of [`Points`] and warms the table up.
    ///
    /// # Errors
    /// The cache refuses.
    pub fn load_points(&self, batches: Vec<RecordBatch>) -> Result<Table> {
        let table =
            self.cache.define_table(Points::NAME, TableDefinition::new(batches).primary_key(["id"]))?;
        warm_up(&table)?;
        Ok(table)
    }

    /// Loads batches of [`Points`] in `commits` commits of equal size, and warms the table up.
    ///
    /// # Errors
    /// The cache refuses.
    pub fn load_points_in_commits(&self, batches: &[RecordBatch], commits: usize) -> Result<Table> {
        let all = arrow::compute::concat_batches(&Points::schema(), batches)?;
        let bounds: Vec<usize> = (0..=commits).map(|number| all.num_rows() * number / commits).collect();
        self.load_points_in_parts(&all, &bounds)
    }

    /// Loads batches of `points` in one commit, replaces a hundredth of the rows in ten more commits, and warms the
    /// table up.
    ///
    /// # Errors
    /// The cache refuses.
    pub fn load_points_and_replace(&self, points: Points, batches: Vec<RecordBatch>) -> Result<Table> {
        let table = self.load_points(batches)?;
        for change in points.changes(10, (points.rows() / 1_000).max(1))? {
            table.upsert(change)?;
        }
        warm_up(&table)?;
        Ok(table)
    }

    fn load_points_in_parts(&self, all: &RecordBatch, bounds: &[usize]) -> Result<Table> {
        let mut parts = bounds.windows(2).map(|bounds| all.slice(bounds[0], bounds[1] - bounds[0]));
        let first = TableDefinition::new(parts.next().ok_or("no commits")?).primary_key(["id"]);
        let table = self.cache.define_table(Points::NAME, first)?;
        for part in parts {
            table.append(part)?;
        }
        warm_up(&table)?;
        Ok(table)
    }

    /// Loads batches of [`Trips`] and warms the table up.
    ///
    /// # Errors
    /// The cache refuses.
    pub fn load_trips(&self, batches: Vec<RecordBatch>) -> Result<Table> {
        let definition = TableDefinition::new(batches).primary_key(["moment", "carrier", "number"]);
        let table = self.cache.define_table(Trips::NAME, definition)?;
        warm_up(&table)?;
        Ok(table)
    }

    /// Closes the cache and keeps the folder.
    ///
    /// # Errors
    /// The cache cannot be closed cleanly.
    pub fn close(self) -> Result<TempDir> {
        self.cache.close()?;
        Ok(self.dir)
    }
}

/// Reads every row, which maps and checks the pages that hold rows; those of the key index follow with the first
/// lookups.
pub(super) fn warm_up(table: &Table) -> Result<()> {
    for batch in table.scan()? {
        batch?;
    }
    Ok(())
}
