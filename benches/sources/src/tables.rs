//! The table of the benches, from a source or from a file.

use std::path::Path;
use std::time::Duration;

use pillion::source::{Relation, Source, TableSource};
use pillion::{Cache, CacheOptions, Input, TableDefinition};
use pillion_benches::Result;
use pillion_benches::data::Points;
use pillion_object_store::{Location, ObjectStoreSource};
use tempfile::TempDir;

/// The name of the source of a table.
const SOURCE: &str = "source";

/// The table of the benches from a relation of a source, refreshed only by call.
pub(crate) fn followed(relation: &str) -> TableDefinition {
    TableDefinition::from_source(TableSource::new(SOURCE, Relation::table(relation)).on_call())
        .primary_key(["id"])
}

/// A cache in a new folder, which knows the source. The folder is removed after the cache.
pub(crate) fn cache_of(source: impl Source) -> Result<(Cache, TempDir)> {
    let dir = tempfile::tempdir()?;
    let cache = CacheOptions::new().open(dir.path())?;
    cache.add_source(SOURCE, source)?;
    Ok((cache, dir))
}

/// A cache that is there already, which knows the source.
pub(crate) fn opened(dir: &Path, source: impl Source) -> Result<Cache> {
    let cache = Cache::open(dir)?;
    cache.add_source(SOURCE, source)?;
    Ok(cache)
}

/// The files of a folder as a source.
pub(crate) fn folder(dir: &Path) -> Result<ObjectStoreSource> {
    Ok(ObjectStoreSource::new(Location::new(dir.display().to_string()))?)
}

/// The table of the benches from a file, read by the cache itself.
pub(crate) fn loaded(input: Input) -> TableDefinition {
    TableDefinition::new(input).primary_key(["id"])
}

/// Asks until no refresh is under way or due.
pub(crate) fn wait_until_idle(cache: &Cache) -> Result<()> {
    use pillion::RefreshState::{Due, Running};
    while cache.refreshes()?.iter().any(|status| matches!(status.state, Due | Running { .. })) {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The number of rows and the sum of the keys, which tell whether everything came.
pub(crate) fn contents(cache: &Cache) -> Result<[i64; 2]> {
    use arrow::array::AsArray;
    let mut contents = [0, 0];
    for batch in cache.table(Points::NAME)?.scan()? {
        let batch = batch?;
        contents[0] += i64::try_from(batch.num_rows())?;
        let keys = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>();
        contents[1] += keys.values().iter().sum::<i64>();
    }
    Ok(contents)
}
