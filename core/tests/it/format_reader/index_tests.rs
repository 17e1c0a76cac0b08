//! The files in `live/` say what the log says.

use std::fs;
use std::path::Path;

use super::Contents;
use super::live::{Head, Index};
use super::session::{Session, define_varied, key, varied};
use crate::support::files::below;
use crate::support::{define, numbered};

/// Compares the indexes of all tails with the log, for every sequence so far.
fn compare_indexes(dir: &Path, newest: &Contents, earlier: &[Contents]) -> usize {
    let head = Head::read(dir);
    assert_eq!((head.version, head.closed), (newest.version, newest.closed));
    let log = fs::metadata(dir.join(format!("log/{}.log", head.log))).unwrap();
    assert!(head.log_end <= log.len());
    let mut largest = 0;
    for table in newest.tables.values() {
        for (log, tail) in &table.tails {
            let index = Index::read(dir, head.owner, table.id, tail.since);
            largest = largest.max(index.capacity());
            let keys = table.tail_keys(tail);
            for (row, (_, batch)) in keys.iter().enumerate() {
                assert_eq!(index.batch(row), *batch);
            }
            for then in earlier.iter().chain([newest]) {
                let sequence = then.version.1;
                let Some(seen) = then.tables.get(&table.name) else { continue };
                let Some(known) = seen.tails.get(log).filter(|known| known.since == tail.since) else {
                    continue;
                };
                for row in 0..known.rows {
                    assert_eq!(index.is_live(row, sequence), !known.deleted.contains(&row), "row {row}");
                }
                for (key, _) in &keys {
                    let found = index.find(key, sequence, |row| keys[row].0.clone());
                    let expected = known.newest.get(key).map(|row| (*row, !known.deleted.contains(row)));
                    assert_eq!(found, expected);
                }
                for (segment, row) in index.deleted(sequence) {
                    assert!(seen.deleted[&segment].contains(&row), "row {row} of segment {segment}");
                }
            }
        }
    }
    largest
}

#[test]
fn indexes_of_tails() {
    let session = Session::new();
    let numbers = define(&session.cache, "numbers", 0..2000).unwrap();
    let varied_table = define_varied(&session.cache);
    let mut earlier: Vec<Contents> = Vec::new();
    let mut largest = 0;
    let look = |earlier: &mut Vec<Contents>| {
        let contents = session.look();
        let largest = compare_indexes(session.dir.path(), &contents, earlier);
        earlier.push(contents);
        largest
    };
    for step in 0..8 {
        numbers.upsert(numbered(step * 100..step * 100 + 300)).unwrap();
        varied_table.upsert(varied(step..step + 20, step)).unwrap();
        look(&mut earlier);
        numbers.delete_many(&(step * 90..step * 90 + 150).collect::<Vec<i64>>()).unwrap();
        varied_table.delete_many(&[key(step), key(49)]).unwrap();
        largest = largest.max(look(&mut earlier));
        if step == 5 {
            numbers.truncate().unwrap();
            session.cache.compact().unwrap();
        }
    }
    assert!(largest > 1024, "an index was replaced by a larger one");
    // Nothing is left of rows that were moved or truncated.
    session.cache.compact().unwrap();
    assert_eq!(below(&session.dir.path().join("live")).len(), 1);
    session.cache.close().unwrap();
    assert!(Head::read(session.dir.path()).closed);
}
