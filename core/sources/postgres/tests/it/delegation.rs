//! Working sets of a real server that delegate what they do not hold: generated queries are answered as by a full copy.

use arrow::array::RecordBatch;
use pillion::source::{Relation, TableSource};
use pillion::{Batches, Cache, ErrorCode, OnMiss, TableDefinition, Tier, Value};

use crate::support::random::Random;
use crate::support::report;
use crate::support::rows::{lines, names_and_types};
use crate::support::server::Server;

/// Queries of a run; `PILLION_DELEGATED_STATEMENTS` asks for more.
const STATEMENTS: u64 = 1_000;
/// Queries between two changes of the rows.
const STATEMENTS_PER_ROUND: u64 = 200;

const TABLE: &str = "
    CREATE COLLATION IF NOT EXISTS same (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE t (id int PRIMARY KEY, s int2, n int8, b bool, day date, at timestamp, zoned timestamptz, price numeric(12,2),
                    share float8, name text COLLATE \"en-x-icu\", code char(5), same text COLLATE same, u uuid);";

/// Values of each column but the key, as PostgreSQL and as Pillion write them.
const COLUMNS: &[(&str, &[&str])] = &[
    ("s", &["-32768", "-1", "0", "1", "32767"]),
    ("n", &["-9223372036854775808", "-5", "0", "7", "9223372036854775807"]),
    ("b", &["true", "false"]),
    ("day", &["'1969-12-31'", "'1970-01-01'", "'2024-02-29'", "'9999-12-31'"]),
    ("at", &["'1969-12-31 23:59:59.999999'", "'1970-01-01 00:00:00'", "'2024-02-29 12:00:00.000001'"]),
    ("zoned", &["'1970-01-01 00:00:00+00'", "'2024-03-31 01:30:00+00'", "'2024-10-27 00:30:00+00'"]),
    ("price", &["-1.50", "0.00", "0.01", "99999.99"]),
    ("share", &["-0.5", "0", "0.1", "1e300"]),
    ("name", &["''", "'a'", "'A'", "'ab'", "'b '", "'ä'", "'Z'", "'z'"]),
    ("code", &["'a    '", "'A    '", "'ab   '", "'abcde'"]),
    ("same", &["'a'", "'A'", "'b'", "'B'"]),
    ("u", &["'00000000-0000-0000-0000-000000000001'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"]),
];

fn pick<'a, T>(random: &mut Random, of: &'a [T]) -> &'a T {
    &of[usize::try_from(random.below(of.len() as u64)).unwrap()]
}

fn column<'a>(random: &mut Random) -> &'a (&'a str, &'a [&'a str]) {
    pick(random, COLUMNS)
}

/// Statements that insert rows with ids of a range.
fn inserts(random: &mut Random, ids: std::ops::Range<u64>) -> String {
    let row = |id: u64| {
        let values = COLUMNS.iter().map(|(_, values)| match random.below(6) {
            0 => "NULL".to_owned(),
            _ => (*pick(random, values)).to_owned(),
        });
        format!("({id}, {})", values.collect::<Vec<_>>().join(", "))
    };
    let rows: Vec<String> = ids.map(row).collect();
    format!("INSERT INTO t VALUES {};", rows.join(", "))
}

fn condition(random: &mut Random, depth: u64) -> String {
    if depth > 0 && random.below(3) > 0 {
        let (a, b) = (condition(random, depth - 1), condition(random, depth - 1));
        return match random.below(5) {
            0 | 1 => format!("({a} AND {b})"),
            2 | 3 => format!("({a} OR {b})"),
            _ => format!("(NOT {a})"),
        };
    }
    if random.below(3) == 0 {
        let (low, high) = (random.below(300), random.below(300));
        return match random.below(4) {
            0 => format!("id = {low}"),
            1 => format!("id IN ({low}, {high}, 999)"),
            2 => format!("id BETWEEN {low} AND {}", low + high),
            _ => format!("id % 7 = {}", low % 7),
        };
    }
    let (name, values) = column(random);
    let (one, other) = (*pick(random, values), *pick(random, values));
    match random.below(8) {
        0 => format!("{name} IS NULL"),
        1 => format!("{name} IS NOT NULL"),
        2 => format!("{name} IN ({one}, {other})"),
        3 => format!("{name} BETWEEN {one} AND {other}"),
        4 => format!("{name} NOT IN ({one}, {other})"),
        operator => {
            let operator = [["=", "<>"], ["<", ">="], [">", "<="]][usize::try_from(operator - 5).unwrap()];
            format!("{name} {} {one}", pick(random, &operator))
        }
    }
}

fn statement(random: &mut Random, table: &str, condition: &str, other: &str) -> String {
    let ((a, _), (b, _)) = (column(random), column(random));
    let t = format!("(SELECT * FROM {table} WHERE {condition}) AS x");
    match random.below(12) {
        0 => format!(
            "SELECT count(*) AS c, count({a}) AS d, min({b}) AS e, max({a}) AS f FROM {table} WHERE {condition}"
        ),
        1 => format!("SELECT id, {a}, {b} AS other FROM {table} WHERE {condition}"),
        2 => format!(
            "SELECT {a}, count(*) AS c, sum(n % 1000) AS s FROM {table} WHERE {condition} GROUP BY {a}"
        ),
        3 => format!(
            "SELECT id, {a} FROM {table} WHERE {condition} ORDER BY {a} DESC, id LIMIT {}",
            1 + random.below(9)
        ),
        4 => format!("SELECT id FROM (SELECT * FROM {table} ORDER BY id LIMIT 40) AS x WHERE {condition}"),
        5 => format!("SELECT w.id FROM whole w LEFT JOIN {t} ON w.id = x.id WHERE x.{a} IS NULL"),
        6 => format!("SELECT w.id, x.{b} FROM whole w LEFT JOIN {t} ON w.id = x.id + 1 WHERE w.id < 50"),
        7 => format!("SELECT id FROM whole WHERE NOT EXISTS (SELECT 1 FROM {t} WHERE x.id = whole.id)"),
        8 => format!("SELECT id FROM whole WHERE id NOT IN (SELECT x.id FROM {t})"),
        9 => format!(
            "SELECT id FROM {table} WHERE {condition} UNION ALL SELECT id + 1 FROM {table} WHERE {other}"
        ),
        10 => format!("SELECT DISTINCT {a}, {b} FROM {table} WHERE {condition}"),
        _ => format!("SELECT * FROM {table} WHERE {condition}"),
    }
}

struct Asked {
    rows: RecordBatch,
    tier: Tier,
}

fn ask(cache: &Cache, sql: &str) -> pillion::Result<Asked> {
    let batches = cache.sql(sql, &[])?;
    assert!(batches.certificate().is_complete(), "{sql}");
    let tier = batches.tier();
    Ok(Asked { rows: batches.concat()?, tier })
}

#[test]
fn a_delegating_working_set_answers_as_a_full_copy() {
    let Some(server) = Server::start() else { return };
    let mut random = Random::new(20_131_130);
    server.psql(TABLE);
    server.psql(&inserts(&mut random, 0..300));
    let statements = std::env::var("PILLION_DELEGATED_STATEMENTS").ok().and_then(|text| text.parse().ok());
    let statements: u64 = statements.unwrap_or(STATEMENTS);
    let (mut local, mut delegated, mut failed) = (0_u64, 0_u64, 0_u64);
    for round in 0..statements.div_ceil(STATEMENTS_PER_ROUND) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        cache.add_source("db", server.source()).unwrap();
        let from = || TableSource::new("db", Relation::table("t")).on_call();
        let define = |name: &str, from: TableSource| {
            let definition = TableDefinition::from_source(from);
            let definition = if round % 3 == 2 { definition } else { definition.primary_key(["id"]) };
            cache.define_table(name, definition)
        };
        define("whole", from()).unwrap();
        let coverage = loop {
            let coverage = condition(&mut random, 1);
            let set = from().rows_where(&coverage).on_miss(OnMiss::Delegate);
            match define("some", set) {
                Ok(_) => break coverage,
                Err(error) => assert_eq!(error.code(), ErrorCode::Unsupported, "{coverage}: {error}"),
            }
        };
        for _ in 0..STATEMENTS_PER_ROUND {
            let other = condition(&mut random, 1);
            let asked = match random.below(4) {
                0 => format!("({coverage}) AND {}", condition(&mut random, 1)),
                _ => condition(&mut random, 2),
            };
            let of = |table: &str| statement(&mut random.clone(), table, &asked, &other);
            let (some, whole) = (of("some"), of("whole"));
            random.next();
            let (found, expected) = match (ask(&cache, &some), ask(&cache, &whole)) {
                (Ok(found), Ok(expected)) => (found, expected),
                // What the whole table cannot compute is no concern of this.
                (_, Err(_)) => {
                    failed += 1;
                    continue;
                }
                (Err(error), Ok(_)) => panic!("{some}\nover {coverage}: {error:?}"),
            };
            assert_eq!(
                names_and_types(&found.rows),
                names_and_types(&expected.rows),
                "{some}\nover {coverage}"
            );
            let sorted = |asked: &Asked| {
                let mut lines = lines(&asked.rows);
                lines.sort_unstable();
                lines
            };
            assert_eq!(sorted(&found), sorted(&expected), "{some}\nover {coverage}");
            *(if found.tier == Tier::Local { &mut local } else { &mut delegated }) += 1;
        }
        // Rows change while nobody refreshes: the source answers with those of now.
        let first = 300 + round * 10;
        server.psql(&inserts(&mut random, first..first + 10));
        server.psql(&format!(
            "UPDATE t SET name = 'new' WHERE id % 10 = {}; DELETE FROM t WHERE id = {};",
            round % 10,
            round * 3
        ));
        let now = ask(&cache, "SELECT count(*) AS c, count(name) AS n FROM some").unwrap();
        let behind = ask(&cache, "SELECT count(*) AS c, count(name) AS n FROM whole").unwrap();
        cache.refresh("whole").unwrap();
        let caught_up = ask(&cache, "SELECT count(*) AS c, count(name) AS n FROM whole").unwrap();
        if now.tier == Tier::Delegated {
            assert_eq!(lines(&now.rows), lines(&caught_up.rows));
            assert_ne!(lines(&now.rows), lines(&behind.rows));
        }
    }
    report::add(format_args!(
        "queries over working sets of a server: {delegated} delegated, {local} local, {failed} not computed"
    ));
    assert!(delegated > statements / 3 && local > statements / 50, "{delegated} delegated, {local} local");
    assert!(failed < statements / 20, "{failed} failed");
}

#[test]
fn only_rows_that_may_be_wanted_leave_the_server() {
    let Some(server) = Server::start() else { return };
    server.psql(
        "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT n, 'name ' || n FROM generate_series(1, 100000) n;",
    );
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    cache.add_source("db", server.source()).unwrap();
    let set = TableSource::new("db", Relation::table("t"))
        .on_call()
        .rows_where("id <= 10")
        .on_miss(OnMiss::Delegate);
    let table = cache.define_table("t", TableDefinition::from_source(set).primary_key(["id"])).unwrap();
    assert_eq!(table.get(50_000).unwrap().unwrap().get::<&str>("name").unwrap(), "name 50000");
    assert!(table.get(100_001).unwrap().is_none());
    let rows = table.get_many(&(1..=2000).map(|n| n * 40).collect::<Vec<i32>>()).unwrap();
    assert!(rows.iter().all(Option::is_some));
    // What leaves the server is what the leaf of the plan reads.
    let leaf = |sql: &str| {
        let explained = cache.sql(&format!("EXPLAIN ANALYZE {sql}"), &[]).and_then(Batches::concat).unwrap();
        let text = lines(&explained).concat();
        let at = text.find("PillionDelegated").unwrap_or_else(|| panic!("{text}"));
        let (_, rest) = text[at..].split_once("output_rows=").unwrap_or_else(|| panic!("{text}"));
        rest.split([',', ']']).next().unwrap().to_owned()
    };
    assert_eq!(leaf("SELECT name FROM t WHERE id = 77"), "1");
    assert_eq!(leaf("SELECT name FROM t WHERE name IN ('name 5', 'name 99999', 'none')"), "2");
    assert_eq!(leaf("SELECT count(*) FROM t WHERE id BETWEEN 5 AND 1004"), "1.00 K");
    let by_id = cache.prepare("SELECT name FROM t WHERE id = $1").unwrap();
    for id in [3, 500, 3, 70_000] {
        assert_eq!(by_id.execute(&[Value::from(id)]).unwrap().concat().unwrap().num_rows(), 1);
    }
}

#[test]
fn a_server_that_goes_away_in_the_middle_is_an_error() {
    let Some(mut server) = Server::start() else { return };
    server.psql(
        "CREATE TABLE t (id int PRIMARY KEY, filler text); INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 200000) n;",
    );
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    cache.add_source("db", server.source()).unwrap();
    let set = TableSource::new("db", Relation::table("t"))
        .on_call()
        .rows_where("id <= 10")
        .on_miss(OnMiss::Delegate);
    let table = cache.define_table("t", TableDefinition::from_source(set).primary_key(["id"])).unwrap();
    let mut answer = cache.sql("SELECT * FROM t", &[]).unwrap();
    answer.next().unwrap().unwrap();
    server.stop();
    let error = answer.find_map(Result::err).unwrap();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error:?}");
    assert!(error.message().contains("`t`") && error.message().contains("all rows"), "{error}");
    assert_eq!(table.get(77).unwrap_err().code(), ErrorCode::SourceUnavailable);
    assert!(table.get(7).unwrap().is_some());
    assert_eq!(cache.sql("SELECT id FROM t WHERE id < 5", &[]).unwrap().concat().unwrap().num_rows(), 4);
}
