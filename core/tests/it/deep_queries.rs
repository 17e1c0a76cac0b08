//! Queries of absurd depth and length: an answer or an error, never the end of the process.
//!
//! They run in a process of their own, because a stack overflow cannot be caught, and on threads with as little stack
//! as a caller may have.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use futures::StreamExt;
use pillion::{Batches, Cache, Error, ErrorCode};

use crate::support::child::{self, Process};
use crate::support::random::Random;
use crate::support::{define, files};

/// One in this many statements is sent through a socket too.
const REMOTE_STEP: usize = 4;
/// Stack of the threads that call.
const CALLER_STACK: usize = 512 << 10;

#[test]
#[ignore = "the program of a child process"]
fn runs_queries() {
    let dir = child::directory();
    let texts = fs::read_to_string(dir.join("queries")).unwrap();
    let cache = Cache::open(dir.join("cache")).unwrap();
    define(&cache, "t", 0..10).unwrap();
    for text in texts.lines() {
        let (cache, text) = (cache.clone(), text.to_owned());
        let caller = std::thread::Builder::new().stack_size(CALLER_STACK);
        caller.spawn(move || runs(&cache, &text)).unwrap().join().unwrap();
    }
    #[cfg(feature = "sidecar")]
    runs_remotely(&cache, &dir, &texts);
}

/// Runs a statement in every way, and tells the parent how it ended.
fn runs(cache: &Cache, text: &str) {
    let answer = cache.sql(text, &[]).and_then(Batches::collect_all);
    let prepared = cache.prepare(text);
    // The answer is dropped before it is read.
    let dropped = prepared.as_ref().map(|prepared| prepared.execute(&[]).map(drop));
    assert_eq!(answer.is_ok(), matches!(dropped, Ok(Ok(()))), "{answer:?} and {dropped:?}");
    let rows =
        |batches: &[arrow::array::RecordBatch]| batches.iter().map(|batch| batch.num_rows()).sum::<usize>();
    if let (Ok(answer), Ok(prepared)) = (&answer, prepared) {
        let stream = prepared.execute(&[]).unwrap().into_stream();
        let streamed = futures::executor::block_on(stream.map(Result::unwrap).collect::<Vec<_>>());
        assert_eq!(rows(answer), rows(&streamed));
    }
    child::say(answer.map_or_else(|error| refusal(&error), |answer| format!("{} rows", rows(&answer))));
}

fn refusal(error: &Error) -> String {
    format!("{:?}", error.code())
}

/// The same through a socket, on the server's threads.
#[cfg(feature = "sidecar")]
fn runs_remotely(cache: &Cache, dir: &Path, texts: &str) {
    let socket = dir.join("pillion.sock");
    let server = cache.serve(pillion::ServerOptions::new(&socket)).unwrap();
    let client = Cache::connect(&socket, std::time::Duration::from_secs(600)).unwrap();
    for text in texts.lines().step_by(REMOTE_STEP) {
        let answer = client.sql(text, &[]).and_then(Batches::concat);
        child::say(
            answer.map_or_else(|error| refusal(&error), |answer| format!("{} rows", answer.num_rows())),
        );
    }
    drop(client);
    drop(server);
}

/// Runs statements in a child, and returns how each ended. If there is a sidecar, some run through it too, and must end
/// alike.
#[track_caller]
fn outcomes(queries: &[(String, String)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let texts: Vec<&str> = queries.iter().map(|(_, text)| text.as_str()).collect();
    assert!(texts.iter().all(|text| !text.contains('\n')), "a statement is a line");
    files::write(&dir.path().join("queries"), texts.join("\n").as_bytes());
    let mut child = Process::start("deep_queries::runs_queries", dir.path());
    let mut outcomes = Vec::new();
    for (shape, _) in queries {
        outcomes.push(child.next().unwrap_or_else(|| panic!("the process ended at: {shape}")));
    }
    if cfg!(feature = "sidecar") {
        for ((shape, _), outcome) in queries.iter().zip(&outcomes).step_by(REMOTE_STEP) {
            assert_eq!(child.next().as_ref(), Some(outcome), "through a socket: {shape}");
        }
    }
    child.finish();
    outcomes
}

#[track_caller]
fn assert_outcomes(cases: &[(&str, String, &str)]) {
    let queries: Vec<_> = cases.iter().map(|(shape, text, _)| ((*shape).to_owned(), text.clone())).collect();
    for ((shape, _, expected), outcome) in cases.iter().zip(outcomes(&queries)) {
        assert_eq!(outcome, *expected, "{shape}");
    }
}

fn conditions(count: usize, junction: &str) -> String {
    let each = (0..count).map(|n| format!("id <> {}", n + 100));
    each.collect::<Vec<_>>().join(junction)
}

fn chain(count: usize, step: impl Fn(&str) -> String) -> String {
    let mut text = "WITH q0 AS (SELECT id FROM t)".to_owned();
    for n in 1..=count {
        write!(text, ", q{n} AS ({})", step(&format!("q{}", n - 1))).unwrap();
    }
    format!("{text} SELECT count(*) FROM q{count}")
}

#[test]
fn what_is_within_the_limits_is_answered() {
    let joins: String = (1..20).map(|n| format!(" JOIN t t{n} ON t{n}.id = t{}.id", n - 1)).collect();
    let case: String = (0..100).map(|n| format!(" WHEN id = {n} THEN {n}")).collect();
    let numbers: Vec<String> = (0..10_000).map(|n: i64| (n - 5000).to_string()).collect();
    assert_outcomes(&[
        ("a sum", format!("SELECT id{} FROM t", " + 1".repeat(600)), "10 rows"),
        ("a sum of columns", format!("SELECT id{} FROM t", " + id".repeat(200)), "10 rows"),
        ("a concatenation", format!("SELECT name{} FROM t", " || 'x'".repeat(100)), "10 rows"),
        ("conditions", format!("SELECT id FROM t WHERE {}", conditions(700, " AND ")), "10 rows"),
        ("alternatives", format!("SELECT id FROM t WHERE {}", conditions(200, " OR ")), "10 rows"),
        ("a union", vec!["SELECT id FROM t"; 100].join(" UNION ALL "), "1000 rows"),
        ("a chain", chain(300, |q| format!("SELECT * FROM {q}")), "1 rows"),
        (
            "a chain of sums",
            chain(40, |q| format!("SELECT id{} AS id FROM {q}", " + 1".repeat(20))),
            "1 rows",
        ),
        ("a chain of groups", chain(20, |q| format!("SELECT id, count(*) FROM {q} GROUP BY id")), "1 rows"),
        ("joins", format!("SELECT t0.id FROM t t0{joins}"), "10 rows"),
        ("branches", format!("SELECT CASE{case} END FROM t"), "10 rows"),
        ("parentheses", format!("SELECT {}1{}", "(".repeat(40), ")".repeat(40)), "1 rows"),
        ("subqueries", format!("SELECT {}1{}", "(SELECT ".repeat(8), ")".repeat(8)), "1 rows"),
        ("negations", format!("SELECT id FROM t WHERE {} true", "NOT ".repeat(40)), "10 rows"),
        ("a list", format!("SELECT id FROM t WHERE id IN ({})", numbers.join(", ")), "10 rows"),
    ]);
}

#[test]
fn what_is_beyond_the_limits_is_refused() {
    let ten = 10_000;
    let doubled = chain(30, |q| format!("SELECT a.id FROM {q} a, {q} b"));
    let shapes = [
        ("a sum", format!("SELECT id{} FROM t", " + 1".repeat(ten))),
        ("a sum that goes wrong", format!("SELECT id{} FROM FROM", " + 1".repeat(ten))),
        ("a longer sum", format!("SELECT id{} FROM t", " + 1".repeat(200_000))),
        ("conditions", format!("SELECT id FROM t WHERE {}", conditions(5_000, " AND "))),
        ("a union", vec!["SELECT 1"; 2_000].join(" UNION ALL ")),
        ("a union that goes wrong", vec!["SELECT 1"; 6_000].join(" UNION ALL ") + " UNION"),
        ("a chain", chain(1_000, |q| format!("SELECT * FROM {q}"))),
        ("a chain of long sums", chain(100, |q| format!("SELECT id{} AS id FROM {q}", " + 1".repeat(100)))),
        ("doubled", doubled),
        ("joins", format!("SELECT 1 FROM t{}", " JOIN t USING (id)".repeat(2_000))),
        ("pipes", format!("FROM t{}", " |> SELECT *".repeat(ten))),
        ("explanations", "EXPLAIN ".repeat(ten) + "SELECT 1"),
        ("casts", format!("SELECT id{} FROM t", "::int".repeat(ten))),
        ("subscripts", format!("SELECT id{} FROM t", "[1]".repeat(5_000))),
        ("fields", format!("SELECT id{} FROM t", ".a".repeat(ten))),
        ("types", format!("SELECT CAST(1 AS {}INT{})", "ARRAY<".repeat(ten), ">".repeat(ten))),
        ("types of 60", format!("SELECT CAST(1 AS {}INT{})", "STRUCT<a ".repeat(160), ">".repeat(160))),
        ("array types", format!("SELECT id::int{} FROM t", "[]".repeat(5_000))),
        ("intervals", format!("SELECT {}'1'", "INTERVAL ".repeat(ten))),
        ("negations", format!("SELECT id FROM t WHERE {} true", "NOT ".repeat(100_000))),
        ("signs", format!("SELECT {}1", "- ".repeat(ten))),
        ("parentheses", format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000))),
        ("brackets", format!("SELECT {}1{}", "[".repeat(ten), "]".repeat(ten))),
        ("open arrays", format!("SELECT {}1", "ARRAY[".repeat(40))),
        ("patterns", format!("SELECT * FROM t MATCH_RECOGNIZE (PATTERN ({}a", "(".repeat(ten))),
        ("subqueries", format!("SELECT {}1{}", "(SELECT ".repeat(15), ")".repeat(15))),
        ("tables", format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(ten), ")".repeat(ten))),
        ("lists of lists", {
            let n = 24;
            format!(
                "SELECT id FROM t WHERE id IN {}(1){}",
                "(SELECT id FROM t WHERE id IN ".repeat(n),
                ")".repeat(n)
            )
        }),
    ];
    let cases: Vec<_> = shapes.into_iter().map(|(shape, text)| (shape, text, "InvalidSql")).collect();
    assert_outcomes(&cases);
}

/// Makes random statements of a given size.
struct Maker {
    random: Random,
    /// Operators left to use.
    operators: u64,
}

impl Maker {
    /// An expression of a number. Where it does not nest operators, it nests brackets, as deep as the parser goes.
    fn number(&mut self, brackets: u64) -> String {
        if self.operators == 0 || brackets == 0 {
            return ["id", "1", "t.id", "-3", "length(t.name)"][self.pick(5)].to_owned();
        }
        self.operators -= 1;
        match self.random.below(9) {
            0 => format!("({})", self.number(brackets - 1)),
            1 => format!("abs({})", self.number(brackets - 1)),
            2 => format!(
                "CASE WHEN {} THEN {} ELSE 0 END",
                self.condition(brackets - 1),
                self.number(brackets - 1)
            ),
            3 => format!("nullif({}, 1)", self.number(brackets - 1)),
            4 if brackets > 8 => format!("(SELECT max({}) FROM t)", self.number(brackets / 2)),
            _ => {
                let terms = 1 + self.random.below(self.operators.clamp(1, 400));
                self.operators = self.operators.saturating_sub(terms);
                let mut text = self.number(brackets - 1);
                for _ in 0..terms {
                    write!(
                        text,
                        " {} {}",
                        ["+", "-", "*", "%"][self.pick(2)],
                        ["id", "1", "2"][self.pick(3)]
                    )
                    .unwrap();
                }
                text
            }
        }
    }

    fn condition(&mut self, brackets: u64) -> String {
        if self.operators == 0 || brackets == 0 {
            return ["id > 3", "name IS NULL", "id IN (1, 2, 3, 4)", "true"][self.pick(4)].to_owned();
        }
        self.operators -= 1;
        match self.random.below(7) {
            0 => format!("NOT ({})", self.condition(brackets - 1)),
            1 => format!("{} BETWEEN 1 AND {}", self.number(brackets - 1), self.number(brackets - 1)),
            2 => format!("{} > {}", self.number(brackets - 1), self.number(brackets - 1)),
            3 if brackets > 8 => format!("EXISTS (SELECT 1 FROM t s WHERE s.id = {})", self.random.below(20)),
            _ => {
                let terms = 1 + self.random.below(self.operators.clamp(1, 100));
                self.operators = self.operators.saturating_sub(terms);
                let junction = [" AND ", " OR "][self.pick(2)];
                let each = (0..terms).map(|n| format!("id <> {n}")).collect::<Vec<_>>().join(junction);
                format!("{}{junction}({each})", self.condition(brackets - 1))
            }
        }
    }

    fn query(&mut self, brackets: u64) -> String {
        let (number, condition) = (self.number(brackets), self.condition(brackets));
        let query = format!("SELECT {number} AS id, name FROM t WHERE {condition}");
        if self.operators < 10 || brackets < 4 {
            return query;
        }
        self.operators -= 10;
        match self.random.below(4) {
            0 => format!("SELECT id, name FROM ({}) AS t", self.query(brackets / 2)),
            1 => format!("{query} UNION ALL {}", self.query(brackets - 1)),
            2 => {
                let named = self.query(brackets / 2);
                format!("WITH t AS ({named}) SELECT {} AS id, name FROM t", self.number(brackets))
            }
            _ => format!("SELECT a.id, b.name FROM ({query}) AS a JOIN t b ON a.id = b.id"),
        }
    }

    fn pick(&mut self, of: u64) -> usize {
        usize::try_from(self.random.below(of)).unwrap()
    }
}

#[test]
fn nested_queries_made_at_random_never_end_the_process() {
    let mut random = Random::new(0xDEE9);
    let mut queries = Vec::new();
    for (count, operators) in [(16, 40), (3, 300), (5, 12_000)] {
        for _ in 0..count {
            random.next();
            let mut maker = Maker { random: random.clone(), operators };
            let text = maker.query(14);
            queries.push((text.chars().take(2_000).collect(), text));
        }
    }
    let outcomes = outcomes(&queries);
    let answered = outcomes.iter().filter(|outcome| outcome.ends_with("rows")).count();
    let refused =
        outcomes.iter().filter(|outcome| **outcome == format!("{:?}", ErrorCode::InvalidSql)).count();
    println!("{answered} answered, {refused} refused, of {}", outcomes.len());
    assert!(answered >= 10 && refused >= 2, "both sides of the limits are tried: {outcomes:?}");
    let known = ["rows", "InvalidSql", "Execution", "Unsupported", "MemoryLimit"];
    let unknown: Vec<_> =
        outcomes.iter().filter(|outcome| !known.iter().any(|known| outcome.ends_with(known))).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
