//! What goes wrong: damaged logs, files that are missing, tables that cannot be read.

use std::fs;
use std::time::Duration;

use pillion::ErrorCode;
use pillion::source::{Call, Fetch, Relation, Source};
use pillion_delta::{DeltaSource, Location};

use crate::support::lake::{Lake, remove};
use crate::support::{call, failure, rows, try_rows};

#[test]
fn a_folder_without_a_log_is_not_a_table() {
    let Some(lake) = Lake::new() else { return };
    lake.run("write('orders', numbers(0, 1))");
    let source = lake.source();
    fs::create_dir_all(lake.path().join("plain/_delta_log")).unwrap();
    fs::write(lake.path().join("plain/_delta_log/_last_checkpoint"), "{}").unwrap();
    for name in ["plain", "order", "orders/_delta_log"] {
        let error = failure(&source, &Relation::table(name));
        assert_eq!(error.code(), ErrorCode::SourceNotFound, "{error:?}");
        assert!(error.message().contains(&format!("{name}` is not a Delta table")), "{error}");
    }
    let near = failure(&source, &Relation::table("order"));
    assert!(near.message().contains("did you mean `orders`?"), "{near}");
    let outside = failure(&source, &Relation::table("../orders"));
    assert_eq!(outside.code(), ErrorCode::InvalidArgument);
    let gone = DeltaSource::new(Location::new("/no/such/lake")).unwrap();
    assert_eq!(failure(&gone, &Relation::table("orders")).code(), ErrorCode::SourceNotFound);
    let http = DeltaSource::new(Location::new("https://example.org/lake")).unwrap_err();
    assert_eq!(http.code(), ErrorCode::Unsupported);
}

#[test]
fn a_damaged_log_is_told() {
    let Some(lake) = Lake::new() else { return };
    let (source, relation) = (lake.source(), Relation::table("orders"));
    for (damage, said) in [
        ("{\"add\":{\"path\":\"x\"", "00000000000000000001.json"),
        ("not JSON at all\n", "00000000000000000001.json"),
        (
            "{\"metaData\":{\"id\":\"x\",\"format\":{\"provider\":\"parquet\",\"options\":{}},\"schemaString\":\"{\",\"partitionColumns\":[],\"configuration\":{}}}\n",
            "orders",
        ),
        ("{\"protocol\":{\"minReaderVersion\":-3,\"minWriterVersion\":2}}\n", "orders"),
    ] {
        let _ = fs::remove_dir_all(lake.path().join("orders"));
        lake.run("write('orders', numbers(0, 3))");
        assert_eq!(rows(&source, &relation).num_rows(), 3);
        fs::write(lake.log_file("orders", 1), damage).unwrap();
        let error = failure(&source, &relation);
        assert!(
            matches!(error.code(), ErrorCode::SourceInvalid | ErrorCode::Unsupported),
            "{damage}: {error:?}"
        );
        assert!(error.message().contains(said), "{damage}: {error}");
    }
    // A commit that is missing between others.
    let _ = fs::remove_dir_all(lake.path().join("orders"));
    lake.run("for number in range(3): write('orders', numbers(number, 1))");
    remove(&[lake.log_file("orders", 1)]);
    let gap = failure(&source, &relation);
    assert_eq!(gap.code(), ErrorCode::SourceInvalid, "{gap:?}");
}

#[test]
fn files_that_are_not_those_of_the_log_are_told() {
    let Some(lake) = Lake::new() else { return };
    lake.run("write('orders', numbers(0, 3))\nwrite('orders', numbers(3, 3))");
    let (source, relation) = (lake.source(), Relation::table("orders"));
    let file = lake.data_files("orders").remove(0);
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let whole = fs::read(&file).unwrap();
    let told = |code: ErrorCode, what: &str| {
        let error = failure(&source, &relation);
        assert_eq!(error.code(), code, "{what}: {error:?}");
        assert!(error.message().contains(&name), "{what}: {error}");
    };
    remove(&[&file]);
    told(ErrorCode::SourceUnavailable, "it is not there");
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    told(ErrorCode::SourceInvalid, "half of it");
    fs::write(&file, vec![0; whole.len()]).unwrap();
    told(ErrorCode::SourceInvalid, "other bytes");
    fs::write(&file, "").unwrap();
    told(ErrorCode::SourceInvalid, "nothing");
    fs::write(&file, &whole).unwrap();
    assert_eq!(rows(&source, &relation).num_rows(), 6);
}

#[test]
fn what_a_table_demands_of_readers_is_named() {
    let Some(lake) = Lake::new() else { return };
    lake.run("write('orders', numbers(0, 1))");
    let (source, relation) = (lake.source(), Relation::table("orders"));
    lake.run(
        "features = ['rowsOfTomorrow', 'deletionVectors']
commit('orders', {'protocol': {'minReaderVersion': 3, 'minWriterVersion': 7, 'readerFeatures': features, 'writerFeatures': features}})",
    );
    let refused = failure(&source, &relation);
    assert_eq!(refused.code(), ErrorCode::Unsupported, "{refused:?}");
    assert!(refused.message().contains("rowsOfTomorrow"), "{refused}");
    lake.run("commit('orders', {'protocol': {'minReaderVersion': 9, 'minWriterVersion': 2}})");
    let refused = failure(&source, &relation);
    assert_eq!(refused.code(), ErrorCode::Unsupported, "{refused:?}");
    assert!(refused.message().contains('9'), "{refused}");
    assert_eq!(rows(&source, &relation.option("version", "0")).num_rows(), 1);
}

/// As shallow clones have.
#[test]
fn files_elsewhere_are_refused() {
    let Some(lake) = Lake::new() else { return };
    lake.run("write('orders', numbers(0, 1))\nwrite('other', numbers(7, 1))");
    let add = |path: &str| {
        lake.run(&format!(
            "add = [action['add'] for action in actions('other', 0) if 'add' in action][0]
commit('orders', {{'add': add | {{'path': {path}}}}})"
        ))
    };
    add("'file://' + place('other') + '/' + add['path']");
    let (source, relation) = (lake.source(), Relation::table("orders"));
    assert_eq!(rows(&source, &relation).num_rows(), 2, "a neighbour's file is below the location");
    add("'https://example.org/x.parquet'");
    let refused = failure(&source, &relation);
    assert_eq!(refused.code(), ErrorCode::Unsupported, "{refused:?}");
    assert!(refused.message().contains("https://example.org/x.parquet"), "{refused}");
}

#[test]
fn calls_end() {
    let Some(lake) = Lake::new() else { return };
    lake.run("for first in range(0, 60000, 20000): write('orders', numbers(first, 20000))");
    let (source, fetch) = (lake.source(), Fetch::of(Relation::table("orders")));
    let limited = Call::within(Duration::from_secs(120));
    let mut fetched = source.fetch(&fetch, &limited).unwrap();
    fetched.next().unwrap().unwrap();
    limited.time_out("enough");
    let ended = fetched.find_map(Result::err).unwrap();
    assert_eq!((ended.code(), ended.message()), (ErrorCode::Timeout, "enough"));
    let over = source.mark(&Relation::table("orders"), &Call::within(Duration::ZERO)).unwrap_err();
    assert_eq!(over.code(), ErrorCode::Timeout);
    assert_eq!(try_rows(&source, &fetch).unwrap().num_rows(), 60_000);
    for (name, refused) in [
        ("a condition", fetch.clone().condition("id > 1")),
        ("keys", fetch.keys(vec!["id".to_owned()], vec![vec![1.into()]])),
        ("a statement", Fetch::of(Relation::statement("SELECT 1"))),
    ] {
        assert_eq!(source.fetch(&refused, &call()).unwrap_err().code(), ErrorCode::Unsupported, "{name}");
    }
}
