//! A directory that the first version of the format left, which every later version must open for ever.
//!
//! `tests/golden/v1` is never written again. If version 1 of the format needs another directory beside it, or version
//! 2 its own, name a directory that does not exist and run the ignored test:
//!
//! ```sh
//! PILLION_GOLDEN=/tmp/v2 cargo test -p pillion --no-default-features --test it -- --ignored write_a_golden_directory
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    StringViewArray,
};
use arrow::datatypes::Int32Type;
use pillion::{Cache, CacheOptions, Durability, Table, TableDefinition, Version};
use tempfile::TempDir;

use crate::format_reader;
use crate::support::files::{below, copy, logs, manifests, write};

/// The version that the directory was closed at.
const VERSION: Version = Version { incarnation: 15_290_417_693_846_816_560, sequence: 17 };

/// Rows of `orders` by number, with how often each was written. A missing number was deleted.
fn orders() -> BTreeMap<i64, i32> {
    let mut orders: BTreeMap<i64, i32> = (0..500).map(|id| (id, 0)).collect();
    orders.extend((480..520).map(|id| (id, 1)));
    for deleted in [3, 500, 77] {
        orders.remove(&deleted);
    }
    orders.extend((515..530).map(|id| (id, 2)));
    orders.extend([(3, 2), (100, 2)]);
    for deleted in [101, 519, 529, 510] {
        orders.remove(&deleted);
    }
    orders
}

/// Rows of `orders`. Their key is a text with the byte 0 in it, and a number.
fn orders_batch(orders: impl IntoIterator<Item = (i64, i32)>) -> RecordBatch {
    let orders: Vec<(i64, i32)> = orders.into_iter().collect();
    let ids = || orders.iter().map(|(id, _)| *id);
    let columns: [(&str, ArrayRef, bool); 6] = [
        ("region", Arc::new(StringArray::from_iter_values(ids().map(region))), false),
        ("id", Arc::new(Int64Array::from_iter_values(ids())), false),
        ("amount", Arc::new(Decimal128Array::from_iter(ids().map(amount))), true),
        ("note", Arc::new(StringViewArray::from_iter_values(orders.iter().map(note))), false),
        ("rate", Arc::new(Float64Array::from_iter_values(ids().map(rate))), false),
        (
            "written",
            Arc::new(Int32Array::from_iter_values(orders.iter().map(|(_, written)| *written))),
            false,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn region(id: i64) -> String {
    ["", "north", "nor\0th", "süd"][usize::try_from(id.rem_euclid(4)).unwrap()].to_owned()
}

fn amount(id: i64) -> Option<i128> {
    (id % 7 > 0).then(|| i128::from(id - 250) * 1_000_000_007)
}

fn note((id, written): &(i64, i32)) -> String {
    match id % 3 {
        0 => "short".to_owned(),
        _ => format!("order {id} as it was written the time number {written}"),
    }
}

fn rate(id: i64) -> f64 {
    [-0.0, 0.5, f64::INFINITY, -1e-300][usize::try_from(id.rem_euclid(4)).unwrap()]
}

/// Rows of `events`, a table without a key.
fn events_batch(numbers: impl IntoIterator<Item = i32>) -> RecordBatch {
    let numbers: Vec<i32> = numbers.into_iter().collect();
    let tags = numbers.iter().map(|n| (n % 3 > 0).then(|| (0..n % 3).map(|tag| (tag > 0).then_some(*n))));
    let columns: [(&str, ArrayRef, bool); 2] = [
        ("number", Arc::new(Int32Array::from_iter_values(numbers.iter().copied())), false),
        ("tags", Arc::new(arrow::array::ListArray::from_iter_primitive::<Int32Type, _, _>(tags)), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// The contents of `events`; some numbers come twice.
fn events() -> Vec<i32> {
    (0..60).chain(50..90).chain([7, 7]).collect()
}

const POSITIONS: [(&str, &[u8]); 2] = [("shop", b"0/16B3748"), ("bytes", &[0, 255, 1])];

#[test]
#[ignore = "writes a directory that later versions must open: see the top of this file"]
fn write_a_golden_directory() {
    let dir = PathBuf::from(std::env::var_os("PILLION_GOLDEN").expect("PILLION_GOLDEN names a directory"));
    assert!(!dir.exists(), "{} is there already", dir.display());
    let cache = CacheOptions::new().durability(Durability::Never).open(&dir).unwrap();
    let define = |name: &str, rows: RecordBatch, key: &[&str]| {
        cache.define_table(name, TableDefinition::new(rows).primary_key(key.iter().copied())).unwrap()
    };
    let written = |ids: std::ops::Range<i64>, times: i32| orders_batch(ids.map(|id| (id, times)));
    let key = |id: i64| (region(id), id);
    let orders = define("orders", written(0..500, 0), &["region", "id"]);
    let events = define("events", events_batch(0..60), &[]);
    let emptied = define("emptied", written(0..20, 0), &["id"]);
    define("dropped", written(0..10, 0), &["id"]);
    orders.upsert(written(480..520, 1)).unwrap();
    events.append(events_batch(50..90)).unwrap();
    let positions = cache.transaction().source_position("shop", b"0/0").source_position("forgotten", b"1");
    positions.delete(&orders, &[key(3), key(500)]).unwrap().commit().unwrap();
    cache.compact().unwrap();
    // After the manifests: a table that is dropped, one that is emptied, and rows that stay in the log.
    cache.drop_table("dropped").unwrap();
    orders.delete_many(&[key(77), key(-1)]).unwrap();
    cache.compact().unwrap();
    emptied.upsert(written(10..30, 1)).unwrap();
    emptied.truncate().unwrap();
    orders.upsert(written(515..530, 2)).unwrap();
    orders.upsert(orders_batch([(3, 2), (100, 2)])).unwrap();
    let last = cache.transaction().append(&events, events_batch([7, 7]));
    let last = last.source_position("shop", POSITIONS[0].1).source_position("bytes", POSITIONS[1].1);
    let last = last.source_position("forgotten", b"");
    last.delete(&orders, &[key(101), key(519), key(529), key(510)]).unwrap().commit().unwrap();
    println!("the constant VERSION is {:?}", cache.version().unwrap());
    cache.close().unwrap();
    drop((orders, events, emptied, cache));
    fs::remove_dir_all(dir.join("live")).unwrap();
    fs::remove_file(dir.join("LOCK")).unwrap();
    // A log file may end where its records do.
    for path in logs(&dir) {
        let bytes = fs::read(&path).unwrap();
        let len = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
        write(&path, &bytes[..len.next_multiple_of(64)]);
    }
}

fn golden() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1"), dir.path());
    dir
}

/// Every row of a table as text, in the order of the texts.
fn rows(table: &Table) -> Vec<String> {
    sorted(table.scan().unwrap().map(Result::unwrap))
}

fn sorted(batches: impl IntoIterator<Item = RecordBatch>) -> Vec<String> {
    let mut rows: Vec<String> = batches.into_iter().flat_map(|batch| format_reader::texts(&batch)).collect();
    rows.sort();
    rows
}

/// Fails unless a cache has what the directory was left with, and these rows in `orders`.
#[track_caller]
fn assert_golden(cache: &Cache, orders: &BTreeMap<i64, i32>) {
    let names: Vec<String> = cache.tables().unwrap().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["emptied", "events", "orders"]);
    let table = cache.table("orders").unwrap();
    assert_eq!(rows(&table), sorted([orders_batch(orders.clone())]));
    assert_eq!(table.info().unwrap().rows, orders.len() as u64);
    assert_eq!(table.info().unwrap().rules.primary_key, ["region", "id"]);
    assert_eq!(table.schema().as_ref(), orders_batch([]).schema().as_ref());
    for id in -1..540 {
        let row = table.get((region(id), id)).unwrap();
        let written = row.map(|row| {
            assert_eq!(row.get::<String>("note").unwrap(), note(&(id, row.get("written").unwrap())));
            assert_eq!(row.get::<f64>("rate").unwrap().to_bits(), rate(id).to_bits());
            row.get::<i32>("written").unwrap()
        });
        assert_eq!(written, orders.get(&id).copied(), "order {id}");
    }
    let table = cache.table("events").unwrap();
    assert_eq!(rows(&table), sorted([events_batch(events())]));
    assert!(table.info().unwrap().rules.primary_key.is_empty() && table.info().unwrap().freshness.is_some());
    assert!(rows(&cache.table("emptied").unwrap()).is_empty());
    for (source, position) in POSITIONS {
        assert_eq!(cache.source_position(source).unwrap().as_deref(), Some(position));
    }
    assert_eq!(cache.source_position("forgotten").unwrap(), None);
}

#[test]
fn it_is_read() {
    let dir = golden();
    let before = below(dir.path());
    let cache = Cache::open_read_only(dir.path()).unwrap();
    assert_golden(&cache, &orders());
    assert_eq!(cache.version().unwrap(), VERSION);
    assert_eq!(below(dir.path()), before, "a reader writes nothing");
    // These properties make the directory worth keeping.
    let contents = format_reader::read(dir.path());
    assert!(contents.closed && contents.manifest.1 == 2);
    assert_eq!(contents.version, (VERSION.incarnation, VERSION.sequence));
    let table = &contents.tables["orders"];
    assert!(table.tails.values().any(|tail| tail.rows > 0) && table.deleted.len() > 1);
    assert_eq!(table.live_rows(), sorted([orders_batch(orders())]));
}

#[test]
fn it_is_written_on() {
    let dir = golden();
    let mut expected = orders();
    for round in 0..3 {
        let cache = Cache::open(dir.path()).unwrap();
        assert_eq!(cache.status().unwrap().damage, None);
        assert_eq!(cache.version().unwrap().incarnation, VERSION.incarnation, "versions go on");
        assert_golden(&cache, &expected);
        let table = cache.table("orders").unwrap();
        table.upsert(orders_batch([(0, 9 + round), (520, 9), (530, 9)])).unwrap();
        table.delete_many(&[(region(4), 4_i64), (region(521), 521)]).unwrap();
        expected.extend([(0, 9 + round), (520, 9), (530, 9)]);
        expected.retain(|id, _| ![4, 521].contains(id));
        assert_golden(&cache, &expected);
        if round == 1 {
            cache.compact().unwrap();
            assert_golden(&cache, &expected);
        }
        cache.close().unwrap();
    }
    assert_golden(&Cache::open_read_only(dir.path()).unwrap(), &expected);
}

#[test]
fn it_is_read_from_the_older_manifest() {
    let dir = golden();
    fs::remove_file(&manifests(dir.path())[1]).unwrap();
    let cache = Cache::open_read_only(dir.path()).unwrap();
    assert_golden(&cache, &orders());
    assert_eq!(cache.version().unwrap(), VERSION);
}

/// As if its owner had died just before it wrote the last record, that of a clean close.
#[test]
fn it_is_recovered() {
    let dir = golden();
    let log = logs(dir.path()).pop().unwrap();
    let bytes = fs::read(&log).unwrap();
    write(&log, &bytes[..bytes.len() - 64]);
    let cache = Cache::open(dir.path()).unwrap();
    assert_eq!(cache.status().unwrap().damage, None);
    assert_ne!(cache.version().unwrap().incarnation, VERSION.incarnation);
    assert_golden(&cache, &orders());
}
