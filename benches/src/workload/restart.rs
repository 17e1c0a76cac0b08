//! Opening the cache that an owner left.

use std::path::PathBuf;

use pillion::Cache;

use super::Stored;
use super::lookup::read_point;
use crate::Result;
use crate::data::{Keys, Points};
use crate::harness::{Contestant, Sink};
use crate::process::fill_and_kill;
use tempfile::TempDir;

/// Opens a cache and looks up a first key. Closing it, and the preparation, are not timed.
#[derive(Debug)]
pub struct Restart {
    dir: TempDir,
    keys: Keys,
    changed: Points,
    is_killed: bool,
    opened: Option<Cache>,
}

impl Restart {
    /// A cache of `points` whose owner closed it after it upserted the rows of `changed`, which are some of `points`.
    ///
    /// # Errors
    /// The cache cannot be made.
    pub fn clean(points: Points, changed: Points) -> Result<Self> {
        let stored = Stored::create()?;
        stored.load_points(points.batches()?)?;
        let dir = stored.close()?;
        let this = Self { dir, keys: Keys::new(changed), changed, is_killed: false, opened: None };
        this.fill()?;
        Cache::open(this.path())?.close()?;
        Ok(this)
    }

    /// The same as [`clean`](Self::clean), but before every call an owner upserts the rows again until the log is
    /// nearly full, and is killed.
    ///
    /// # Errors
    /// The cache cannot be made.
    pub fn killed(points: Points, changed: Points) -> Result<Self> {
        Ok(Self { is_killed: true, ..Self::clean(points, changed)? })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().to_path_buf()
    }

    fn fill(&self) -> Result<()> {
        fill_and_kill(self.dir.path(), self.changed)
    }
}

impl Contestant for Restart {
    fn prepare(&mut self, _: u64) -> Result<()> {
        if self.is_killed { self.fill() } else { Ok(()) }
    }

    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let cache = self.opened.insert(Cache::open(self.dir.path())?);
        let row = cache.table(Points::NAME)?.get(self.keys.present(call))?;
        read_point(row.as_ref(), sink)
    }

    fn finish(&mut self) -> Result<()> {
        self.opened.take().map_or(Ok(()), |cache| Ok(cache.close()?))
    }
}
