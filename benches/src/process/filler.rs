//! An owner that is killed when its log is nearly full.

use std::ffi::OsStr;
use std::path::Path;

use pillion::CacheOptions;

use super::{DIRECTORY, Process, ROWS, say_ready};
use crate::Result;
use crate::data::Points;

pub(super) const ROLE: &str = "filler";
/// Rows of a commit.
pub const FILL_ROWS: u64 = 1_000;
/// Commits, at full speed. The owner moves rows out of the log from 262,144 on, and commits wait for that at 1,048,576
/// rows or 96 MiB. Rows that come faster than they are moved fill the log.
pub const FILL_COMMITS: u64 = 1_000;

/// Upserts into the table of the cache in `dir`, in another process, until the log is nearly full, and kills that process.
/// The keys are among the first of `points`.
///
/// # Errors
/// The process cannot be started, or fails.
pub fn fill_and_kill(dir: &Path, points: Points) -> Result<()> {
    let rows = points.rows().to_string();
    let mut process = Process::start(ROLE, &[(DIRECTORY, dir.as_os_str()), (ROWS, OsStr::new(&rows))])?;
    process.child.kill()?;
    process.child.wait()?;
    Ok(())
}

/// In the process.
pub(super) fn play(dir: &Path) -> Result<()> {
    let rows = std::env::var(ROWS)?.parse()?;
    // With this throughput, nothing is moved before the log is half full.
    let cache = CacheOptions::new().compaction_throughput(1).open(dir)?;
    let table = cache.table(Points::NAME)?;
    let points = Points::new(rows);
    for change in points.changes(FILL_COMMITS, FILL_ROWS.min(rows))? {
        table.upsert(change)?;
    }
    let logged = table.info()?.logged_rows;
    if logged < FILL_COMMITS * FILL_ROWS.min(rows) / 2 {
        return Err(format!("{logged} rows are in the log: it is not full").into());
    }
    say_ready()?;
    // It waits to be killed.
    loop {
        std::thread::park();
    }
}
