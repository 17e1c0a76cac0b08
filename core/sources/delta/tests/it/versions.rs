//! Tables that change: what is read is always one version.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pillion::ErrorCode;
use pillion::source::{Fetch, Relation, Source};

use crate::support::lake::{Lake, remove};
use crate::support::{call, failure, rows, shown, try_rows};

fn mark(source: &impl Source, relation: &Relation) -> Vec<u8> {
    source.mark(relation, &call()).unwrap().unwrap()
}

#[test]
fn every_way_of_writing_is_read() {
    let Some(lake) = Lake::new() else { return };
    let (source, relation) = (lake.source(), Relation::table("orders"));
    let mut marks = Vec::new();
    for write in [
        "write('orders', numbers(0, 5))",
        "write('orders', numbers(5, 5))",
        "table('orders').delete('id = 3')",
        "table('orders').update({'text': \"'changed'\"}, predicate='id = 4')",
        "rows = pa.table({'id': pa.array([4, 50], pa.int64()), 'text': ['merged', 'new']})\n\
         merge = table('orders').merge(rows, 's.id = t.id', source_alias='s', target_alias='t')\n\
         merge.when_matched_update_all().when_not_matched_insert_all().execute()",
        "table('orders').optimize.compact()",
        "write('orders', numbers(100, 3), mode='overwrite')",
        "table('orders').restore(3)",
    ] {
        lake.run(write);
        assert_eq!(shown(&rows(&source, &relation)), shown(&lake.answer("orders")), "{write}");
        marks.push(mark(&source, &relation));
    }
    assert_eq!(rows(&source, &relation).num_rows(), 9);
    marks.dedup();
    assert_eq!(marks.len(), 8, "each version has a mark of its own");
    // A process that knows no version yet reads the same.
    assert_eq!(shown(&rows(&lake.source(), &relation)), shown(&lake.answer("orders")));
    assert_eq!(mark(&lake.source(), &relation), *marks.last().unwrap());
}

#[test]
fn a_version_that_is_known_needs_no_file() {
    let Some(lake) = Lake::new() else { return };
    lake.run("write('orders', numbers(0, 5))");
    let (source, relation) = (lake.source(), Relation::table("orders"));
    let before = mark(&source, &relation);
    remove(&lake.data_files("orders"));
    assert_eq!(mark(&source, &relation), before);
    let described = source.describe(&relation, &call()).unwrap();
    assert_eq!(described.expected_rows(), Some(5), "the log says so");
    assert_eq!(described.change_mark().unwrap(), before);
    // With the log damaged, the listing still shows that nothing was added.
    let commit = lake.log_file("orders", 0);
    let (len, time) = commit.metadata().map(|found| (found.len(), found.modified().unwrap())).unwrap();
    let file = std::fs::File::options().write(true).open(&commit).unwrap();
    std::io::Write::write_all(&mut &file, &vec![b'?'; len as usize]).unwrap();
    file.set_modified(time).unwrap();
    assert_eq!(mark(&source, &relation), before);
}

#[test]
fn a_table_that_is_made_anew_is_another_one() {
    let Some(lake) = Lake::new() else { return };
    lake.run("write('orders', numbers(0, 5))\nwrite('orders', numbers(5, 5))");
    let (source, relation) = (lake.source(), Relation::table("orders"));
    assert_eq!(rows(&source, &relation).num_rows(), 10);
    let before = mark(&source, &relation);
    std::fs::remove_dir_all(lake.path().join("orders")).unwrap();
    assert_eq!(source.mark(&relation, &call()).unwrap_err().code(), ErrorCode::SourceNotFound);
    lake.run("write('orders', numbers(0, 1))\nwrite('orders', numbers(1, 1))");
    assert_ne!(mark(&source, &relation), before, "the version is the same");
    assert_eq!(shown(&rows(&source, &relation)), ["0,text 0", "1,text 1"]);
    std::fs::remove_dir_all(lake.path().join("orders")).unwrap();
    lake.run("write('orders', numbers(7, 1))");
    assert_eq!(shown(&rows(&source, &relation)), ["7,text 7"], "with fewer versions than before");
}

#[test]
fn checkpoints_stand_for_what_is_before_them() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "for number in range(13): write('orders', numbers(number, 1))\n\
         table('orders').delete('id = 5')\n\
         table('orders').create_checkpoint()\n\
         write('orders', numbers(50, 1))",
    );
    let (source, relation) = (lake.source(), Relation::table("orders"));
    let all = shown(&rows(&source, &relation));
    assert_eq!((all.len(), &all), (13, &shown(&lake.answer("orders"))));
    remove(&(0..14).map(|version| lake.log_file("orders", version)).collect::<Vec<_>>());
    assert_eq!(shown(&rows(&lake.source(), &relation)), all, "the commits before it are not needed");
    std::fs::remove_file(lake.path().join("orders/_delta_log/_last_checkpoint")).unwrap();
    assert_eq!(shown(&rows(&lake.source(), &relation)), all, "it is found without the note of it");
}

#[test]
fn a_version_is_read_as_it_was() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "write('orders', numbers(0, 2))\nwrite('orders', numbers(2, 2))\n\
         write('orders', numbers(9, 1), mode='overwrite')",
    );
    let source = lake.source();
    let at = |version: u64| Relation::table("orders").option("version", version.to_string());
    assert_eq!(shown(&rows(&source, &at(1))), ["0,text 0", "1,text 1", "2,text 2", "3,text 3"]);
    assert_eq!(rows(&source, &at(0)).num_rows(), 2);
    assert_eq!(shown(&rows(&source, &at(2))), shown(&rows(&source, &Relation::table("orders"))));
    let before = mark(&source, &at(1));
    lake.run("write('orders', numbers(10, 1))");
    assert_eq!(mark(&source, &at(1)), before);
    let missing = failure(&source, &at(7));
    assert_eq!(missing.code(), ErrorCode::SourceNotFound);
    assert!(missing.message().contains("no version 7") && missing.message().contains("0 to 3"), "{missing}");
}

/// A fetch that has begun ends with rows of its version, whatever becomes of the table.
#[test]
fn a_fetch_is_of_one_version() {
    let Some(lake) = Lake::new() else { return };
    lake.run("for first in range(0, 120000, 20000): write('orders', numbers(first, 20000))");
    let (source, relation) = (lake.source(), Relation::table("orders"));
    let mut fetched = source.fetch(&Fetch::of(relation), &call()).unwrap();
    let first = fetched.next().unwrap().unwrap().num_rows();
    lake.run("write('orders', numbers(0, 1), mode='overwrite')");
    let rest: usize = fetched.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(first + rest, 120_000);

    lake.run("for first in range(0, 120000, 20000): write('again', numbers(first, 20000))");
    let relation = Relation::table("again");
    let mut fetched = source.fetch(&Fetch::of(relation.clone()), &call()).unwrap();
    fetched.next().unwrap().unwrap();
    lake.run(
        "write('again', numbers(0, 1), mode='overwrite')\n\
         table('again').vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)",
    );
    assert_eq!(lake.data_files("again").len(), 1);
    let gone = fetched.find_map(Result::err).unwrap();
    assert_eq!(gone.code(), ErrorCode::SourceUnavailable);
    assert!(gone.message().contains("VACUUM") && gone.message().contains(".parquet"), "{gone}");
    assert!(fetched.next().is_none());
    assert_eq!(
        try_rows(&source, &Fetch::of(relation)).unwrap().num_rows(),
        1,
        "the next fetch reads what is there"
    );
}

#[test]
fn changes_on_disk_are_told() {
    let Some(lake) = Lake::new() else { return };
    lake.run("write('orders', numbers(0, 1))");
    let (told, changes) = mpsc::channel();
    let told = Mutex::new(told);
    let changed = Arc::new(move || told.lock().unwrap().send(()).unwrap_or_default());
    let source = lake.source();
    let watch = source.watch(&Relation::table("orders"), changed).unwrap();
    lake.run("write('orders', numbers(1, 1))");
    changes.recv_timeout(Duration::from_secs(60)).unwrap();
    drop(watch);
}

#[test]
fn tables_are_listed() {
    let Some(lake) = Lake::new() else { return };
    lake.run("write('b', numbers(0, 1))\nwrite('a', numbers(0, 1))\nwrite('deep/c', numbers(0, 1))");
    std::fs::create_dir_all(lake.path().join("plain")).unwrap();
    std::fs::write(lake.path().join("plain/x.parquet"), "").unwrap();
    assert_eq!(lake.source().relations(&call()).unwrap(), ["a", "b"]);
    let inside = pillion_delta::Location::new(lake.path().join("deep/c").to_str().unwrap());
    let inside = pillion_delta::DeltaSource::new(inside).unwrap();
    assert_eq!(inside.relations(&call()).unwrap(), ["."]);
    let way = lake.path().join("plain/../deep/../deep/c");
    let by_a_way =
        pillion_delta::DeltaSource::new(pillion_delta::Location::new(way.to_str().unwrap())).unwrap();
    assert_eq!(shown(&rows(&by_a_way, &Relation::table("."))), ["0,text 0"]);
    for same in [".", "", "/"] {
        assert_eq!(shown(&rows(&inside, &Relation::table(same))), ["0,text 0"]);
    }
    assert_eq!(rows(&lake.source(), &Relation::table("deep/c")).num_rows(), 1);
}
