//! Statements that look up keys, answered past DataFusion, by DataFusion over the cache, and by plain DataFusion.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{concat_batches, interleave, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::ParamValues;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::oracle::Answer;
use super::point_statements::{KEYS, PointStatement, Shape};
use super::rows::{types, values};
use super::setting;
use crate::query::point::taken;
use crate::query::values::parameter;
use crate::storage::key::is_key_type;
use crate::test_random::Random;
use crate::{Batches, Cache, CacheOptions, Error, Input, TableDefinition};

/// Statements of one test, unless the environment says otherwise.
const STATEMENTS: u64 = 2_500;
/// Statements over the same rows.
const STATEMENTS_PER_ROUND: u64 = 250;
/// Statements of one shape.
const STATEMENTS_PER_SHAPE: u64 = 5;

/// What keys mostly are.
const MOSTLY: [DataType; 9] = [
    DataType::Int64,
    DataType::Int64,
    DataType::Int32,
    DataType::Int16,
    DataType::UInt32,
    DataType::Utf8,
    DataType::Utf8,
    DataType::LargeUtf8,
    DataType::Utf8View,
];

/// What became of the statements.
#[derive(Debug, Default)]
struct Counts {
    taken: u64,
    with_rows: u64,
    must: u64,
    must_not: u64,
    refused: u64,
    /// The cache did not look at the row at which plain DataFusion fails.
    only_oracle_fails: u64,
    failures: Vec<String>,
}

/// The types of columns of keys.
pub(super) fn key_types() -> Vec<DataType> {
    let mut types: Vec<DataType> = types().into_iter().filter(is_key_type).collect();
    types.extend([DataType::LargeBinary, DataType::Duration(TimeUnit::Nanosecond)]);
    types
}

#[test]
fn texts_that_look_up_keys_are_answered_as_by_plain_datafusion() {
    compare_many(1, false);
}

#[test]
fn other_texts_that_look_up_keys_are_answered_as_by_plain_datafusion() {
    compare_many(1_000_000, false);
}

#[test]
fn prepared_lookups_of_keys_are_answered_as_by_plain_datafusion() {
    compare_many(2_000_000, true);
}

#[test]
fn other_prepared_lookups_of_keys_are_answered_as_by_plain_datafusion() {
    compare_many(3_000_000, true);
}

fn compare_many(first_seed: u64, prepared: bool) {
    let seed = setting("PILLION_TEST_SEED", 20_130_101).wrapping_add(first_seed);
    let statements = setting("PILLION_COMPARED_STATEMENTS", STATEMENTS);
    let mut counts = Counts::default();
    for round in 0..statements.div_ceil(STATEMENTS_PER_ROUND) {
        run(seed.wrapping_add(round), prepared, &mut counts);
        if counts.failures.len() > 20 {
            break;
        }
    }
    crate::test_report::add(format_args!(
        "generated lookups{}: {} past DataFusion ({} had to be, {} found rows), {} could not be, {} refused, {} only by it; seed {seed}",
        if prepared { ", prepared" } else { "" },
        counts.taken,
        counts.must,
        counts.with_rows,
        counts.must_not,
        counts.refused,
        counts.only_oracle_fails
    ));
    assert!(
        counts.failures.is_empty(),
        "{} failures, the first: {}",
        counts.failures.len(),
        counts.failures.join("\n\n")
    );
    let all = statements;
    assert!(
        counts.must > all / 10 && counts.taken >= counts.must && counts.with_rows > all / 10,
        "{counts:?}"
    );
}

fn run(seed: u64, prepared: bool, counts: &mut Counts) {
    let mut random = Random::of(seed);
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheOptions::new().query_threads(1).open(dir.path()).unwrap();
    let keys = 1 + random.below(3);
    let rows = fill(&mut random, &cache, keys);
    let oracle = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let schema = rows.schema();
    let table = MemTable::try_new(schema.clone(), vec![vec![rows]]).unwrap();
    oracle.register_table("t", Arc::new(table)).unwrap();
    for _ in 0..STATEMENTS_PER_ROUND / STATEMENTS_PER_SHAPE {
        let shape = Shape { shape: Random::of(random.next()), schema: &schema, keys, prepared };
        for _ in 0..STATEMENTS_PER_SHAPE {
            let statement = shape.draw(&mut random);
            if let Err(failure) = compare(&mut random, &cache, &oracle, &statement, counts) {
                counts.failures.push(format!("seed {seed}, {statement:?} over {schema:?}\n{failure}"));
            }
        }
    }
    cache.close().unwrap();
}

/// A table in segments and in the log, with replaced and deleted rows; returns the rows that it has.
fn fill(random: &mut Random, cache: &Cache, keys: usize) -> RecordBatch {
    let types = key_types();
    let mut fields: Vec<Field> = KEYS
        .iter()
        .take(keys)
        .map(|name| {
            let mostly = random.percent(65);
            Field::new(*name, random.pick(if mostly { &MOSTLY } else { &types }).clone(), false)
        })
        .collect();
    let others = super::rows::types();
    let of_value = |number: usize| {
        let field = Field::new(format!("v{number}"), random.pick(&others).clone(), true);
        field.with_metadata([("unit".to_owned(), number.to_string())].into())
    };
    fields.extend((0..4).map(of_value));
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let mut held = RecordBatch::new_empty(schema.clone());
    let first = distinct(&batch(random, &schema, 40), &held, keys);
    held = concat_batches(&schema, [&held, &first]).unwrap();
    let definition = TableDefinition::new(Input::from(first)).primary_key(KEYS.into_iter().take(keys));
    let table = cache.define_table("t", definition).unwrap();
    for _ in 0..3 {
        let more = distinct(&batch(random, &schema, 20), &held, keys);
        held = concat_batches(&schema, [&held, &more]).unwrap();
        table.append(more).unwrap();
        if random.percent(40) {
            cache.compact().unwrap();
        }
        // Some keys get other values.
        let some: Vec<u64> = (0..held.num_rows() as u64).filter(|_| random.percent(15)).collect();
        let rows = arrow::array::UInt64Array::from(some.clone());
        let mut columns = take_record_batch(&held, &rows).unwrap().columns().to_vec();
        let values = batch(random, &schema, some.len());
        columns.splice(keys.., values.columns()[keys..].iter().cloned());
        let replaced = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let kept: Vec<u64> = (0..held.num_rows() as u64).filter(|row| !some.contains(row)).collect();
        let kept = take_record_batch(&held, &arrow::array::UInt64Array::from(kept)).unwrap();
        held = concat_batches(&schema, [&kept, &replaced]).unwrap();
        table.upsert(replaced).unwrap();
    }
    held
}

fn batch(random: &mut Random, schema: &SchemaRef, rows: usize) -> RecordBatch {
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        let values = values(field.data_type());
        let null = new_null_array(field.data_type(), 1);
        let places: Vec<(usize, usize)> = (0..rows)
            .map(|_| {
                if field.is_nullable() && random.percent(15) {
                    (1, 0)
                } else {
                    (0, random.below(values.len()))
                }
            })
            .collect();
        if places.is_empty() {
            return values.slice(0, 0);
        }
        interleave(&[values.as_ref(), null.as_ref()], &places).unwrap()
    });
    let columns = columns.collect();
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

/// The rows of a batch whose keys neither `held` nor earlier rows have.
fn distinct(batch: &RecordBatch, held: &RecordBatch, keys: usize) -> RecordBatch {
    let key = |batch: &RecordBatch, row: usize| {
        let mut bytes = crate::storage::key::KeyBytes::new();
        for column in &batch.columns()[..keys] {
            crate::storage::key::encode_cell(&mut bytes, column.as_ref(), row).unwrap();
        }
        bytes
    };
    let mut seen: HashSet<_> = (0..held.num_rows()).map(|row| key(held, row)).collect();
    let new = (0..batch.num_rows()).filter(|&row| seen.insert(key(batch, row))).map(|row| row as u64);
    take_record_batch(batch, &arrow::array::UInt64Array::from_iter_values(new)).unwrap()
}

/// An answer, or the code and the message of the error.
type Outcome = Result<(SchemaRef, Answer), (crate::ErrorCode, String)>;

fn outcome(answer: impl FnOnce() -> Result<Batches, Error>) -> Outcome {
    let collected = catch_unwind(AssertUnwindSafe(|| {
        let batches = answer()?;
        let schema = batches.schema().clone();
        let batches = batches.collect_all()?;
        assert!(
            batches.iter().all(|batch| batch.schema() == schema),
            "a batch has other columns than the answer"
        );
        Ok((schema.clone(), Answer::new(&schema, &batches)))
    }));
    let panicked = |_| Err(Error::internal("the cache panicked"));
    collected.unwrap_or_else(panicked).map_err(|error: Error| (error.code(), error.to_string()))
}

fn compare(
    random: &mut Random,
    cache: &Cache,
    oracle: &SessionContext,
    statement: &PointStatement,
    counts: &mut Counts,
) -> Result<(), String> {
    let PointStatement { text, parameters, .. } = statement;
    let prepared = if random.percent(50) { cache.prepare(text).ok() } else { None };
    let run = || match &prepared {
        Some(prepared) => prepared.execute(parameters),
        None => cache.sql(text, parameters),
    };
    let first = outcome(run);
    let before = taken::of_thread();
    let second = outcome(run);
    let is_taken = taken::of_thread() > before;
    if first != second {
        return Err(format!("first {first:?}, then {second:?}"));
    }
    if random.percent(30) {
        let ordinary = taken::without(|| outcome(run));
        if ordinary != second {
            return Err(format!("ordinary {ordinary:?}, past DataFusion {second:?}"));
        }
    }
    counts.taken += u64::from(is_taken);
    counts.must += u64::from(statement.must);
    counts.must_not += u64::from(statement.must_not);
    if statement.must && !is_taken || statement.must_not && is_taken {
        return Err(format!("taken: {is_taken}, and found {second:?}"));
    }
    let expected = catch_unwind(AssertUnwindSafe(|| expected(oracle, statement)));
    let expected = expected.unwrap_or_else(|_| Err("plain DataFusion panicked".to_owned()));
    let (expected, found) = match (expected, second) {
        (Err(_), Err(_)) => {
            counts.refused += 1;
            return Ok(());
        }
        // The cache looks at fewer rows, on either path.
        (Err(error), Ok(found)) => {
            counts.only_oracle_fails += 1;
            let ordinary = taken::without(|| outcome(run));
            if ordinary.as_ref() == Ok(&found) {
                return Ok(());
            }
            return Err(format!("plain DataFusion fails: {error}, ordinary {ordinary:?}, found {found:?}"));
        }
        (Ok(_), Err(error)) => return Err(format!("fails: {error:?}")),
        (Ok(expected), Ok(found)) => (expected, found),
    };
    let names = |schema: &SchemaRef| -> Vec<Field> {
        schema.fields().iter().map(|field| field.as_ref().clone()).collect()
    };
    if names(&expected.0) != names(&found.0) {
        return Err(format!("columns {:?}, and found {:?}", expected.0, found.0));
    }
    counts.with_rows += u64::from(is_taken && !found.1.rows.is_empty());
    if statement.is_limited {
        return Ok(());
    }
    let (expected, found) = (expected.1.sorted(), found.1.sorted());
    if expected == found { Ok(()) } else { Err(format!("expected {expected:?}, found {found:?}")) }
}

/// The answer of plain DataFusion, to which parameters are of the types that it expects.
fn expected(oracle: &SessionContext, statement: &PointStatement) -> Result<(SchemaRef, Answer), String> {
    let collected = pollster::block_on(async {
        let mut frame = oracle.sql(&statement.text).await?;
        if !statement.parameters.is_empty() {
            let types = frame.logical_plan().get_parameter_types()?;
            let scalars = statement.parameters.iter().enumerate().map(|(number, value)| {
                let expected = types.get(&format!("${}", number + 1)).cloned().flatten();
                parameter(number + 1, value, expected.as_ref())
                    .map_err(|error| datafusion::error::DataFusionError::External(error.into()))
            });
            let scalars: Vec<_> = scalars.collect::<Result<_, _>>()?;
            frame = frame.with_param_values(ParamValues::from(scalars))?;
        }
        // What is planned may say other types than what runs has: a sum of UInt64 and Int64 has one digit more.
        let plan = frame.create_physical_plan().await?;
        Ok((plan.schema(), collect(plan, oracle.task_ctx()).await?))
    });
    let (schema, batches) =
        collected.map_err(|error: datafusion::error::DataFusionError| error.to_string())?;
    Ok((schema.clone(), Answer::new(&schema, &batches)))
}
