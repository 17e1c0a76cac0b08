//! Generated statements, answered by a cache and by plain DataFusion over the same rows.
//!
//! What the cache adds is what could be wrong: bounds that leave out batches, statistics, an order and uniqueness that
//! it claims, lookups by key, rows in the log and deleted rows. Values and casts are those at which such things break.

#[cfg(feature = "datafusion")]
mod foreign;
mod key_joins;
mod key_joins_memory;
mod misleading;
mod narrowed;
mod oracle;
#[cfg(feature = "datafusion")]
mod partitioned_joins;
mod point_statements;
mod points;
mod rows;
mod statements;
mod working_sets;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::oracle::{Answer, Oracle};
use self::rows::{ID, Rows};
use self::statements::Statement;
use crate::test_random::Random;
use crate::{Cache, CacheOptions, Input, TableDefinition};

/// Statements of a run, unless the environment says otherwise.
const STATEMENTS: u64 = 1_000;
/// Statements over the same rows.
const STATEMENTS_PER_ROUND: u64 = 100;

/// A setting of the run: `PILLION_COMPARED_STATEMENTS=200000`, `PILLION_TEST_SEED=7`.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// What became of the statements.
#[derive(Debug, Default)]
struct Counts {
    equal: u64,
    rows: usize,
    /// Both say that the statement is wrong, or fails over these rows.
    both_fail: u64,
    /// The cache did not look at the row at which plain DataFusion fails.
    only_oracle_fails: u64,
    failures: Vec<String>,
}

#[test]
fn generated_statements_are_answered_as_by_plain_datafusion() {
    let seed = setting("PILLION_TEST_SEED", 20_130_101);
    let statements = setting("PILLION_COMPARED_STATEMENTS", STATEMENTS);
    let mut counts = Counts::default();
    for round in 0..statements.div_ceil(STATEMENTS_PER_ROUND) {
        run(seed.wrapping_add(round), &mut counts);
    }
    crate::test_report::add(format_args!(
        "generated statements: {} answered as by plain DataFusion ({} rows), {} refused by both, {} only by it; seed {seed}",
        counts.equal, counts.rows, counts.both_fail, counts.only_oracle_fails
    ));
    assert!(
        counts.failures.is_empty(),
        "{} failures, the first: {}",
        counts.failures.len(),
        counts.failures.join("\n\n")
    );
    assert!(counts.equal > statements / 3, "too few statements mean something: {counts:?}");
}

/// Two tables and statements over them.
fn run(seed: u64, counts: &mut Counts) {
    let mut random = Random::of(seed);
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheOptions::new().query_threads(1 + random.below(3)).open(dir.path()).unwrap();
    let t = fill(&mut random, &cache, "t", 400);
    let u = fill(&mut random, &cache, "u", 40);
    let oracle = Oracle::new(&[("t", &t), ("u", &u)]);
    for _ in 0..STATEMENTS_PER_ROUND {
        let statement = statements::statement(&mut random, &t, &u);
        if let Err(failure) = compare(&cache, &oracle, &statement, counts) {
            counts.failures.push(format!("seed {seed}, {}\n{failure}", statement.whole()));
            if counts.failures.len() > 20 {
                break;
            }
        }
    }
    cache.close().unwrap();
}

/// A table in segments and in the log, with deleted rows.
fn fill(random: &mut Random, cache: &Cache, name: &str, rows: usize) -> Rows {
    let columns = 6 + random.below(6);
    let mut model = Rows::new(random, columns);
    let share = i64::try_from(rows / 4).unwrap();
    let first = model.batch(random, 0..share);
    model.append(&first);
    let is_keyed = random.percent(50);
    // A float first, whose zeros are one value to SQL and two to the order of rows.
    let sort_by = match random.below(3) {
        0 => vec!["c0".to_owned(), "c1".to_owned()],
        1 => vec![format!("c{}", random.below(columns))],
        _ => Vec::new(),
    };
    let define = |sort_by: Vec<String>| {
        let definition = TableDefinition::new(Input::from(first.clone())).sort_by(sort_by);
        cache.define_table(name, if is_keyed { definition.primary_key([ID]) } else { definition })
    };
    // Some types cannot be sorted by.
    let table = define(sort_by).or_else(|_| define(Vec::new())).unwrap();
    for start in [share, 2 * share, 3 * share] {
        let batch = model.batch(random, start..start + share);
        model.append(&batch);
        table.append(batch).unwrap();
        if random.percent(50) {
            cache.compact().unwrap();
        }
        if is_keyed && random.percent(50) {
            let ids: Vec<i64> = (0..10).map(|_| i64::try_from(random.below(rows)).unwrap()).collect();
            table.delete_many(&ids).unwrap();
            model.delete(&ids);
        }
    }
    model
}

fn compare(cache: &Cache, oracle: &Oracle, statement: &Statement, counts: &mut Counts) -> Result<(), String> {
    let answer = |text: &str| {
        let batches = cache.sql(text, &[])?;
        let schema = batches.schema().clone();
        Ok(Answer::new(&schema, &batches.collect_all()?))
    };
    compare_with(&answer, oracle, statement, counts)
}

/// Compares what `answer` makes of a text with what plain DataFusion does.
fn compare_with(
    answer: &dyn Fn(&str) -> crate::Result<Answer>,
    oracle: &Oracle,
    statement: &Statement,
    counts: &mut Counts,
) -> Result<(), String> {
    // Arrow panics for some values, such as dates that overflow as timestamps, in a build that checks arithmetic.
    let expected = catch_unwind(AssertUnwindSafe(|| oracle.answer(statement)));
    let expected = expected.unwrap_or_else(|_| Err("plain DataFusion panicked".to_owned()));
    let found = catch_unwind(AssertUnwindSafe(|| answer(&statement.whole())));
    let found = found.map_err(|_| "the cache panicked".to_owned())?;
    match (expected, found) {
        (Err(_), Err(_)) => counts.both_fail += 1,
        (Err(_), Ok(_)) => counts.only_oracle_fails += 1,
        (Ok(_), Err(error)) => return Err(format!("fails: {error}")),
        (Ok(expected), Ok(found)) => {
            let (expected, found) = if statement.order.is_some() {
                (expected, found)
            } else {
                (expected.sorted(), found.sorted())
            };
            if expected != found {
                return Err(format!("expected {}, found {}", short(&expected), short(&found)));
            }
            counts.equal += 1;
            counts.rows += found.rows.len();
        }
    }
    Ok(())
}

fn short(answer: &Answer) -> String {
    let rows: Vec<_> = answer.rows.iter().take(8).collect();
    format!("{} rows of {:?}: {rows:?}", answer.rows.len(), answer.columns)
}
