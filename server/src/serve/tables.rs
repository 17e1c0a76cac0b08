//! The tables of the configuration, brought into the cache at a start.

use std::time::{Duration, Instant};

use pillion::{Cache, ErrorCode, ErrorKind, TableDefinition, WritePolicy};

use crate::config::{Config, Reload, TableConfig};
use crate::failure::Failure;

/// How often a long load logs its progress.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Defines a table, or keeps an existing one, or loads that again if the configuration says so.
///
/// # Errors
/// Of defining and loading. If the files of an existing table cannot be read, that is logged and the table keeps its
/// rows.
pub(crate) fn load(cache: &Cache, table: &TableConfig) -> Result<(), Failure> {
    let name = table.name.as_str();
    let failed = |error: pillion::Error| Failure::from(error).context(format_args!("table `{name}`"));
    let is_there = match cache.table(name) {
        Ok(_) => true,
        Err(error) if error.code() == ErrorCode::TableNotFound => false,
        Err(error) => return Err(failed(error)),
    };
    let started = Instant::now();
    // Even if the table exists: then nothing is read, and a table with another key or order is refused.
    let handle = cache.define_table(name, table.definition(reporter(name))).map_err(failed)?;
    let what = match (is_there, table.reload) {
        (false, _) => "table loaded",
        (true, Reload::Never) => "table kept",
        (true, Reload::Start) => match handle.replace(table.input(reporter(name))) {
            Ok(_) => "table loaded again",
            Err(error) if is_of_files(&error) => {
                tracing::error!(
                    table = name,
                    error = format!("{error:#}"),
                    "not loaded again; the rows stay as they are"
                );
                "table kept"
            }
            Err(error) => return Err(failed(error)),
        },
    };
    let info = handle.info().map_err(failed)?;
    tracing::info!(table = name, rows = info.rows, bytes = info.bytes, elapsed = ?started.elapsed(), "{what}");
    Ok(())
}

/// Whether an error is one of files: the rows that are there are better than none.
fn is_of_files(error: &pillion::Error) -> bool {
    // Files may disagree on a column, or be compressed in a way that this build cannot read.
    error.kind() == ErrorKind::Source
        || matches!(error.code(), ErrorCode::SchemaMismatch | ErrorCode::Unsupported)
}

/// Keeps a table fresh from its source from now on.
///
/// # Errors
/// If the source does not do what the table needs.
pub(super) fn follow(cache: &Cache, table: &TableConfig, definition: TableDefinition) -> Result<(), Failure> {
    let name = table.name.as_str();
    let failed = |error: pillion::Error| Failure::from(error).context(format_args!("table `{name}`"));
    let held = cache.table(name).and_then(|held| held.info()).ok();
    cache.follow_table(name, definition).map_err(failed)?;
    match held.and_then(|held| held.freshness.map(|freshness| (held.rows, freshness))) {
        Some((rows, freshness)) => {
            tracing::info!(table = name, rows, age = ?freshness.age(), "table kept, and followed");
        }
        None => tracing::info!(table = name, "table followed; it appears when it is loaded"),
    }
    Ok(())
}

/// Logs the tables that are served although the configuration does not name them. No source need keep changes for them.
///
/// # Errors
/// Those of listing the tables, and of writes.
pub(super) fn name_others(cache: &Cache, config: &Config) -> Result<(), Failure> {
    for there in cache.tables()? {
        if config.tables.iter().all(|table| table.name != there.name) {
            if matches!(there.rules.write_policy, WritePolicy::Source(_)) {
                cache.unfollow_table(&there.name)?;
            }
            tracing::info!(
                table = there.name,
                rows = there.rows,
                "table kept that the configuration does not name"
            );
        }
    }
    Ok(())
}

fn reporter(table: &str) -> impl FnMut(u64) + Send + 'static {
    let table = table.to_owned();
    let mut reported = Instant::now();
    move |rows| {
        if reported.elapsed() >= REPORT_INTERVAL {
            reported = Instant::now();
            tracing::info!(table, rows, "loading");
        }
    }
}
