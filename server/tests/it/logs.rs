//! The log is text or JSON, and names slow statements and the requests that they belong to.

use pillion::Cache;

use crate::sidecar::{Sidecar, config, url};
use crate::support::{Dir, items, write_parquet};

const ITEMS: &str = "[tables.items]\nfiles = \"items.parquet\"\nprimary_key = [\"id\"]\n";

fn files() -> Dir {
    let dir = Dir::empty();
    write_parquet(&dir.path("items.parquet"), &items());
    dir
}

#[test]
fn json_is_one_object_a_line() {
    let dir = files();
    let sidecar =
        Sidecar::start(&dir, &config(&format!("[log]\nformat = \"json\"\nlevel = \"debug\"\n{ITEMS}")));
    sidecar.says("\"ready\"");
    let log = sidecar.end_quietly();
    let mut messages = Vec::new();
    for line in log.lines() {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        messages.push((line["message"].as_str().unwrap().to_owned(), line));
    }
    let (_, loaded) = messages.iter().find(|(message, _)| message == "table loaded").unwrap();
    assert_eq!((&loaded["table"], &loaded["rows"]), (&"items".into(), &5.into()));
    assert!(messages.iter().any(|(message, _)| message == "closed"));
}

#[test]
fn slow_statements_are_logged_with_their_request_and_without_parameters() {
    let dir = files();
    let slow = "[log]\nformat = \"json\"\nslow_query = \"1 ms\"\n";
    let sidecar = Sidecar::start(&dir, &config(&format!("{slow}{ITEMS}")));
    sidecar.says("\"ready\"");
    let cache = Cache::from_url(&url(&dir)).unwrap();
    let text = "SELECT count(*) FROM generate_series(1, 2000000) AS a(x)\n  WHERE x % 7 = 3 AND 'a' <> $1";
    cache.sql(text, &["a secret".into()]).unwrap().concat().unwrap();
    sidecar.says("slow statement");
    drop(cache);
    let log = sidecar.end_quietly();
    let line = log.lines().find(|line| line.contains("slow statement")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        line["statement"],
        "SELECT count(*) FROM generate_series(1, 2000000) AS a(x) WHERE x % 7 = 3 AND 'a' <> $1"
    );
    assert_eq!((&line["level"], &line["rows"]), (&"WARN".into(), &1.into()));
    assert!(line["duration"].is_string(), "{line}");
    assert!(line["span"]["connection"].is_u64() && line["span"]["request"].is_u64(), "{line}");
    assert!(!log.contains("a secret"), "{log}");
}

#[test]
fn without_the_key_no_statement_is_logged() {
    let dir = files();
    let sidecar = Sidecar::ready(&dir, &config(ITEMS));
    let cache = Cache::from_url(&url(&dir)).unwrap();
    cache.sql("SELECT count(*) FROM generate_series(1, 1000000)", &[]).unwrap().concat().unwrap();
    drop(cache);
    assert!(!sidecar.end().contains("statement"));
}
