//! Opening a cache reads no data, and a lookup reads the few pages that it needs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use pillion::Cache;
use rustix::fs::{Advice, fadvise};

use crate::support::report::not_run;
use crate::support::{define, files, name_of};

const ROWS: i64 = 400_000;

/// Pages of some files in the file system cache; `None` if this cannot be found out.
fn resident_pages(paths: &[PathBuf]) -> Option<u64> {
    let output =
        Command::new("fincore").args(["--noheadings", "--output", "PAGES"]).args(paths).output().ok()?;
    let text = output.status.success().then(|| String::from_utf8(output.stdout).unwrap())?;
    Some(text.split_whitespace().map(|pages| pages.parse::<u64>().unwrap()).sum())
}

/// Writes files back to disk and asks the kernel to forget their pages.
fn forget(paths: &[PathBuf]) {
    for path in paths {
        let file = File::open(path).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
}

/// A closed cache with a table of [`ROWS`] rows.
fn closed_cache(dir: &Path) -> Vec<PathBuf> {
    let cache = Cache::open(dir).unwrap();
    define(&cache, "t", 0..ROWS).unwrap();
    cache.close().unwrap();
    files::segments(dir)
}

#[test]
fn opening_reads_no_data_page() {
    // Not in the folder for temporary files, which may be in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let segments = closed_cache(dir.path());
    let bytes: u64 = segments.iter().map(|path| path.metadata().unwrap().len()).sum();
    let all = bytes / 4096;
    assert!(all > 2_000, "{bytes} bytes are enough to see a difference");
    type Open = fn(&Path) -> pillion::Result<Cache>;
    let ways: [(&str, Open); 2] =
        [("owner", |dir| Cache::open(dir)), ("reader", |dir| Cache::open_read_only(dir))];
    for (way, open) in ways {
        forget(&segments);
        match resident_pages(&segments) {
            None => return not_run("needs fincore of util-linux"),
            Some(0) => {}
            Some(kept) => {
                return not_run(format_args!("the file system keeps {kept} of {all} pages in memory"));
            }
        }
        let cache = open(dir.path()).unwrap();
        let table = cache.table("t").unwrap();
        assert_eq!(table.info().unwrap().rows, ROWS.unsigned_abs());
        let opened = resident_pages(&segments).unwrap();
        let row = table.get(ROWS / 3).unwrap().unwrap();
        assert_eq!(row.get::<&str>("name").unwrap(), name_of(ROWS / 3));
        let read = resident_pages(&segments).unwrap();
        println!(
            "{way}: opening brought {opened} of {all} pages into memory, one lookup {} more",
            read - opened
        );
        // A reader may map the files and read where everything in them is; none of that grows with the rows.
        assert!(opened <= 64, "{way}: opening brought {opened} of {all} pages into memory");
        assert!(read - opened <= 256, "{way}: a lookup brought {} of {all} pages into memory", read - opened);
    }
}
