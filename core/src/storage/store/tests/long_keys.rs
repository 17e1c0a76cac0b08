//! Keys that are long beside the records that tell of them.

use crate::types::mode::WriteMode;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::storage::format::RECORD_BODY_MAX;
use crate::storage::key::KEY_LEN_MAX;
use crate::storage::store::*;
use crate::storage::vfs::OsVfs;
use crate::storage::{Follower, KeyColumn};

const MIB: usize = 1 << 20;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("key", DataType::Binary, false)]))
}

fn rows(keys: &[Vec<u8>]) -> impl Iterator<Item = Result<RecordBatch>> + use<> {
    let keys = BinaryArray::from_iter_values(keys);
    std::iter::once(Ok(RecordBatch::try_new(schema(), vec![Arc::new(keys)]).unwrap()))
}

/// Keys of `len` bytes that begin alike and end with different numbers.
fn alike(first: u8, len: usize, numbers: impl IntoIterator<Item = u8>) -> Vec<Vec<u8>> {
    let key = |number| {
        let mut key = vec![first; len];
        key[len - 1] = number;
        key
    };
    numbers.into_iter().map(key).collect()
}

fn open(dir: &Path) -> Store {
    Store::open(Files::new(dir.to_owned(), Arc::new(OsVfs)), Sync::Later, 64 << 20, 0).unwrap()
}

fn create(store: &Store, keys: &[Vec<u8>]) -> u64 {
    let shape = TableShape::keyed("t", schema(), 0);
    store.create_table(shape, SystemTime::now(), &mut rows(keys)).unwrap();
    store.state().table("t").unwrap().shape.id
}

fn append(store: &Store, table: u64, keys: &[Vec<u8>]) -> Result<Version> {
    store.write(
        vec![Change::Rows { table, mode: WriteMode::Append, rows: &mut rows(keys) }],
        SystemTime::now(),
    )
}

/// Asserts that a state has exactly these keys, and that a lookup finds each of them.
fn assert_keys(state: &State, expected: &BTreeSet<Vec<u8>>) {
    let table = state.table("t").unwrap();
    let mut parts = table.tail_parts().unwrap();
    parts.extend(table.segments.iter().flat_map(|segment| TableState::segment_parts(segment).unwrap()));
    let mut found = BTreeSet::new();
    for part in parts {
        for batch in table.read_part(&part, None, state.version.sequence, &[0], &schema()).unwrap() {
            for (key, _) in KeyColumn::of(&batch, &[0]).unwrap().iter() {
                assert!(table.find(key, state.version.sequence).unwrap().is_some(), "a key is found");
            }
            let keys = batch.column(0).as_binary::<i32>().iter().flatten();
            keys.for_each(|key| assert!(found.insert(key.to_vec()), "a key comes once"));
        }
    }
    // The message does not show which keys differ: they are long.
    assert!(found == *expected, "{} keys, not {}", found.len(), expected.len());
    assert_eq!(table.rows, expected.len() as u64);
}

#[test]
fn commits_of_many_segments_with_long_keys_are_written_moved_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // The last part has no upper bound.
    let parts = |number: u8| [1, 2, 3, 200, 0xFF].map(|first| alike(first, MIB, 3 * number..3 * number + 3));
    let mut expected: BTreeSet<Vec<u8>> = BTreeSet::new();
    let table = create(&store, &[]);
    for number in 0..2 {
        // Each part is too large to be logged, so one commit brings five segments.
        let parts = parts(number);
        let mut parts_of_rows = parts.each_ref().map(|part| rows(part));
        let changes = parts_of_rows.iter_mut().map(|rows| Change::Rows {
            table,
            mode: WriteMode::Append,
            rows: rows as _,
        });
        store.write(changes.collect(), SystemTime::now()).unwrap();
        expected.extend(parts.into_iter().flatten());
    }
    assert_keys(&store.state(), &expected);
    let again = append(&store, table, &alike(0xFF, MIB, [4])).unwrap_err();
    assert_eq!(again.code(), ErrorCode::DuplicateKey);
    let logged = alike(3, MIB, [100]);
    append(&store, table, &logged).unwrap();
    expected.extend(logged);
    let keys = KeyColumn::of(&rows(&alike(2, MIB, [1])).next().unwrap().unwrap(), &[0]).unwrap();
    store.write(vec![Change::Delete { table, keys, invalidates: false }], SystemTime::now()).unwrap();
    expected.retain(|key| *key != alike(2, MIB, [1])[0]);
    store.merge_table(table, 1).unwrap();
    assert_keys(&store.state(), &expected);
    // As if the process were killed: the next owner moves what is logged before it takes a commit.
    drop(store);
    let store = open(dir.path());
    assert_keys(&store.state(), &expected);
    let (follower, damage) = Follower::open(Files::new(dir.path().to_owned(), Arc::new(OsVfs))).unwrap();
    assert_eq!(damage, None);
    assert_keys(&follower.newest().unwrap(), &expected);
    let records = store.state().to_record(0).unwrap();
    assert!(rmp_serde::to_vec_named(&records).unwrap().len() < 16 << 10, "a manifest has no long keys");
}

#[test]
fn an_owner_that_died_with_the_longest_keys_in_its_log_has_a_successor() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let table = create(&store, &[]);
    // A zero takes two bytes in an encoded key, so that two of these are as long as a record may be.
    let keys: Vec<Vec<u8>> = [1, 2].into_iter().flat_map(|number| alike(0, 2 * MIB - 40, [number])).collect();
    for key in &keys {
        append(&store, table, std::slice::from_ref(key)).unwrap();
    }
    assert_eq!(store.state().table("t").unwrap().segments.len(), 0, "they are logged");
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.state().table("t").unwrap().tails.len(), 0, "they were moved");
    assert_keys(&store.state(), &keys.into_iter().collect());
}

#[test]
fn a_key_that_no_commit_could_delete_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // The encoding ends with two zeros.
    let longest = alike(7, KEY_LEN_MAX - 2, [1]);
    let table = create(&store, &longest);
    let expected: BTreeSet<Vec<u8>> = longest.iter().cloned().collect();
    let keys = |rows: &[Vec<u8>]| KeyColumn::of(&self::rows(rows).next().unwrap().unwrap(), &[0]).unwrap();
    for too_long in [alike(7, KEY_LEN_MAX - 1, [2]), alike(7, RECORD_BODY_MAX + 1, [3])] {
        let (mut some, mut other, mut more) = (rows(&too_long), rows(&too_long), rows(&too_long));
        let attempts = [
            Change::Rows { table, mode: WriteMode::Append, rows: &mut some },
            Change::Rows { table, mode: WriteMode::Upsert, rows: &mut other },
            Change::Rows { table, mode: WriteMode::Replace, rows: &mut more },
            Change::Delete { table, keys: keys(&too_long), invalidates: false },
        ];
        for change in attempts {
            let error = store.write(vec![change], SystemTime::now()).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidKey);
            assert!(error.to_string().contains("a key of `t`"), "{error}");
            assert!(error.to_string().contains(&KEY_LEN_MAX.to_string()), "{error}");
        }
        assert_keys(&store.state(), &expected);
    }
    // Few bytes of a row can be many of its key.
    let zeros = alike(0, KEY_LEN_MAX / 2 - 1, [0]);
    assert_eq!(keys(&zeros).longest(), KEY_LEN_MAX);
    append(&store, table, &zeros).unwrap();
    let gone = Change::Delete { table, keys: keys(&[longest, zeros].concat()), invalidates: false };
    assert_eq!(store.write(vec![gone], SystemTime::now()).unwrap_err().code(), ErrorCode::InvalidArgument);
}
