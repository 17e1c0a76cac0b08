//! A volume of 64 MiB that upserts fill, and that has space again later.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use pillion::{Cache, CacheOptions, Durability, Error, ErrorCode, ErrorKind, Table, TableDefinition};

use crate::support::disk::Disk;
use crate::support::files;
use crate::support::random::Random;
use crate::support::report;

/// Bytes of the volume ...
const VOLUME: u64 = 64 << 20;
/// ... and of a file beside the cache; removing it gives the cache space.
const BESIDE: usize = 24 << 20;
/// Rows of one upsert, of about 1 MiB.
const ROWS: u64 = 1_000;
const TEXT: usize = 1 << 10;
/// Keys are below this.
const KEYS: u64 = 20_000;

/// Acknowledged rows: by key, the upsert that wrote the row.
type Acknowledged = BTreeMap<i64, i64>;

fn text(id: i64, by: i64) -> String {
    let mut text = format!("{by}/{id} ").repeat(TEXT / 4);
    text.truncate(TEXT);
    text
}

fn rows(ids: &[i64], by: i64) -> RecordBatch {
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from(ids.to_vec()))),
        ("by", Arc::new(Int64Array::from(vec![by; ids.len()]))),
        ("text", Arc::new(StringArray::from_iter_values(ids.iter().map(|&id| text(id, by))))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[track_caller]
fn assert_holds(table: &Table, expected: &Acknowledged) {
    let mut found = Acknowledged::new();
    for batch in table.scan().unwrap() {
        let batch = batch.unwrap();
        let numbers = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
        for (row, (&id, &by)) in numbers(0).iter().zip(numbers(1)).enumerate() {
            assert_eq!(batch.column(2).as_string::<i32>().value(row), text(id, by));
            assert!(found.insert(id, by).is_none(), "{id} is there twice");
        }
    }
    assert!(&found == expected, "{} rows and not {}", found.len(), expected.len());
    for (&id, &by) in expected.iter().step_by(97) {
        assert_eq!(table.get(id).unwrap().unwrap().get::<i64>("by").unwrap(), by);
    }
}

#[track_caller]
fn assert_full(error: &Error) {
    assert_eq!((error.code(), error.kind()), (ErrorCode::DiskFull, ErrorKind::Retry), "{error:?}");
}

struct Filling {
    cache: Cache,
    table: Table,
    acknowledged: Acknowledged,
    random: Random,
    upserts: i64,
}

impl Filling {
    fn upsert(&mut self) -> Result<(), Error> {
        let mut ids: Vec<i64> = (0..ROWS).map(|_| i64::try_from(self.random.below(KEYS)).unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        self.upserts += 1;
        self.table.upsert(rows(&ids, self.upserts))?;
        self.acknowledged.extend(ids.into_iter().map(|id| (id, self.upserts)));
        Ok(())
    }

    /// Upserts until no space is left.
    fn fill(&mut self) -> i64 {
        let before = self.upserts;
        while self.upserts - before < 500 {
            if let Err(error) = self.upsert() {
                assert_full(&error);
                return self.upserts - before;
            }
        }
        panic!("the volume is never full")
    }
}

fn fills_and_goes_on(disk: &Disk, durability: Durability) {
    let dir = disk.cache_dir();
    let beside = disk.path().join("beside");
    std::io::Write::write_all(&mut File::create(&beside).unwrap(), &vec![1; BESIDE]).unwrap();
    let cache = CacheOptions::new().durability(durability).open(&dir).unwrap();
    let table = cache.define_table("t", TableDefinition::new(rows(&[], 0)).primary_key(["id"])).unwrap();
    let (acknowledged, random) = (Acknowledged::new(), Random::new(53));
    let mut filling = Filling { cache, table, acknowledged, random, upserts: 0 };
    let reader = Cache::open_read_only(&dir).unwrap();
    let upserts = filling.fill();
    for _ in 0..3 {
        assert_holds(&filling.table, &filling.acknowledged);
        assert_holds(&reader.table("t").unwrap(), &filling.acknowledged);
        // To make room, the cache must not give up rows before it has written their replacement.
        if let Err(error) = filling.cache.compact() {
            assert_full(&error);
        }
        files::assert_no_temporary_files(&dir);
        filling.fill();
    }
    // Takes the rest of the space too.
    let filler = disk.fill();
    let version = filling.cache.version().unwrap();
    let before = files::segments(&dir);
    let error = filling.cache.compact().expect_err("there is no space for what it would write");
    assert_full(&error);
    assert_eq!(
        (filling.cache.version().unwrap(), files::segments(&dir)),
        (version, before),
        "a clean refusal"
    );
    files::assert_no_temporary_files(&dir);
    assert_full(&filling.upsert().expect_err("the volume is full"));
    assert_holds(&filling.table, &filling.acknowledged);

    // The same handle goes on.
    std::fs::remove_file(filler).unwrap();
    std::fs::remove_file(beside).unwrap();
    filling.upsert().unwrap();
    filling.cache.compact().unwrap();
    let more = filling.fill();
    assert!(more > 0, "there is space again");
    assert_holds(&filling.table, &filling.acknowledged);
    assert_holds(&reader.table("t").unwrap(), &filling.acknowledged);
    report::add(format_args!(
        "full volume, {durability:?}: {upserts} upserts fill it, {more} more the space of the file beside it"
    ));
    let Filling { cache, table, acknowledged, .. } = filling;
    // Closing may find no space for its mark.
    let _ = cache.close();
    drop((cache, table, reader));
    let reader = Cache::open_read_only(&dir).unwrap();
    assert_holds(&reader.table("t").unwrap(), &acknowledged);
    assert_eq!(reader.status().unwrap().damage, None);
}

#[test]
fn a_full_volume_loses_nothing_and_is_used_again() {
    for durability in [Durability::Always, Durability::Never] {
        let Some(disk) = Disk::ext4(VOLUME) else { return };
        fills_and_goes_on(&disk, durability);
    }
    let Some(disk) = Disk::in_memory(VOLUME) else { return };
    fills_and_goes_on(&disk, Durability::Never);
}
