//! Generated statements over a working set, answered by it as by a full copy of the same rows, or not at all.

use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::oracle::Answer;
use super::rows::{ID, Rows};
use super::setting;
use super::statements::{condition, name};
use crate::query::Condition;
use crate::source::{Call, Capabilities, Description, Fetch, Fetched, Relation, Source, TableSource};
use crate::test_random::Random;
use crate::types::error::{Error, ErrorCode, Result};
use crate::{Cache, TableDefinition};

/// Statements of a run; `PILLION_COVERED_STATEMENTS` asks for more.
const STATEMENTS: u64 = 2_000;
const STATEMENTS_PER_ROUND: u64 = 50;

/// Rows in memory.
#[derive(Debug)]
pub(super) struct Held(pub(super) RecordBatch);

impl Source for Held {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn relations(&self, _: &Call) -> Result<Vec<String>> {
        Err(Error::new(ErrorCode::Unsupported, "there is one relation"))
    }

    fn describe(&self, _: &Relation, _: &Call) -> Result<Description> {
        Ok(Description::new(self.0.schema()))
    }

    fn fetch(&self, _: &Fetch, _: &Call) -> Result<Fetched> {
        Ok(Fetched::new(self.0.schema(), [Ok(self.0.clone())]))
    }
}

#[derive(Debug, Default)]
struct Counts {
    equal: u64,
    /// Answered although the working set lacks rows that the whole table has.
    of_fewer_rows: u64,
    not_covered: u64,
    /// The full copy refuses the statement, or fails at a value.
    failed: u64,
    /// Only the working set fails, at a value.
    failed_here: u64,
}

#[test]
fn a_working_set_answers_as_a_full_copy_or_not_at_all() {
    let seed = setting("PILLION_TEST_SEED", 20_131_127);
    let statements = setting("PILLION_COVERED_STATEMENTS", STATEMENTS);
    let mut counts = Counts::default();
    for round in 0..statements.div_ceil(STATEMENTS_PER_ROUND) {
        run(seed.wrapping_add(round), &mut counts);
    }
    crate::test_report::add(format_args!("statements over working sets: {counts:?}; seed {seed}"));
    assert!(counts.of_fewer_rows > statements / 10, "too few statements mean something: {counts:?}");
    assert!(counts.failed_here < statements / 20, "too few statements mean something: {counts:?}");
    assert!(counts.not_covered > statements / 10, "too few statements mean something: {counts:?}");
}

/// A table, a working set of it, and statements over both.
fn run(seed: u64, counts: &mut Counts) {
    let mut random = Random::of(seed);
    let columns = 3 + random.below(4);
    let mut rows = Rows::new(&mut random, columns);
    for start in [0, 60, 120] {
        let batch = rows.batch(&mut random, start..start + 60);
        rows.append(&batch);
    }
    let coverage = coverage(&mut random, &rows);
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let is_keyed = random.percent(60);
    let open = |dir: &tempfile::TempDir, condition: Option<&str>| {
        let cache = Cache::open(dir.path()).unwrap();
        cache.add_source("rows", Held(rows.rows.clone())).unwrap();
        let from = || TableSource::new("rows", Relation::table("t")).on_call();
        let keyed = |definition: TableDefinition| match is_keyed {
            true => definition.primary_key([ID]),
            false => definition,
        };
        let of_t = condition.map_or_else(from, |condition| from().rows_where(condition));
        cache.define_table("t", keyed(TableDefinition::from_source(of_t))).unwrap();
        cache.define_table("u", keyed(TableDefinition::from_source(from()))).unwrap();
        cache
    };
    let (full, some) = (open(&dir, None), open(&other, Some(&coverage)));
    let held = some.table("t").unwrap().info().unwrap().rows;
    for _ in 0..STATEMENTS_PER_ROUND {
        let statement = statement(&mut random, &rows, &coverage);
        compare((&full, &some), (&statement, &coverage), held < 180, seed, counts);
    }
    full.close().unwrap();
    some.close().unwrap();
}

/// A condition that can be the one of a working set.
fn coverage(random: &mut Random, rows: &Rows) -> String {
    for _ in 0..30 {
        let depth = random.below(3);
        let text = condition(random, rows, "", depth);
        if is_understood(&text, &rows.schema) {
            return text;
        }
    }
    format!("id < {}", random.below(180))
}

fn is_understood(text: &str, schema: &SchemaRef) -> bool {
    use crate::coverage::{Domain, Region};
    let condition = Condition::parse(text, schema, SystemTime::now());
    condition.is_ok_and(|condition| {
        !condition.moves
            && Region::exactly(&condition.predicate, &|column| {
                Domain::of(schema.field_with_name(column).ok()?)
            })
            .is_ok()
    })
}

fn statement(random: &mut Random, rows: &Rows, coverage: &str) -> String {
    // Qualified names are needed where both tables have the columns.
    let filter = |random: &mut Random| {
        let depth = random.below(2);
        let other = condition(random, rows, "", depth);
        match random.below(6) {
            0 | 1 => format!("({coverage}) AND {other}"),
            2 => format!("{other} AND ({coverage})"),
            3 => format!("({coverage})"),
            4 => format!("({coverage}) OR {other}"),
            _ => other,
        }
    };
    let t = format!("(SELECT * FROM t WHERE {}) AS x", filter(random));
    let (a, b) = (name(random, rows), name(random, rows));
    match random.below(12) {
        0 => format!("SELECT count(*), count({a}), min({b}) FROM t WHERE {}", filter(random)),
        1 => format!("SELECT id, {a} FROM t WHERE {}", filter(random)),
        2 => format!("SELECT {a}, count(*), max(id) FROM t WHERE {} GROUP BY {a}", filter(random)),
        3 => format!(
            "SELECT id FROM t WHERE {} ORDER BY id DESC LIMIT {}",
            filter(random),
            1 + random.below(9)
        ),
        4 => format!("SELECT id FROM (SELECT * FROM t ORDER BY id LIMIT 7) AS x WHERE {}", filter(random)),
        5 => format!("SELECT u.id FROM u LEFT JOIN {t} ON u.id = x.id WHERE x.id IS NULL"),
        6 => format!("SELECT u.id, x.id FROM u LEFT JOIN {t} ON u.id = x.id + 1 WHERE x.id IS NOT NULL"),
        7 => format!("SELECT x.id FROM {t} LEFT JOIN u ON u.id = x.id + 3"),
        8 => format!("SELECT id FROM u WHERE NOT EXISTS (SELECT 1 FROM {t} WHERE x.id = u.id)"),
        9 => format!("SELECT id FROM u WHERE id {}IN (SELECT x.id FROM {t})", random.pick(&["", "NOT "])),
        10 => {
            let other = filter(random);
            format!("SELECT id FROM t WHERE {} UNION ALL SELECT id + 1 FROM t WHERE {other}", filter(random))
        }
        _ => format!(
            "SELECT id, {a} FROM t WHERE id = {} OR (id = 3 AND {})",
            random.below(180),
            filter(random)
        ),
    }
}

fn compare(
    (full, some): (&Cache, &Cache),
    (statement, coverage): (&str, &str),
    is_smaller: bool,
    seed: u64,
    counts: &mut Counts,
) {
    let answer = |cache: &Cache| {
        let batches = cache.sql(statement, &[])?;
        assert!(batches.certificate().is_complete());
        let schema = batches.schema().clone();
        Ok::<_, Error>(Answer::new(&schema, &batches.collect_all()?).sorted())
    };
    // Arrow panics for some values, such as dates that overflow as timestamps, in a build that checks arithmetic.
    let caught = |cache: &Cache| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| answer(cache)))
            .unwrap_or_else(|_| Err(Error::new(ErrorCode::Internal, "panicked")))
    };
    match (caught(full), caught(some)) {
        (Ok(_), Err(error)) if error.code() == ErrorCode::NotCovered => counts.not_covered += 1,
        // Whether a value that cannot be cast is looked at depends on the other rows of its batch: DataFusion evaluates the second part of
        // an AND for a whole batch, or not at all.
        (Err(_), _) => counts.failed += 1,
        (Ok(_), Err(error)) if error.code() == ErrorCode::Execution => counts.failed_here += 1,
        (Ok(expected), Ok(found)) => {
            assert_eq!(found, expected, "seed {seed}, {statement}\nover {coverage}");
            counts.equal += 1;
            counts.of_fewer_rows += u64::from(is_smaller);
        }
        (Ok(_), Err(error)) => panic!("seed {seed}, {statement}\nover {coverage}: {error:?}"),
    }
}
