//! Queries of absurd depth and length: an answer or an error, never the end of the process.
//!
//! Each runs in a process of its own, because a stack that overflows cannot be caught.

use std::fs;

use pillion::{Batches, Cache};

use crate::support::child::{self, Process};
use crate::support::{define, files};

#[test]
#[ignore = "the program of a child process"]
fn runs_a_query() {
    let dir = child::directory();
    let text = fs::read_to_string(dir.join("query")).unwrap();
    let cache = Cache::open(dir.join("cache")).unwrap();
    define(&cache, "t", 0..10).unwrap();
    let answer = cache.sql(&text, &[]).and_then(Batches::collect_all);
    let prepared =
        cache.prepare(&text).and_then(|prepared| prepared.execute(&[])).and_then(Batches::collect_all);
    assert_eq!(answer.is_ok(), prepared.is_ok(), "{:?} and {:?}", answer.err(), prepared.err());
    let next = cache.sql("SELECT count(*) FROM t", &[]).and_then(Batches::collect_all);
    assert!(next.is_ok(), "the cache goes on");
    child::say(answer.map_or_else(|error| error.code().number(), |_| 0));
}

#[track_caller]
fn assert_survived(shape: &str, text: &str) {
    let dir = tempfile::tempdir().unwrap();
    files::write(&dir.path().join("query"), text.as_bytes());
    let mut child = Process::start("deep_queries::runs_a_query", dir.path());
    let said = child.next();
    assert!(said.is_some(), "{shape} ended the process");
    println!("{shape}: code {}", said.unwrap_or_default());
    child.finish();
}

#[test]
fn a_sum_of_thousands() {
    assert_survived("a sum of 1000", &format!("SELECT id{} FROM t", " + 1".repeat(1_000)));
    assert_survived("a sum of 20000", &format!("SELECT id{} FROM t", " + 1".repeat(20_000)));
}

#[test]
fn a_condition_of_thousands() {
    let conditions =
        |count: i64| (0..count).map(|n| format!("id <> {}", n + 100)).collect::<Vec<_>>().join(" AND ");
    assert_survived("1000 conditions", &format!("SELECT id FROM t WHERE {}", conditions(1_000)));
}

#[test]
fn a_union_of_thousands() {
    assert_survived("a union of 2000", &["SELECT 1"; 2_000].join(" UNION ALL "));
}

#[test]
fn a_chain_of_named_queries() {
    let chain: String = (1..=300).map(|n| format!(", q{n} AS (SELECT * FROM q{})", n - 1)).collect();
    assert_survived("a chain of 300", &format!("WITH q0 AS (SELECT id FROM t){chain} SELECT * FROM q300"));
}

#[test]
fn a_hundred_thousand_parentheses() {
    let (open, closed) = ("(".repeat(100_000), ")".repeat(100_000));
    assert_survived("parentheses", &format!("SELECT {open}1{closed}"));
    assert_survived("negations", &format!("SELECT id FROM t WHERE {} true", "NOT ".repeat(100_000)));
}
