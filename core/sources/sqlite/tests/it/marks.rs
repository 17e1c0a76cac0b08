//! Marks: no change is missed, and what is not changed is recognised.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use pillion::source::{Fetch, Relation, Source};
use pillion_sqlite::Sqlite;
use rusqlite::Connection;

use crate::support::database::{Database, copy};
use crate::support::random::Random;
use crate::support::rows::{all, lines, patient, statement, table};

const TABLE: &str =
    "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO t VALUES (1, 0), (2, 0);";

fn mark(source: &Sqlite) -> Vec<u8> {
    source.mark(&Relation::table("t"), &patient()).unwrap().unwrap()
}

/// The mark of fetched rows, and the rows.
fn marked_rows(source: &Sqlite) -> (Vec<u8>, Vec<String>) {
    let fetched = source.fetch(&table("t"), &patient()).unwrap();
    let mark = fetched.change_mark().unwrap().to_vec();
    (mark, fetched.flat_map(|batch| lines(&batch.unwrap())).collect())
}

/// What was fetched under each mark.
#[derive(Default)]
struct Known(HashMap<Vec<u8>, Vec<String>>);

impl Known {
    /// Fetches, and compares with what was fetched under the same mark before.
    #[track_caller]
    fn compare(&mut self, source: &Sqlite) {
        let before = mark(source);
        let (of_rows, rows) = marked_rows(source);
        for mark in [before, of_rows] {
            let known = self.0.entry(mark).or_insert_with(|| rows.clone());
            assert_eq!(*known, rows, "rows changed, and their mark did not");
        }
    }
}

#[test]
fn no_commit_is_missed_in_any_journal_mode() {
    for mode in ["delete", "truncate", "persist", "memory", "off", "wal"] {
        let database = Database::with(&format!("PRAGMA journal_mode = {mode}; {TABLE}"));
        let writer = database.connect();
        writer.execute_batch(&format!("PRAGMA journal_mode = {mode}; PRAGMA synchronous = off;")).unwrap();
        let (source, mut known, mut marks) = (database.source(), Known::default(), Vec::new());
        for v in 1..60 {
            // As fast as it goes, and without a change of the file's size.
            writer.execute("UPDATE t SET v = ?1 WHERE id = 1", [v]).unwrap();
            known.compare(&source);
            marks.push(mark(&source));
        }
        marks.sort();
        marks.dedup();
        assert_eq!(marks.len(), 59, "{mode}: each commit has a mark of its own");
        let rest = mark(&source);
        assert_eq!(
            (mark(&source), mark(&database.source()), marked_rows(&source).0),
            (rest.clone(), rest.clone(), rest)
        );
    }
}

#[test]
fn no_commit_is_missed_while_several_connections_write_checkpoint_and_close() {
    let mut random = Random::fresh();
    for mode in ["wal", "delete"] {
        let database = Database::with(&format!("PRAGMA journal_mode = {mode}; {TABLE}"));
        let (source, mut known) = (database.source(), Known::default());
        let mut connections: Vec<Connection> = Vec::new();
        for step in 0..250 {
            let chosen = (random.below(3) as usize).min(connections.len());
            match random.below(12) {
                0 => connections.push(database.connect()),
                1 if chosen < connections.len() => drop(connections.remove(chosen)),
                2 if !connections.is_empty() => {
                    let kind = ["passive", "full", "restart", "truncate"][random.below(4) as usize];
                    let checkpoint = format!("PRAGMA wal_checkpoint({kind})");
                    connections[0].query_row(&checkpoint, [], |_| Ok(())).unwrap();
                }
                3 if connections.len() < 2 => {
                    connections.clear();
                    database.execute("VACUUM");
                }
                4 => connections.clear(),
                _ => {
                    let write = format!("UPDATE t SET v = {step} WHERE id = {}", 1 + random.below(2));
                    match connections.get(chosen) {
                        Some(connection) => connection.execute_batch(&write).unwrap(),
                        None => database.execute(&write),
                    }
                }
            }
            if random.below(2) == 0 {
                known.compare(&source);
            }
        }
        assert!(known.0.len() > 20);
    }
}

/// A copy that is restored brings its counters along, so that later commits repeat those of the file before it.
#[test]
fn restored_copies_and_replaced_files_are_noticed() {
    for mode in ["delete", "wal"] {
        let database = Database::with(&format!("PRAGMA journal_mode = {mode}; {TABLE}"));
        let (copied, source, mut known) = (database.beside(".copy"), database.source(), Known::default());
        copy(database.path(), &copied);
        for v in 1..30 {
            match v % 3 {
                // Over the file, with and without its times; and in its place.
                0 => copy(&copied, database.path()),
                1 => {
                    let arguments = ["-p", copied.to_str().unwrap(), database.path().to_str().unwrap()];
                    assert!(Command::new("cp").args(arguments).status().unwrap().success());
                }
                _ => {
                    let moved = database.beside(".moved");
                    copy(&copied, &moved);
                    std::fs::rename(&moved, database.path()).unwrap();
                }
            }
            known.compare(&source);
            database.execute(&format!("UPDATE t SET v = {v} WHERE id = 2"));
            known.compare(&source);
            database.execute(&format!("UPDATE t SET v = {v} WHERE id = 1"));
            known.compare(&source);
        }
        assert!(known.0.len() >= 59, "{}", known.0.len());
    }
}

/// The first words of the file `-shm`, which say what readers see.
const SHOWN_LEN: usize = 136;

/// Writes the beginning of a file, in a process of its own.
fn overwrite(from: &Path, to: &Path, len: usize) {
    let status = Command::new("dd")
        .arg(format!("if={}", from.display()))
        .arg(format!("of={}", to.display()))
        .args([&format!("bs={len}"), "count=1", "conv=notrunc", "status=none"])
        .status()
        .unwrap();
    assert!(status.success());
}

/// A writer appends a commit to the log, syncs it, and then shows it to readers. A fetch between has the rows before, and its mark must not
/// be that of the rows after.
#[test]
fn a_commit_that_is_written_and_not_shown_yet_is_not_missed() {
    let database = Database::with(&format!("PRAGMA journal_mode = wal; {TABLE}"));
    let (source, index) = (database.source(), database.beside("-shm"));
    let writer = database.connect();
    for (round, begins_anew) in [(1, false), (2, false), (3, true), (4, true)] {
        let (before, after) = (database.beside(".before"), database.beside(".after"));
        writer.execute("UPDATE t SET v = ?1 WHERE id = 2", [round]).unwrap();
        if begins_anew {
            // All of the log is in the file, so the next commit overwrites it.
            writer.query_row("PRAGMA wal_checkpoint(full)", [], |_| Ok(())).unwrap();
        }
        copy(&index, &before);
        let old = marked_rows(&source);
        writer.execute("UPDATE t SET v = ?1 WHERE id = 1", [round]).unwrap();
        copy(&index, &after);
        overwrite(&before, &index, SHOWN_LEN);
        let between = marked_rows(&source);
        assert_eq!(between.1, old.1, "the commit is not shown");
        overwrite(&after, &index, SHOWN_LEN);
        let new = marked_rows(&source);
        assert_ne!(new.1, between.1);
        assert_ne!(new.0, between.0, "the commit was written before both marks were made");
        assert_eq!(mark(&source), new.0);
    }
}

#[test]
fn rows_that_depend_on_the_clock_or_on_chance_have_no_mark() {
    let database = Database::with(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT, day TEXT AS (date(at))); INSERT INTO t (at) VALUES ('2024-01-01'); \
         CREATE VIEW recent AS SELECT id FROM t WHERE at > date('now', '-7 days'); CREATE VIEW plain AS SELECT id FROM t;",
    );
    let source = database.source();
    let of = |relation: &Relation| source.mark(relation, &patient()).unwrap();
    assert!(of(&Relation::table("t")).is_some() && of(&Relation::table("plain")).is_some());
    let upper = Relation::statement("SELECT upper(at) AS at, id FROM t").option("types", "at=TEXT");
    assert!(of(&upper).is_some());
    for text in [
        "SELECT id FROM t WHERE at < CURRENT_TIMESTAMP",
        "SELECT id FROM t ORDER BY random()",
        "SELECT id FROM recent",
        "SELECT id FROM t WHERE strftime('%s', at) > unixepoch() - 60",
    ] {
        assert_eq!(of(&Relation::statement(text)), None, "{text}");
        let marks = [0, 1]
            .map(|_| source.fetch(&statement(text), &patient()).unwrap().change_mark().map(<[u8]>::to_vec));
        assert!(marks[0].is_some() && marks[0] != marks[1], "{text}");
    }
    assert_eq!(of(&Relation::table("recent")), None);
    // The mark of a relation says nothing of a condition, so that of the rows must differ from it.
    let fetch = table("t").condition("at > date('now')");
    let fetched = source.fetch(&fetch, &patient()).unwrap();
    assert_ne!(fetched.change_mark(), of(&Relation::table("t")).as_deref());
    let fetched = source.fetch(&table("t").condition("at > '2023'"), &patient()).unwrap();
    assert_eq!(fetched.change_mark(), of(&Relation::table("t")).as_deref());
    assert_eq!(
        lines(&all(&source, &Fetch::of(Relation::table("t")).columns(["day"])).unwrap()),
        ["2024-01-01"]
    );
}
