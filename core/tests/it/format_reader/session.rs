//! A cache that is looked at from behind, and rows for it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::types::Int32Type;
use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::TimeUnit;
use pillion::{Cache, CacheOptions, Durability, Table, TableDefinition, Value};
use tempfile::TempDir;

use super::{Contents, read, texts};
use crate::support::files::{below, copy, manifests};

/// A cache whose directory the reader reads too.
pub(super) struct Session {
    pub(super) dir: TempDir,
    pub(super) cache: Cache,
}

impl Session {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = CacheOptions::new().durability(Durability::Never).open(dir.path()).unwrap();
        Self { dir, cache }
    }

    pub(super) fn reopen(&mut self) {
        self.cache.close().unwrap();
        self.cache = Cache::open(self.dir.path()).unwrap();
    }

    /// Copies the directory as it is, as a crash or a close would leave it, and compares what the reader and Pillion
    /// read in the copy.
    #[track_caller]
    pub(super) fn look(&self) -> Contents {
        let followed = self.still();
        self.look_at(followed.path());
        compare(followed.path())
    }

    /// As [`look`](Self::look), but without reading `live/`.
    pub(super) fn look_without_following(&self) {
        let still = self.still();
        self.look_at(still.path());
    }

    fn look_at(&self, still: &Path) {
        let [recovered, older] = [copied(still), copied(still)];
        fs::remove_dir_all(recovered.path().join("live")).unwrap();
        let contents = compare(recovered.path());
        for table in self.cache.tables().unwrap() {
            let ours = contents.tables[&table.name].live_rows();
            assert_eq!(ours, rows(&self.cache.table(&table.name).unwrap()), "the cache that is open");
        }
        if let [_, newest] = manifests(older.path()).as_slice() {
            fs::remove_file(newest).unwrap();
            fs::remove_dir_all(older.path().join("live")).unwrap();
            let from_older = compare(older.path());
            assert_eq!(from_older.version, contents.version);
            assert_eq!(from_older.positions, contents.positions);
            assert_eq!(from_older.incarnations, contents.incarnations);
            for (name, table) in &contents.tables {
                assert_eq!(from_older.tables[name].live_rows(), table.live_rows(), "table `{name}`");
            }
        }
    }

    /// A copy of the directory, taken while no thread of the cache works in it.
    fn still(&self) -> TempDir {
        let state = || (version(&self.cache), below(self.dir.path()));
        loop {
            let before = state();
            let to = tempfile::tempdir().unwrap();
            let is_whole = before.1.iter().all(|path| {
                let target = to.path().join(path.strip_prefix(self.dir.path()).unwrap());
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::copy(path, target).is_ok()
            });
            if is_whole && state() == before {
                return to;
            }
        }
    }
}

fn copied(dir: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    copy(dir, to.path());
    to
}

pub(super) fn version(cache: &Cache) -> (u64, u64) {
    let version = cache.version().unwrap();
    (version.incarnation, version.sequence)
}

/// Every row of a table as text, in the order of the texts.
pub(super) fn rows(table: &Table) -> Vec<String> {
    let mut rows: Vec<String> = table.scan().unwrap().flat_map(|batch| texts(&batch.unwrap())).collect();
    rows.sort();
    rows
}

/// Compares what the reader and Pillion read in a directory that no process has open.
#[track_caller]
fn compare(dir: &Path) -> Contents {
    let ours = read(dir);
    let read_only = Cache::open_read_only(dir).unwrap();
    assert_eq!(ours.version, version(&read_only));
    compare_contents(&ours, &read_only);
    drop(read_only);
    let owner = Cache::open(dir).unwrap();
    assert_eq!(owner.status().unwrap().damage, None);
    // The new owner moves rows out of the log at once, and that makes versions too.
    assert_eq!(
        version(&owner).0 == ours.version.0,
        ours.closed,
        "an incarnation goes on if the cache was closed"
    );
    compare_contents(&ours, &owner);
    ours
}

fn compare_contents(ours: &Contents, theirs: &Cache) {
    let infos = theirs.tables().unwrap();
    let names: Vec<&String> = infos.iter().map(|info| &info.name).collect();
    assert_eq!(ours.tables.keys().collect::<Vec<_>>(), names);
    for info in &infos {
        let (table, read) = (&ours.tables[&info.name], theirs.table(&info.name).unwrap());
        let live = table.live_rows();
        assert_eq!(live, rows(&read), "table `{}`", info.name);
        assert_eq!(live.len() as u64, info.rows);
        assert_eq!((&table.schema, &table.key_names.0), (&info.schema, &info.rules.primary_key));
        assert_eq!(table.key_names.1, info.rules.sort_by);
        let as_of =
            table.as_of.map(|as_of| SystemTime::UNIX_EPOCH + Duration::from_nanos(as_of.unsigned_abs()));
        assert_eq!(as_of, info.freshness.map(|freshness| freshness.as_of));
    }
    for (source, position) in &ours.positions {
        assert_eq!(theirs.source_position(source).unwrap().as_ref(), Some(position));
    }
}

/// Rows of many types, with a key of three columns.
pub(super) fn varied(ids: impl IntoIterator<Item = i64>, salt: i64) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let each = |make: fn(i64, i64) -> i64| ids.iter().map(move |id| make(*id, salt));
    let lists = each(|id, salt| id + salt).map(|n| {
        (n % 4 > 0).then(|| (0..n % 4).map(|item| (item > 0).then_some(7)).collect::<Vec<Option<i32>>>())
    });
    let columns: [(&str, ArrayRef); 8] = [
        ("text", Arc::new(StringArray::from_iter_values(ids.iter().map(|id| format!("a\0{}", id % 3))))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(each(|id, _| -id)))),
        ("price", Arc::new(Decimal128Array::from_iter_values(ids.iter().map(|id| i128::from(id - 5))))),
        (
            "flag",
            Arc::new(BooleanArray::from_iter(
                each(|id, salt| id + salt).map(|n| (n % 3 > 0).then_some(n % 2 > 0)),
            )),
        ),
        (
            "rate",
            Arc::new(Float64Array::from_iter_values(
                ids.iter().map(|id| f64::from(i32::try_from(id + salt).unwrap()) / 8.0),
            )),
        ),
        (
            "view",
            Arc::new(StringViewArray::from_iter_values(
                each(|id, salt| id * salt)
                    .map(|n| "long enough to stand elsewhere ".repeat(usize::try_from(n % 3).unwrap())),
            )),
        ),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
        (
            "whole",
            Arc::new(Int64Array::from_iter(each(|id, salt| id ^ salt).map(|n| (n % 5 > 0).then_some(n)))),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, name != "text" && name != "at" && name != "price")),
    )
    .unwrap()
}

/// The key of a row of [`varied`].
pub(super) fn key(id: i64) -> [Value; 3] {
    [
        Value::from(format!("a\0{}", id % 3)),
        Value::Timestamp { value: -id, unit: TimeUnit::Microsecond },
        Value::Decimal { unscaled: i128::from(id - 5), scale: 10 },
    ]
}

pub(super) fn define_varied(cache: &Cache) -> Table {
    let definition = TableDefinition::new(varied(0..50, 1)).primary_key(["text", "at", "price"]);
    cache.define_table("varied", definition).unwrap()
}
