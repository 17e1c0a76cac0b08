//! Status shows a cache as it is now, even while its owner changes it.

use std::io::Write;
use std::path::{Path, PathBuf};

use pillion::TableDefinition;

use crate::support::{Dir, items};

#[test]
fn the_table_lists_every_table() {
    let dir = Dir::new();
    let text = dir.answer(&["status"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], format!("directory  {}", dir.cache().display()));
    assert_eq!(lines[1], "way        attached");
    assert!(lines[2].starts_with("owner      none; the last one closed the cache "), "{text}");
    assert!(lines[3].starts_with("version    "), "{text}");
    assert!(lines[4].starts_with("tables     1 with 5 rows in "), "{text}");
    assert_eq!(lines[5], "damage     none found");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(cells(lines[7]), ["table", "rows", "size", "segments", "primary key", "sorted by", "age"]);
    let row = cells(lines[9]);
    assert_eq!(row[..2], ["items", "5"]);
    assert_eq!(row[3..6], ["1", "id", "id"]);
    assert!(row[6].ends_with('s'), "{row:?}");
    assert_eq!(lines.len(), 10);
}

#[test]
fn a_cache_without_tables_is_shown() {
    let dir = Dir::empty();
    dir.open().close().unwrap();
    let text = dir.answer(&["status"]);
    assert!(text.contains("tables     0 with 0 rows in 0 B\n"), "{text}");
}

#[test]
fn json_agrees_with_the_cache() {
    let dir = Dir::new();
    let cache = dir.open();
    cache.define_table("no_key", TableDefinition::new(items()).sort_by(["name", "id"])).unwrap();
    let json: serde_json::Value = serde_json::from_str(&dir.answer(&["status", "--format", "json"])).unwrap();
    let status = cache.status().unwrap();
    assert_eq!(json["version"], status.version.to_string());
    assert_eq!(json["dir"], dir.cache().to_str().unwrap());
    assert_eq!(json["way"], "attached");
    assert_eq!(json["owner"]["closed"], false);
    assert_eq!(json["damage"], serde_json::Value::Null);
    let tables = json["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 2);
    for (json, table) in tables.iter().zip(&status.tables) {
        assert_eq!(json["name"], table.name);
        assert_eq!(json["rows"], table.rows);
        assert_eq!(json["bytes"], table.bytes);
        assert_eq!(json["segments"], table.segments);
        assert_eq!(json["primary_key"], serde_json::json!(table.rules.primary_key));
        assert_eq!(json["sort_by"], serde_json::json!(table.rules.sort_by));
        assert!(json["age_seconds"].as_f64().unwrap() >= 0.0);
        let as_of = json["as_of"].as_str().unwrap();
        assert!(as_of.contains('T') && as_of.ends_with('Z'), "{as_of}");
    }
    let column = serde_json::json!({"name": "id", "type": "Int64", "nullable": false});
    assert_eq!(tables[0]["columns"][0], column);
}

#[test]
fn a_commit_of_the_owner_is_seen() {
    let dir = Dir::new();
    let owner = dir.open();
    let rows = || {
        let json: serde_json::Value =
            serde_json::from_str(&dir.answer(&["status", "--format", "json"])).unwrap();
        json["tables"][0]["rows"].as_u64().unwrap()
    };
    assert_eq!(rows(), 5);
    owner.table("items").unwrap().replace(items().slice(0, 2)).unwrap();
    assert_eq!(rows(), 2);
    assert_eq!(dir.answer(&["sql", "--format", "csv", "SELECT count(*) AS n FROM items"]), "n\n2\n");
}

#[test]
fn a_damaged_table_is_named() {
    let dir = Dir::with_many();
    let owner = dir.open();
    owner.table("items").unwrap().upsert(items().slice(0, 2)).unwrap();
    owner.close().unwrap();
    // Opening the cache looks up which rows of the segment were replaced.
    let table = smallest_table(&dir);
    for segment in std::fs::read_dir(table).unwrap() {
        let segment = segment.unwrap().path();
        let len = usize::try_from(segment.metadata().unwrap().len()).unwrap();
        std::fs::File::create(segment).unwrap().write_all(&vec![0; len]).unwrap();
    }
    dir.run(&["status"]).fails(5, &["damage was found", "table `items`"]);
    let json: serde_json::Value =
        serde_json::from_str(dir.run(&["status", "--format", "json"]).text()).unwrap();
    let damage = |number: usize| &json["tables"][number]["damage"];
    assert_eq!((&json["tables"][0]["name"], damage(0).is_string()), (&"items".into(), true), "{json}");
    assert!(damage(1).is_null(), "{json}");
    assert_eq!(dir.answer(&["sql", "--format", "csv", "SELECT count(*) > 0 AS n FROM many"]), "n\ntrue\n");
}

/// The folder of the table with the fewest bytes.
fn smallest_table(dir: &Dir) -> PathBuf {
    let folders = std::fs::read_dir(dir.cache().join("tables")).unwrap();
    let len = |folder: &Path| -> u64 {
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    folders.map(|folder| folder.unwrap().path()).min_by_key(|folder| len(folder)).unwrap()
}
