//! Segment files that were damaged, cut short, exchanged or lost: never a wrong row, never a panic, and other tables go
//! on.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, StringViewArray,
};
use pillion::{Cache, Error, ErrorCode, Result, TableDefinition};

use crate::support::random::Random;
use crate::support::{assert_ids, define, files, numbered, refused};

const ROWS: i64 = 9_000;
/// Checksums cover pages of this many bytes.
const PAGE_LEN: u64 = 64 << 10;

/// Rows with columns of several kinds, some of them null.
fn mixed() -> RecordBatch {
    let columns: [(&str, ArrayRef); 5] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..ROWS))),
        (
            "text",
            Arc::new(StringArray::from_iter((0..ROWS).map(|n| (n % 5 != 1).then(|| format!("text of {n}"))))),
        ),
        (
            "view",
            Arc::new(StringViewArray::from_iter_values(
                (0..ROWS).map(|n| format!("a longer text of row {n}")),
            )),
        ),
        (
            "number",
            Arc::new(Float64Array::from_iter((0..ROWS).map(|n| (n % 3 != 2).then_some(f64::from(n as i32))))),
        ),
        ("flag", Arc::new(BooleanArray::from_iter((0..ROWS).map(|n| Some(n % 7 == 0))))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A closed cache with a table `mixed` of one segment, and a table `other`.
struct Fixture {
    dir: tempfile::TempDir,
    segment: PathBuf,
    rows: RecordBatch,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let rows = mixed();
        cache.define_table("mixed", TableDefinition::new(rows.clone()).primary_key(["id"])).unwrap();
        let segment = files::segments(dir.path()).pop().unwrap();
        define(&cache, "other", 0..100).unwrap();
        cache.close().unwrap();
        Self { dir, segment, rows }
    }

    fn name(&self) -> &str {
        self.segment.file_name().unwrap().to_str().unwrap()
    }

    /// Reads everything in every way and returns the errors. Fails at a wrong row, a panic, or an error that is not
    /// about the file.
    fn read(&self, cache: &Cache, what: &str) -> Vec<Error> {
        assert_ids(&cache.table("other").unwrap(), 0..100);
        let read = catch_unwind(AssertUnwindSafe(|| {
            let mut errors = Vec::new();
            let mut check = |read: Result<bool>| match read {
                Ok(right) => assert!(right, "{what}: a wrong row"),
                Err(error) => errors.push(error),
            };
            let table = cache.table("mixed").unwrap();
            for id in (0..ROWS).step_by(397) {
                let row = usize::try_from(id).unwrap();
                let found = table.get(id).and_then(|row| row.map(|row| row.to_batch()).transpose());
                check(found.map(|found| found == Some(self.rows.slice(row, 1))));
            }
            for absent in [-1, ROWS, ROWS + 12_345] {
                check(table.get(absent).map(|row| row.is_none()));
            }
            check(table.scan().and_then(|scan| scan.concat()).map(|rows| rows == self.rows));
            for column in 0..self.rows.num_columns() {
                let name = self.rows.schema().field(column).name().clone();
                let scan = table.scan_columns([name]).and_then(|scan| scan.concat());
                check(scan.map(|rows| rows.column(0) == self.rows.column(column)));
            }
            #[cfg(feature = "sql")]
            for (text, expected) in queries() {
                let found = cache.sql(text, &[]).and_then(|rows| rows.concat());
                check(found.map(|found| {
                    found.column(0).as_ref() == &Int64Array::from(vec![expected]) as &dyn arrow::array::Array
                }));
            }
            errors
        }));
        let errors = read.unwrap_or_else(|_| panic!("{what}: a panic came out of the cache"));
        for error in &errors {
            assert_eq!(error.code(), ErrorCode::Corrupt, "{what}: {error:?}");
            assert!(error.message().contains(self.name()), "{what}: {error}");
            assert!(offset_of(error).is_some(), "{what}: `{error}` does not say where");
        }
        errors
    }
}

/// The byte that an error names.
fn offset_of(error: &Error) -> Option<u64> {
    error.message().split("at byte ").nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Queries and what they should count: by zone maps, by the index, and by rows.
#[cfg(feature = "sql")]
fn queries() -> [(&'static str, i64); 5] {
    [
        ("SELECT count(*) FROM mixed", ROWS),
        ("SELECT max(id) FROM mixed", ROWS - 1),
        ("SELECT id FROM mixed WHERE id = 1234 AND text = 'text of 1234'", 1234),
        (
            "SELECT count(*) FROM mixed WHERE number >= 6000",
            (6000..ROWS).filter(|n| n % 3 != 2).count() as i64,
        ),
        (
            "SELECT count(*) FROM mixed WHERE view LIKE '%row 123%' AND flag",
            (0..ROWS).filter(|n| n.to_string().starts_with("123") && n % 7 == 0).count() as i64,
        ),
    ]
}

#[test]
fn a_whole_segment_reads_without_errors() {
    let fixture = Fixture::new();
    let cache = Cache::open(fixture.dir.path()).unwrap();
    assert!(fixture.read(&cache, "nothing is damaged").is_empty());
    assert!(fs::metadata(&fixture.segment).unwrap().len() > 3 * PAGE_LEN, "several pages");
}

#[test]
fn any_bit_flipped_is_found_or_harmless() {
    let fixture = Fixture::new();
    let bits = fs::metadata(&fixture.segment).unwrap().len() * 8;
    let mut random = Random::new(1);
    let mut found = 0;
    for round in 0..80 {
        // Half of the places are in the last eighth of the file, where index, zone maps and directory are.
        let bit = if round % 2 == 0 { random.below(bits) } else { bits - 1 - random.below(bits / 8) };
        let what = format!("bit {bit} of {bits} flipped");
        files::flip(&fixture.segment, bit);
        // A reader opens without writing; an owner recovers, as at every opening.
        let cache = if round % 4 == 0 {
            Cache::open(fixture.dir.path())
        } else {
            Cache::open_read_only(fixture.dir.path())
        };
        let cache = cache.unwrap_or_else(|error| panic!("{what}: opening failed: {error:?}"));
        let errors = fixture.read(&cache, &what);
        for error in &errors {
            let offset = offset_of(error).unwrap();
            assert!(offset <= bit / 8, "{what}: {error}");
        }
        found += usize::from(!errors.is_empty());
        drop(cache);
        files::flip(&fixture.segment, bit);
    }
    println!("{found} of 80 flips were found; the others are in bytes that no read needs");
    assert!(found > 40, "{found}");
    let cache = Cache::open(fixture.dir.path()).unwrap();
    assert!(fixture.read(&cache, "all flips undone").is_empty());
}

#[test]
fn a_damaged_page_spares_the_others() {
    let fixture = Fixture::new();
    // The first page holds the first values of the first column.
    let bit = PAGE_LEN / 4 * 8;
    files::flip(&fixture.segment, bit);
    let cache = Cache::open(fixture.dir.path()).unwrap();
    let table = cache.table("mixed").unwrap();
    let errors = fixture.read(&cache, "the first page is damaged");
    assert!(errors.iter().all(|error| offset_of(error) == Some(0)), "{errors:?}");
    let row = table.get(ROWS - 1);
    assert!(row.is_ok_and(|row| row.is_some()), "a row of another page is found");
    refused(table.scan().unwrap().concat(), ErrorCode::Corrupt, &[fixture.name(), "at byte 0"]);
    let views = table.scan_columns(["view"]).unwrap().concat().unwrap();
    assert_eq!(views.column(0), fixture.rows.column(2), "a column of other pages is read");
}

#[test]
fn a_damaged_table_is_replaced() {
    let fixture = Fixture::new();
    files::flip(&fixture.segment, PAGE_LEN / 4 * 8);
    let cache = Cache::open(fixture.dir.path()).unwrap();
    let table = cache.table("mixed").unwrap();
    assert!(!fixture.read(&cache, "the first page is damaged").is_empty());
    let version = cache.version().unwrap();
    // The check for duplicates meets the damage; the table stays as it was.
    let rows = fixture.rows.slice(5, 1);
    let error = table.append(rows).unwrap_err();
    assert!(matches!(error.code(), ErrorCode::Corrupt | ErrorCode::DuplicateKey), "{error:?}");
    assert_eq!(cache.version().unwrap(), version);
    table.replace(fixture.rows.clone()).unwrap();
    assert!(fixture.read(&cache, "replaced").is_empty());
    cache.close().unwrap();
    drop((cache, table));
    assert!(fixture.read(&Cache::open(fixture.dir.path()).unwrap(), "replaced and opened again").is_empty());
}

/// Opening the cache looks up which rows the commits in the log replaced.
#[test]
fn a_damaged_key_index_does_not_keep_the_cache_from_opening() {
    let fixture = Fixture::new();
    let cache = Cache::open(fixture.dir.path()).unwrap();
    cache.table("mixed").unwrap().upsert(fixture.rows.slice(0, 3000)).unwrap();
    cache.close().unwrap();
    drop(cache);
    let bits = fs::metadata(&fixture.segment).unwrap().len() * 8;
    let mut met = 0;
    for back in [20_000, 40_000, 60_000] {
        let dir = tempfile::tempdir().unwrap();
        files::copy(fixture.dir.path(), dir.path());
        files::flip(
            &dir.path().join(fixture.segment.strip_prefix(fixture.dir.path()).unwrap()),
            bits - 8 * back,
        );
        let what = format!("a bit {back} bytes before the end is flipped");
        for _ in 0..3 {
            let reader =
                Cache::open_read_only(dir.path()).unwrap_or_else(|error| panic!("{what}: {error:#}"));
            fixture.read(&reader, &what);
            let cache = Cache::open(dir.path()).unwrap_or_else(|error| panic!("{what}: {error:#}"));
            fixture.read(&cache, &what);
            let other = cache.table("other").unwrap();
            other.upsert(numbered(0..100)).unwrap();
            cache.compact().unwrap();
            assert_eq!(other.info().unwrap().damage, None);
            met += usize::from(cache.table("mixed").unwrap().info().unwrap().damage.is_some());
        }
        let cache = Cache::open(dir.path()).unwrap();
        cache.table("mixed").unwrap().replace(fixture.rows.clone()).unwrap();
        assert!(fixture.read(&cache, &what).is_empty());
    }
    assert!(met > 0, "nothing that is needed was damaged");
}

#[test]
fn a_damaged_table_is_dropped() {
    let fixture = Fixture::new();
    files::write(&fixture.segment, b"nothing of it is left");
    let cache = Cache::open(fixture.dir.path()).unwrap();
    assert!(!fixture.read(&cache, "all is lost").is_empty());
    cache.drop_table("mixed").unwrap();
    assert_ids(&cache.table("other").unwrap(), 0..100);
    cache.define_table("mixed", TableDefinition::new(fixture.rows.clone()).primary_key(["id"])).unwrap();
    let table = cache.table("mixed").unwrap();
    assert_eq!(table.scan().unwrap().concat().unwrap(), fixture.rows);
}

/// Fails unless every read of the table fails with the name of the file, for an owner and for a reader, and the other
/// table is unaffected.
fn assert_unreadable(dir: &Path, name: &str, what: &str) {
    for opened in [Cache::open_read_only(dir), Cache::open(dir)] {
        let cache = opened.unwrap_or_else(|error| panic!("{what}: opening failed: {error:?}"));
        assert_ids(&cache.table("other").unwrap(), 0..100);
        let table = cache.table("mixed").unwrap();
        let mut errors = vec![
            table.get(7).map(drop).unwrap_err(),
            table.scan().and_then(|scan| scan.concat()).map(drop).unwrap_err(),
        ];
        #[cfg(feature = "sql")]
        errors.push(
            cache.sql("SELECT sum(id) FROM mixed", &[]).and_then(|rows| rows.concat()).map(drop).unwrap_err(),
        );
        for error in errors.drain(..) {
            assert!(matches!(error.code(), ErrorCode::Corrupt | ErrorCode::Io), "{what}: {error:?}");
            assert!(format!("{error:#}").contains(name), "{what}: {error:#}");
        }
    }
}

#[test]
fn a_segment_cut_short_is_found() {
    let fixture = Fixture::new();
    let bytes = fs::read(&fixture.segment).unwrap();
    for len in [0, 1, 6, 4096, bytes.len() / 2, bytes.len() - 10, bytes.len() - 1] {
        files::write(&fixture.segment, &bytes[..len]);
        assert_unreadable(
            fixture.dir.path(),
            fixture.name(),
            &format!("cut to {len} of {} bytes", bytes.len()),
        );
    }
    files::write(&fixture.segment, &[bytes.as_slice(), b"more"].concat());
    assert_unreadable(fixture.dir.path(), fixture.name(), "four bytes too many");
    files::write(&fixture.segment, &bytes);
    assert!(fixture.read(&Cache::open(fixture.dir.path()).unwrap(), "whole again").is_empty());
}

#[test]
fn a_lost_segment_is_named() {
    let fixture = Fixture::new();
    fs::remove_file(&fixture.segment).unwrap();
    assert_unreadable(fixture.dir.path(), fixture.name(), "the file is gone");
}

#[test]
fn exchanged_segments_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    // Files of equal length: only their content tells them apart.
    let rows = |from: i64| numbered((from..from + 1_000).map(|id| id + 10_000));
    let table = cache.define_table("mixed", TableDefinition::new(rows(0)).primary_key(["id"])).unwrap();
    table.append(rows(1_000)).unwrap();
    cache.compact().unwrap();
    let [first, second] = files::segments(dir.path()).try_into().unwrap();
    define(&cache, "other", 0..100).unwrap();
    cache.close().unwrap();
    drop((cache, table));
    assert_eq!(fs::metadata(&first).unwrap().len(), fs::metadata(&second).unwrap().len());
    let aside = dir.path().join("aside");
    fs::rename(&first, &aside).unwrap();
    fs::rename(&second, &first).unwrap();
    fs::rename(&aside, &second).unwrap();
    for opened in [Cache::open_read_only(dir.path()), Cache::open(dir.path())] {
        let cache = opened.unwrap();
        let table = cache.table("mixed").unwrap();
        for id in [10_000, 10_999, 11_000, 11_999] {
            refused(table.get(id), ErrorCode::Corrupt, &["arrow"]);
        }
        refused(table.scan().and_then(|scan| scan.concat()), ErrorCode::Corrupt, &["arrow"]);
        assert_ids(&cache.table("other").unwrap(), 0..100);
    }
}
