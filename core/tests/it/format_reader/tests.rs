//! What the reader reads is what Pillion reads.

use std::sync::Arc;

use arrow::array::{BinaryArray, RecordBatch};
use pillion::{Cache, TableDefinition};

use super::session::{Session, define_varied, key, rows, varied};
use crate::support::files::logs;
use crate::support::random::Random;
use crate::support::{define, numbered};

#[test]
fn a_new_directory_and_appended_rows() {
    let session = Session::new();
    assert_eq!(session.look().manifest, (0, 1));
    let varied_table = define_varied(&session.cache);
    let keyless = session
        .cache
        .define_table("keyless", TableDefinition::new(numbered(0..10)).sort_by(["name"]))
        .unwrap();
    define(&session.cache, "empty", []).unwrap();
    session.look();
    varied_table.append(varied(50..90, 2)).unwrap();
    varied_table.append(varied(90..91, 2)).unwrap();
    keyless.append(numbered(5..15)).unwrap();
    keyless.append(numbered(40_000..75_000)).unwrap();
    let contents = session.look();
    assert_eq!(contents.tables["varied"].tails.values().map(|tail| tail.rows).sum::<usize>(), 41);
    assert_eq!(contents.tables["keyless"].segments.len(), 2);
    assert_eq!(contents.tables["keyless"].live_rows().len(), 35_020);
    assert!(contents.tables["empty"].live_rows().is_empty());
}

#[test]
fn upserted_and_deleted_rows() {
    let mut session = Session::new();
    let table = define_varied(&session.cache);
    table.upsert(varied(40..60, 3)).unwrap();
    table.upsert(varied(45..55, 4)).unwrap();
    session.look();
    table.delete_many(&[key(3), key(47), key(1000)]).unwrap();
    let numbers = define(&session.cache, "numbers", 0..100).unwrap();
    numbers.delete_many(&(10..20).collect::<Vec<i64>>()).unwrap();
    numbers.upsert(numbered([15, 99, 100, 100])).unwrap();
    numbers.delete_many(&[15, 15, 700]).unwrap();
    numbers.upsert(numbered([15])).unwrap();
    let contents = session.look();
    assert_eq!(contents.tables["numbers"].deleted.values().map(|rows| rows.len()).sum::<usize>(), 11);
    assert_eq!(contents.tables["numbers"].live_rows().len(), 92);
    assert!(!contents.closed);
    // Closed, with its rows in the log.
    session.cache.close().unwrap();
    let contents = session.look();
    assert!(contents.closed && !contents.tables["numbers"].tails.is_empty());
    session.reopen();
    let numbers = session.cache.table("numbers").unwrap();
    numbers.upsert(numbered(95..105)).unwrap();
    session.look();
}

#[test]
fn keys_that_are_longer_than_the_bounds_of_segments() {
    let mut session = Session::new();
    // Keys of FF bytes only have no short upper bound.
    let rows = |numbers: std::ops::Range<u16>| {
        let key =
            |(first, number): (u8, u16)| [&[first; 3_000][..], format!("{number:04}").as_bytes()].concat();
        let keys = numbers.flat_map(|number| [0, 7, 0xFF].map(|first| key((first, number))));
        let keys = BinaryArray::from_iter_values(keys);
        RecordBatch::try_from_iter([("key", Arc::new(keys) as _)]).unwrap()
    };
    let table = session.cache.define_table("long", TableDefinition::new(rows(0..50)).primary_key(["key"]));
    let table = table.unwrap();
    table.upsert(rows(40..60)).unwrap();
    session.look();
    // This is enough for a segment.
    table.upsert(rows(55..320)).unwrap();
    session.cache.compact().unwrap();
    let contents = session.look();
    assert_eq!(contents.tables["long"].live_rows().len(), 960);
    session.reopen();
    session.look();
}

#[test]
fn compacted_and_truncated_tables() {
    let mut session = Session::new();
    let numbers = define(&session.cache, "numbers", 0..1000).unwrap();
    let others = define_varied(&session.cache);
    let gone = define(&session.cache, "gone", 0..10).unwrap();
    numbers.upsert(numbered(990..1010)).unwrap();
    session.cache.compact().unwrap();
    let contents = session.look();
    assert!(contents.manifest.0 > 0, "read from a manifest that holds the state before its fold");
    assert!(contents.tables["numbers"].tails.is_empty());
    assert_eq!(contents.tables["numbers"].deleted.values().map(|rows| rows.len()).sum::<usize>(), 10);
    // After the manifest: deletions of rows in the segments of the fold, in older ones, and in the tail.
    numbers.delete_many(&[5, 995, 1005, 2000]).unwrap();
    numbers.upsert(numbered([5, 6, 1005])).unwrap();
    numbers.delete(6).unwrap();
    others.upsert(varied(0..10, 9)).unwrap();
    session.look();
    gone.append(numbered([10])).unwrap();
    session.cache.drop_table("gone").unwrap();
    numbers.upsert(numbered(0..400)).unwrap();
    session.cache.compact().unwrap();
    session.look();
    // More than half of the segment is deleted, so it is written again.
    numbers.delete_many(&(300..1000).collect::<Vec<i64>>()).unwrap();
    session.cache.compact().unwrap();
    let contents = session.look();
    assert_eq!(contents.manifest.1, 2);
    numbers.truncate().unwrap();
    session.look();
    numbers.append(numbered(7..9)).unwrap();
    others.truncate().unwrap();
    session.look();
    session.cache.compact().unwrap();
    let contents = session.look();
    assert_eq!(contents.tables["numbers"].live_rows().len(), 2);
    numbers.delete_many(&[7, 8]).unwrap();
    session.cache.compact().unwrap();
    assert_eq!(session.look().tables["numbers"].segments.len(), 0, "a fold that has nothing to write");
    session.reopen();
    session.look();
}

#[test]
fn transactions() {
    let mut session = Session::new();
    let numbers = define(&session.cache, "numbers", 0..100).unwrap();
    let others = define(&session.cache, "others", 0..100).unwrap();
    session
        .cache
        .transaction()
        .upsert(&numbers, numbered(95..105))
        .delete(&numbers, &[95, 3, 200])
        .unwrap()
        .upsert(&numbers, numbered([3, 104]))
        .delete(&others, &[3, 4])
        .unwrap()
        .append(&others, numbered([3, 100]))
        .source_position("shop", b"0/16B3748")
        .source_position("orders", b"7")
        .commit()
        .unwrap();
    let contents = session.look();
    assert_eq!(contents.positions["shop"], b"0/16B3748");
    session
        .cache
        .transaction()
        .upsert(&others, numbered(100..110))
        .truncate(&numbers)
        .append(&numbers, numbered(0..5))
        .replace(&others, numbered(20..30))
        .upsert(&others, numbered(25..35))
        .source_position("orders", b"")
        .commit()
        .unwrap();
    let contents = session.look();
    assert_eq!(contents.positions.keys().collect::<Vec<_>>(), ["shop"]);
    // There are more rows than a commit logs: they come as segments, and replace rows in segments and in tails.
    session
        .cache
        .transaction()
        .upsert(&others, numbered(28..40_000))
        .upsert(&others, numbered([27, 33, 39_999, 40_000]))
        .upsert(&numbers, numbered(3..40_000))
        .commit()
        .unwrap();
    let contents = session.look();
    assert_eq!(contents.tables["others"].live_rows().len(), 39_981);
    session.cache.compact().unwrap();
    session.look();
    session.reopen();
    session.look();
}

/// Whatever happens to a table, the reader finds the same rows as Pillion.
#[test]
fn many_commits() {
    change_at_random(Session::look_without_following);
}

#[test]
fn many_commits_are_followed() {
    change_at_random(|session| drop(session.look()));
}

#[test]
fn rows_that_are_deleted_during_a_fold() {
    let session = Session::new();
    let numbers = define(&session.cache, "numbers", []).unwrap();
    numbers.upsert(numbered(0..30_000)).unwrap();
    let files = logs(session.dir.path());
    std::thread::scope(|scope| {
        let fold = scope.spawn(|| session.cache.compact().unwrap());
        // Once the new log file is begun, the fold works on the rows as they were then.
        while logs(session.dir.path()) == files {
            std::thread::yield_now();
        }
        for id in 0..20 {
            numbers.delete(id).unwrap();
        }
        fold.join().unwrap();
    });
    let contents = session.look();
    assert_eq!(contents.tables["numbers"].live_rows().len(), 29_980);
    assert!(contents.tables["numbers"].segments.len() == 1 && contents.manifest.0 > 0);
}

fn change_at_random(look: impl Fn(&Session)) {
    let mut random = Random::new(4);
    let mut session = Session::new();
    for name in ["a", "b", "c"] {
        define(&session.cache, name, 0..200).unwrap();
    }
    for step in 0..80 {
        let name = ["a", "b", "c"][usize::try_from(random.below(3)).unwrap()];
        let table = session.cache.table(name).unwrap();
        let ids: Vec<i64> =
            (0..random.below(40)).map(|_| i64::try_from(random.below(400)).unwrap()).collect();
        let written = match random.below(20) {
            0..8 => table.upsert(numbered(ids)).map(drop),
            8..14 => table.delete_many(&ids).map(drop),
            14 => table.truncate().map(drop),
            15 => table.replace(numbered(100..300)).map(drop),
            16 => table.upsert(numbered(150..33_000)).map(drop),
            17 => session.cache.compact(),
            18 => {
                session.reopen();
                Ok(())
            }
            _ => {
                let other = session.cache.table("c").unwrap();
                let changes = session.cache.transaction().upsert(&table, numbered(ids.clone()));
                let changes = changes.source_position("source", step.to_string());
                changes.delete(&other, &ids).unwrap().commit().map(drop)
            }
        };
        written.unwrap();
        if step % 8 == 7 {
            look(&session);
        }
    }
}

#[test]
fn two_large_upserts_of_a_table_in_one_commit() {
    let session = Session::new();
    let numbers = define(&session.cache, "numbers", 0..10).unwrap();
    numbers.upsert(numbered(5..20)).unwrap();
    let changes = session.cache.transaction().upsert(&numbers, numbered(0..40_000));
    changes.upsert(&numbers, numbered(0..40_000)).commit().unwrap();
    let contents = session.look();
    assert_eq!(contents.tables["numbers"].live_rows().len(), 40_000);
}

#[test]
fn a_large_upsert_after_a_commit_that_failed() {
    let session = Session::new();
    let numbers = define(&session.cache, "numbers", 0..10).unwrap();
    numbers.upsert(numbered(0..1000)).unwrap();
    let attached = Cache::open_read_only(session.dir.path()).unwrap();
    assert_eq!(rows(&attached.table("numbers").unwrap()).len(), 1000);
    numbers.append(numbered(999..1100)).unwrap_err();
    numbers.upsert(numbered(500..40_000)).unwrap();
    assert_eq!(rows(&attached.table("numbers").unwrap()).len(), 40_000);
    session.look();
}
