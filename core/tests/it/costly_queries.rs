//! Short statements that would take all memory, all stack or all time: an answer or an error, and others go on.
//!
//! They run in a process of their own, whose memory is limited: a statement that takes too much ends that process.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use pillion::{Batches, Cache, CacheOptions, Error, Value};

use crate::support::child::{self, Process};
use crate::support::grammar::{Choices, Grammar};
use crate::support::random::Random;
use crate::support::{define, files};

/// Memory of the queries of the child.
const QUERY_MEMORY: usize = 64 << 20;
/// Memory that a statement may take. The stacks of threads and the memory that the allocator keeps count, too.
const SPACE: u64 = 4 << 30;
/// Rows of the table `t`.
const ROWS: i64 = 10_000;

#[test]
#[ignore = "the program of a child process"]
fn runs_statements() {
    let dir = child::directory();
    let texts = fs::read_to_string(dir.join("queries")).unwrap();
    let cache = CacheOptions::new().query_memory(QUERY_MEMORY).query_threads(2);
    let cache = cache.open(dir.join("cache")).unwrap();
    define(&cache, "t", 0..ROWS).unwrap();
    answers(&cache);
    limit_space();
    for text in texts.lines() {
        child::say(outcome(cache.sql(text, &[])));
        let prepared = cache.prepare(text).and_then(|prepared| prepared.execute(&[]));
        child::say(outcome(prepared));
        #[cfg(feature = "sidecar")]
        runs_remotely(&cache, &dir, text);
        answers(&cache);
    }
}

/// Checks that other queries are not affected.
fn answers(cache: &Cache) {
    let rows = cache.sql("SELECT id FROM t WHERE id < $1", &[Value::from(5)]).and_then(Batches::concat);
    assert_eq!(rows.unwrap().num_rows(), 5);
}

/// Limits how much more memory the process may take than it has now.
fn limit_space() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmData:")?.strip_suffix("kB"));
    let most = size.unwrap().trim().parse::<u64>().unwrap() * 1024 + SPACE;
    let limit = rustix::process::Rlimit { current: Some(most), maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::Data, limit).unwrap();
}

/// How an answer ended. Its batches are dropped as they come.
fn outcome(answer: pillion::Result<Batches>) -> String {
    let rows = answer.and_then(|mut batches| {
        batches.try_fold(0, |rows, batch| batch.map(|batch| rows + batch.num_rows()))
    });
    rows.map_or_else(|error| refusal(&error), |rows| format!("{rows} rows"))
}

fn refusal(error: &Error) -> String {
    eprintln!("{error}");
    format!("{:?}", error.code())
}

/// The same on the threads of a sidecar, which must answer another connection too.
#[cfg(feature = "sidecar")]
fn runs_remotely(cache: &Cache, dir: &Path, text: &str) {
    let socket = dir.join("pillion.sock");
    let server = cache.serve(pillion::ServerOptions::new(&socket).attach(false)).unwrap();
    let deadline = std::time::Duration::from_secs(600);
    let (client, other) =
        (Cache::connect(&socket, deadline).unwrap(), Cache::connect(&socket, deadline).unwrap());
    child::say(outcome(client.sql(text, &[])));
    answers(&other);
    drop((client, other));
    drop(server);
}

/// Runs each statement in every way, in a child of its own; it must end alike in all.
#[track_caller]
fn assert_outcomes(cases: &[(&str, String, &str)]) {
    let only = std::env::var("PILLION_TEST_STATEMENT").ok();
    let mut failed = Vec::new();
    for (shape, text, expected) in cases {
        if only.as_ref().is_some_and(|only| only != shape) {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(!text.contains('\n'), "a statement is a line");
        files::write(&dir.path().join("queries"), text.as_bytes());
        let mut child = Process::start("costly_queries::runs_statements", dir.path());
        let ways = if cfg!(feature = "sidecar") { 3 } else { 2 };
        let said: Vec<_> = (0..ways).map_while(|_| child.next()).collect();
        while child.next().is_some() {}
        if said != vec![*expected; ways] {
            failed.push(format!("{shape}: {said:?} instead of {expected}"));
        } else {
            child.finish();
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn chain(count: usize, first: &str, step: impl Fn(&str) -> String, last: &str) -> String {
    let mut text = format!("WITH q0 AS ({first})");
    for n in 1..=count {
        write!(text, ", q{n} AS ({})", step(&format!("q{}", n - 1))).unwrap();
    }
    format!("{text} {}", last.replace("{q}", &format!("q{count}")))
}

fn nested_type(levels: usize) -> String {
    format!("{}Int64{}", "List(".repeat(levels), ")".repeat(levels))
}

#[test]
fn types_nest_and_repeat_only_so_far() {
    let nested = nested_type(5_000);
    let structs = chain(
        30,
        "SELECT id AS x FROM t",
        |q| format!("SELECT struct(x, x) AS x FROM {q}"),
        "SELECT x FROM {q}",
    );
    let named = chain(
        300,
        "SELECT id AS x FROM t",
        |q| format!("SELECT named_struct('a', x) AS x FROM {q}"),
        "SELECT x FROM {q}",
    );
    assert_outcomes(&[
        ("arrow_cast", format!("SELECT arrow_cast('x', '{nested}')"), "InvalidSql"),
        ("arrow_try_cast", format!("SELECT arrow_try_cast('x', '{nested}') FROM t"), "InvalidSql"),
        (
            "arrow_cast of lists",
            format!("SELECT arrow_typeof(arrow_cast(NULL, '{}'))", nested_type(20)),
            "1 rows",
        ),
        (
            "open types",
            format!("SELECT arrow_cast('x', '{}')", "Struct(\"a\": ".repeat(20_000)),
            "InvalidSql",
        ),
        ("a made type", "SELECT arrow_cast('x', repeat('List(', 5000) || 'Int64')".to_owned(), "InvalidSql"),
        (
            "a large type",
            "SELECT arrow_cast(NULL, 'FixedSizeBinary(2000000000)') FROM t".to_owned(),
            "InvalidSql",
        ),
        ("a large array type", "SELECT CAST(NULL AS INT[1000000000]) FROM t".to_owned(), "InvalidSql"),
        ("a doubled struct", structs, "InvalidSql"),
        ("a struct of structs", named, "InvalidSql"),
    ]);
}

#[test]
fn expressions_grow_only_so_far() {
    let case = |q: &str| format!("SELECT CASE WHEN x > 0 THEN x ELSE x + 1 END x FROM {q}");
    let sum = |q: &str| format!("SELECT x + x AS x FROM {q}");
    let first = "SELECT id AS x FROM t";
    let wide: Vec<String> = (0..40_000).map(|n| format!("{n} a{n}")).collect();
    let columns: Vec<String> = (0..3_000).map(|n| format!("{n} a{n}")).collect();
    let used = format!(
        "WITH a AS (SELECT id{} AS x FROM t) SELECT 1 FROM {}",
        " + 1".repeat(900),
        vec!["a"; 90].join(", ")
    );
    assert_outcomes(&[
        ("a condition on cases", chain(25, first, case, "SELECT x FROM {q} WHERE x > 3"), "InvalidSql"),
        ("a condition on a few cases", chain(5, first, case, "SELECT x FROM {q} WHERE x > 3"), "9996 rows"),
        ("cases", chain(25, first, case, "SELECT x FROM {q}"), "10000 rows"),
        ("a condition on sums", chain(40, first, sum, "SELECT x FROM {q} WHERE x > 3"), "InvalidSql"),
        (
            "a join on sums",
            chain(40, first, sum, "SELECT a.x FROM {q} a JOIN t b ON a.x > b.id"),
            "InvalidSql",
        ),
        (
            "a subquery on sums",
            chain(40, first, sum, "SELECT id FROM t WHERE id IN (SELECT x FROM {q} WHERE x < t.id)"),
            "InvalidSql",
        ),
        (
            "a condition on a group",
            chain(40, first, sum, "SELECT x FROM {q} GROUP BY x HAVING x > 3"),
            "InvalidSql",
        ),
        ("columns", format!("SELECT {}", wide.join(", ")), "InvalidSql"),
        (
            "columns again and again",
            chain(
                300,
                &format!("SELECT {}", columns.join(", ")),
                |q| format!("SELECT * FROM {q}"),
                "SELECT a1 FROM {q}",
            ),
            "InvalidSql",
        ),
        ("a long sum used often", used, "InvalidSql"),
    ]);
}

#[test]
fn functions_make_only_so_much() {
    let doubled = |q: &str| format!("SELECT x || x AS x FROM {q}");
    let largest = |q: &str| format!("SELECT max(x || x) AS x FROM {q}");
    let first = "SELECT 'abcdefgh' AS x FROM t";
    let many: Vec<String> = (0..100).map(|n| format!("repeat('a', {}) a{n}", 20_000_000 + n)).collect();
    let literals: Vec<String> = (0..30).map(|n| format!("'{}' a{n}", "x".repeat(30_000))).collect();
    let case: Vec<String> = (0..30)
        .map(|n| format!("CASE WHEN id > 3 THEN '{}' ELSE name END a{n}", "x".repeat(30_000)))
        .collect();
    assert_outcomes(&[
        (
            "replace",
            "SELECT replace(repeat('a', 1000000), 'a', repeat('b', 10000))".to_owned(),
            "MemoryLimit",
        ),
        (
            "replace of rows",
            "SELECT replace(repeat(name, 1000), 'o', repeat('b', 10000)) FROM t".to_owned(),
            "MemoryLimit",
        ),
        ("repeat", "SELECT repeat('a', 2000000000)".to_owned(), "MemoryLimit"),
        (
            "repeat in a condition",
            "SELECT id FROM t WHERE name = repeat('a', 2000000000)".to_owned(),
            "MemoryLimit",
        ),
        ("repeat of rows", "SELECT repeat(name, 100000) FROM t".to_owned(), "MemoryLimit"),
        ("repeat of a few rows", "SELECT repeat(name, 50000) FROM t WHERE id < 20".to_owned(), "20 rows"),
        ("repeat for each row", "SELECT repeat('a', 1000000) FROM t".to_owned(), "MemoryLimit"),
        ("repeat and its length", "SELECT length(repeat('a', 1000000))".to_owned(), "1 rows"),
        ("many columns", format!("SELECT {}", many.join(", ")), "MemoryLimit"),
        ("lpad", "SELECT lpad('a', 2000000000, 'b')".to_owned(), "MemoryLimit"),
        ("lpad of rows", "SELECT lpad(name, 1000000, 'b') FROM t".to_owned(), "MemoryLimit"),
        ("rpad", "SELECT rpad('a', 2000000000, 'ä')".to_owned(), "MemoryLimit"),
        ("concat", format!("SELECT concat({})", vec!["repeat('a', 20000000)"; 50].join(", ")), "MemoryLimit"),
        (
            "concat_ws",
            format!("SELECT concat_ws(repeat('b', 1000000), {})", vec!["name"; 500].join(", ")) + " FROM t",
            "MemoryLimit",
        ),
        ("doubled", chain(7, first, doubled, "SELECT x FROM {q}"), "10000 rows"),
        ("doubled often", chain(30, first, doubled, "SELECT x FROM {q}"), "MemoryLimit"),
        ("doubled maxima", chain(40, first, largest, "SELECT x FROM {q}"), "MemoryLimit"),
        (
            "regexp_replace",
            "SELECT regexp_replace(repeat('a', 1000000), 'a', repeat('b', 10000), 'g')".to_owned(),
            "MemoryLimit",
        ),
        (
            "regexp_replace by groups",
            "SELECT regexp_replace(repeat('a', 1000000), '(a+)', repeat('\\1', 10000))".to_owned(),
            "MemoryLimit",
        ),
        (
            "regexp_replace of rows",
            "SELECT regexp_replace(name, '[aeiou]', '<\\0>', 'g') FROM t".to_owned(),
            "10000 rows",
        ),
        (
            "regexp_match",
            format!("SELECT regexp_match(repeat('a', 10000000), '{}a+{}')", "(".repeat(200), ")".repeat(200)),
            "MemoryLimit",
        ),
        ("to_char", "SELECT to_char(now(), repeat('%c', 20000000)) FROM t".to_owned(), "MemoryLimit"),
        (
            "overlay",
            chain(
                40,
                first,
                |q| format!("SELECT max(overlay(x PLACING x FROM 1 FOR 0)) AS x FROM {q}"),
                "SELECT x FROM {q}",
            ),
            "MemoryLimit",
        ),
        (
            "levenshtein",
            "SELECT levenshtein(repeat('a', 10000000), repeat('b', 10000000))".to_owned(),
            "MemoryLimit",
        ),
        ("string_agg", "SELECT string_agg(repeat('a', 100000), ',') FROM t".to_owned(), "MemoryLimit"),
        ("array_agg", "SELECT array_agg(repeat('a', 100000)) FROM t".to_owned(), "MemoryLimit"),
        ("running texts", "SELECT string_agg(name, ',') OVER (ORDER BY id) FROM t".to_owned(), "MemoryLimit"),
        ("running arrays", "SELECT array_agg(name) OVER (ORDER BY id) FROM t".to_owned(), "MemoryLimit"),
        ("literals", format!("SELECT {} FROM t", literals.join(", ")), "10000 rows"),
        ("literals of cases", format!("SELECT {} FROM t", case.join(", ")), "10000 rows"),
    ]);
}

#[test]
fn rows_without_end_take_no_more_than_their_memory() {
    let recursion =
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT r.n FROM r CROSS JOIN t) SELECT max(n) FROM r";
    let series = "generate_series(1, 1000000000000000000)";
    assert_outcomes(&[
        ("a window over a series", format!("SELECT count(*) OVER () FROM {series}"), "MemoryLimit"),
        ("recursion that grows", recursion.to_owned(), "MemoryLimit"),
    ]);
}

impl Choices for Random {
    fn below(&mut self, end: u64) -> u64 {
        Self::below(self, end)
    }
}

/// One child runs several statements. `PILLION_STATEMENTS` asks for more than the few of an ordinary run.
#[test]
fn statements_that_grow_at_random_never_end_the_process() {
    let count = std::env::var("PILLION_STATEMENTS").map_or(8, |count| count.parse().unwrap());
    let mut grammar = Grammar::new(Random::new(0x9_0A7));
    let texts: Vec<String> = (0..count).map(|_| grammar.statement()).collect();
    let dir = tempfile::tempdir().unwrap();
    files::write(&dir.path().join("queries"), texts.join("\n").as_bytes());
    let mut child = Process::start("costly_queries::runs_statements", dir.path());
    let ways = if cfg!(feature = "sidecar") { 3 } else { 2 };
    let mut ended = std::collections::BTreeMap::<String, usize>::new();
    for text in &texts {
        for _ in 0..ways {
            let said = child.next().unwrap_or_else(|| panic!("the process ended at: {text}"));
            let how = if said.ends_with("rows") { "rows".to_owned() } else { said };
            assert!(
                ["rows", "InvalidSql", "Execution", "Unsupported", "MemoryLimit"].contains(&how.as_str()),
                "{how}: {text}"
            );
            *ended.entry(how).or_default() += 1;
        }
    }
    child.finish();
    println!("{ended:?} of {count} statements in {ways} ways");
    assert!(ended.contains_key("rows"), "some are answered");
}
