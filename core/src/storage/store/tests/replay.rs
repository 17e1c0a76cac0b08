//! The same history with the same clock and the same random numbers writes the same bytes.

use crate::types::mode::WriteMode;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::storage::KeyColumn;
use crate::storage::store::opening::LOCK_FILE;
use crate::storage::store::*;
use crate::storage::vfs::machine::CountedMachine;
use crate::storage::vfs::{OsVfs, Vfs};

fn schema() -> SchemaRef {
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, false)];
    Arc::new(Schema::new(fields))
}

fn rows(ids: std::ops::Range<i64>) -> impl Iterator<Item = Result<RecordBatch>> {
    let names = StringArray::from_iter_values(ids.clone().map(|id| format!("name {id}")));
    let ids = Int64Array::from_iter_values(ids);
    std::iter::once(Ok(RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(names)]).unwrap()))
}

fn open(dir: &Path, seed: u64) -> Store {
    let files = Files::new(dir.to_owned(), Arc::new(OsVfs)).with_machine(CountedMachine::new(seed));
    Store::open(files, Sync::Always, 1 << 20, 0).unwrap()
}

/// Every file of a directory after a history of three owners, the second of which was killed.
fn written(seed: u64) -> BTreeMap<PathBuf, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let as_of = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for owner in 0..3 {
        let store = open(dir.path(), seed + 100 * owner);
        if owner == 0 {
            for name in ["first", "second"] {
                let shape = TableShape::keyed(name, schema(), 0);
                store.create_table(shape, as_of, &mut rows(0..40_000)).unwrap();
            }
        }
        let table = |name: &str| store.state().table(name).unwrap().shape.id;
        let (first, second) = (table("first"), table("second"));
        for step in 0..30 {
            let mut more = rows(100 * step..100 * step + 50);
            let mut others = rows(39_990 + step..40_005 + step);
            let changes = vec![
                Change::Rows { table: first, mode: WriteMode::Upsert, rows: &mut more },
                Change::Rows { table: second, mode: WriteMode::Upsert, rows: &mut others },
                Change::Position { source: "source".into(), position: step.to_le_bytes().to_vec() },
            ];
            store.write(changes, as_of).unwrap();
            let keys = rows(step..step + 3).next().unwrap().unwrap();
            let keys = KeyColumn::of(&keys, &[0]).unwrap();
            store.write(vec![Change::Delete { table: second, keys, invalidates: false }], as_of).unwrap();
            if step % 10 == 9 {
                store.fold().unwrap();
                store.upkeep().unwrap();
            }
        }
        if owner != 1 {
            store.close(false).unwrap();
        }
    }
    let mut files = BTreeMap::new();
    collect(dir.path(), dir.path(), &mut files);
    files
}

fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for name in OsVfs.list(dir).unwrap() {
        let path = dir.join(name);
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            // The lock file names the process that held it.
            let is_lock = path.file_name().is_some_and(|name| name == LOCK_FILE);
            let content = if is_lock { Vec::new() } else { OsVfs.read(&path).unwrap() };
            files.insert(path.strip_prefix(root).unwrap().to_owned(), content);
        }
    }
}

#[test]
fn a_history_that_is_replayed_writes_the_same_bytes() {
    let (first, again, other) = (written(1), written(1), written(2));
    assert!(first.keys().eq(again.keys()), "{:?} and {:?}", first.keys(), again.keys());
    let differ: Vec<_> = first.iter().filter(|(path, content)| again[*path] != **content).collect();
    let differ: Vec<_> = differ.into_iter().map(|(path, _)| path).collect();
    assert!(differ.is_empty(), "{differ:?}");
    assert!(first.len() > 5, "{:?}", first.keys());
    assert_eq!(first.get(Path::new(LOCK_FILE)), Some(&Vec::new()), "the name of a process is not compared");
    assert_ne!(first, other, "the numbers of its incarnations are others");
}
