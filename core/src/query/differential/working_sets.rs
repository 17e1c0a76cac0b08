//! Generated statements over a working set, answered by it as by a full copy of the same rows, or not at all; with its source's help always.

use std::cell::Cell;
use std::cmp::Ordering;
use std::time::SystemTime;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;

use super::oracle::Answer;
use super::rows::{ID, Rows};
use super::setting;
use super::statements::{condition, name};
use crate::query::Condition;
use crate::source::{
    Call, Capabilities, ColumnRanges, Description, Fetch, Fetched, Keys, Relation, Source, TableSource,
};
use crate::test_random::Random;
use crate::types::cell::value_at;
use crate::types::error::{Error, ErrorCode, Result};
use crate::{Cache, OnMiss, TableDefinition, Tier, Value};

/// Statements of a run; `PILLION_COVERED_STATEMENTS` asks for more.
const STATEMENTS: u64 = 2_000;
const STATEMENTS_PER_ROUND: u64 = 50;

/// Rows in memory. With abilities they are sent by key, and without those that are outside of ranges.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) rows: RecordBatch,
    pub(super) is_able: bool,
}

impl Held {
    fn value(&self, column: &str, row: usize) -> Value {
        let array = self.rows.column_by_name(column).unwrap();
        value_at(array.as_ref(), row).unwrap().into_owned()
    }

    /// Whether a row may be wanted.
    fn sends(&self, fetch: &Fetch, row: usize) -> bool {
        let has_key = |keys: &Keys| {
            let own: Vec<Value> = keys.columns.iter().map(|column| self.value(column, row)).collect();
            keys.values.contains(&own)
        };
        let is_within = |of: &ColumnRanges| {
            let own = self.value(&of.column, row);
            let above = |low: &Value| order(low, &own).is_none_or(|it| it != Ordering::Greater);
            let below = |high: &Value| order(&own, high).is_none_or(|it| it != Ordering::Greater);
            own != Value::Null
                && of.ranges.iter().any(|range| {
                    range.low.as_ref().is_none_or(above) && range.high.as_ref().is_none_or(below)
                })
        };
        fetch.wanted_keys().is_none_or(has_key) && fetch.wanted_ranges().iter().all(is_within)
    }
}

/// How values of one column compare, if they are of kinds of which ranges are told.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    let number = |value: &Value| match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::UInt(number) => Some(i128::from(*number)),
        Value::Decimal { unscaled, .. } => Some(*unscaled),
        Value::Date(days) => Some(i128::from(*days)),
        Value::Timestamp { value, .. } => Some(i128::from(*value)),
        _ => None,
    };
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (a, b) => Some(number(a)?.cmp(&number(b)?)),
    }
}

impl Source for Held {
    fn capabilities(&self) -> Capabilities {
        Capabilities { keys: self.is_able, ranges: self.is_able, ..Capabilities::default() }
    }

    fn relations(&self, _: &Call) -> Result<Vec<String>> {
        Err(Error::new(ErrorCode::Unsupported, "there is one relation"))
    }

    fn describe(&self, _: &Relation, _: &Call) -> Result<Description> {
        Ok(Description::new(self.rows.schema()))
    }

    fn fetch(&self, fetch: &Fetch, _: &Call) -> Result<Fetched> {
        let is_sent = (0..self.rows.num_rows()).map(|row| !self.is_able || self.sends(fetch, row));
        let is_sent = BooleanArray::from(is_sent.collect::<Vec<_>>());
        let rows = filter_record_batch(&self.rows, &is_sent).unwrap();
        Ok(Fetched::new(rows.schema(), [Ok(rows)]))
    }
}

#[derive(Debug, Default)]
struct Counts {
    equal: u64,
    /// Answered although the working set lacks rows that the whole table has.
    of_fewer_rows: u64,
    not_covered: u64,
    /// Answered by the source, at least in part.
    delegated: u64,
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
    assert!(counts.delegated > statements / 10, "too few statements mean something: {counts:?}");
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
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let is_able = random.percent(70);
    let is_keyed = random.percent(60);
    let open = |dir: &tempfile::TempDir, condition: Option<&str>, on_miss: OnMiss| {
        let cache = Cache::open(dir.path()).unwrap();
        cache.add_source("rows", Held { rows: rows.rows.clone(), is_able }).unwrap();
        let from = || TableSource::new("rows", Relation::table("t")).on_call();
        let keyed = |definition: TableDefinition| match is_keyed {
            true => definition.primary_key([ID]),
            false => definition,
        };
        let of_t = condition.map_or_else(from, |condition| from().rows_where(condition).on_miss(on_miss));
        cache.define_table("t", keyed(TableDefinition::from_source(of_t))).unwrap();
        cache.define_table("u", keyed(TableDefinition::from_source(from()))).unwrap();
        cache
    };
    let [dir, other, third] = &dirs;
    let full = open(dir, None, OnMiss::Error);
    let some = open(other, Some(&coverage), OnMiss::Error);
    let delegating = open(third, Some(&coverage), OnMiss::Delegate);
    let held = some.table("t").unwrap().info().unwrap().rows;
    for _ in 0..STATEMENTS_PER_ROUND {
        let statement = statement(&mut random, &rows, &coverage);
        compare((&full, &some), (&statement, &coverage), held < 180, seed, counts);
        compare((&full, &delegating), (&statement, &coverage), held < 180, seed, counts);
    }
    for cache in [full, some, delegating] {
        cache.close().unwrap();
    }
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
    let tier = Cell::new(Tier::Local);
    let answer = |cache: &Cache| {
        let batches = cache.sql(statement, &[])?;
        tier.set(batches.tier());
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
        (Ok(_), Err(error)) if error.code() == ErrorCode::NotCovered => {
            let rules = some.table("t").unwrap().info().unwrap().rules;
            assert_eq!(rules.working_set.unwrap().on_miss, OnMiss::Error, "seed {seed}, {statement}");
            counts.not_covered += 1;
        }
        // Whether a value that cannot be cast is looked at depends on the other rows of its batch: DataFusion evaluates the second part of
        // an AND for a whole batch, or not at all.
        (Err(_), _) => counts.failed += 1,
        (Ok(_), Err(error)) if error.code() == ErrorCode::Execution => counts.failed_here += 1,
        (Ok(expected), Ok(found)) => {
            assert_eq!(found, expected, "seed {seed}, {statement}\nover {coverage}");
            counts.equal += 1;
            counts.delegated += u64::from(tier.get() != Tier::Local);
            counts.of_fewer_rows += u64::from(is_smaller);
        }
        (Ok(_), Err(error)) => panic!("seed {seed}, {statement}\nover {coverage}: {error:?}"),
    }
}
