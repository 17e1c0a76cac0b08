//! Tables in contexts of the program itself, answered as by plain DataFusion, and each query at one version.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::oracle::{Answer, Oracle};
use super::working_sets::Held;
use super::{Counts, compare_with, fill, setting, statements};
use crate::query::error::running;
use crate::source::{Relation, TableSource};
use crate::test_random::Random;
use crate::{Cache, CacheOptions, ErrorCode, OnMiss, TableDefinition};

const STATEMENTS: u64 = 500;
const STATEMENTS_PER_ROUND: u64 = 100;

/// A context whose default schema is that of the cache.
fn context(cache: &Cache, threads: usize, has_rules: bool) -> SessionContext {
    context_of(cache, threads, has_rules, true)
}

fn context_of(cache: &Cache, threads: usize, has_rules: bool, tells_bounds: bool) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(threads);
    context_of_config(cache, config, has_rules, tells_bounds)
}

pub(super) fn context_of_config(
    cache: &Cache,
    config: SessionConfig,
    has_rules: bool,
    tells_bounds: bool,
) -> SessionContext {
    let config = config.with_default_catalog_and_schema("cache", "public");
    let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
    let state = if has_rules { crate::datafusion::with_rules(state) } else { state };
    let context = SessionContext::new_with_state(state);
    let catalog = cache.datafusion_catalog().unwrap();
    context
        .register_catalog("cache", Arc::new(if tells_bounds { catalog } else { catalog.without_bounds() }));
    context
}

pub(super) fn answer(context: &SessionContext, text: &str) -> Result<Answer, DataFusionError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let frame = context.sql(text).await?;
        let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
        Ok(Answer::new(&schema, &frame.collect().await?))
    })
}

/// The answers of a context without our rules, and of one with them.
pub(super) fn answers(cache: &Cache, threads: usize, text: &str) -> Vec<(&'static str, Answer)> {
    let contexts = [("without rules", false), ("with rules", true)];
    let answer = |(name, has_rules)| (name, answer(&context(cache, threads, has_rules), text).unwrap());
    contexts.map(answer).into()
}

/// Generated statements, with our rules: without them, DataFusion's own faults would be compared with the order of the test.
#[test]
fn contexts_of_the_program_answer_as_plain_datafusion() {
    let seed = setting("PILLION_TEST_SEED", 20_140_505);
    let wanted = setting("PILLION_FOREIGN_STATEMENTS", STATEMENTS);
    let mut counts = Counts::default();
    let at_bounds = Cell::new(0);
    for round in 0..wanted.div_ceil(STATEMENTS_PER_ROUND) {
        let seed = seed.wrapping_add(round);
        let mut random = Random::of(seed);
        let dir = tempfile::tempdir().unwrap();
        let cache = CacheOptions::new().query_threads(1).open(dir.path()).unwrap();
        let t = fill(&mut random, &cache, "t", 400);
        let u = fill(&mut random, &cache, "u", 40);
        let oracle = Oracle::new(&[("t", &t), ("u", &u)]);
        let threads = 1 + random.below(3);
        let contexts = [true, false].map(|tells_bounds| context_of(&cache, threads, true, tells_bounds));
        for _ in 0..STATEMENTS_PER_ROUND {
            let statement = statements::statement(&mut random, &t, &u);
            let answer = |text: &str| {
                let [with_bounds, without] = &contexts;
                let found = answer(with_bounds, text);
                if found.is_ok() {
                    return found.map_err(running);
                }
                // DataFusion computes with bounds when it plans, which may fail although no row does.
                let found = answer(without, text).map_err(running);
                at_bounds.set(at_bounds.get() + u64::from(found.is_ok()));
                found
            };
            if let Err(failure) = compare_with(&answer, &oracle, &statement, &mut counts) {
                counts.failures.push(format!("seed {seed}, {}\n{failure}", statement.whole()));
            }
        }
    }
    crate::test_report::add(format_args!(
        "generated statements in contexts of DataFusion: {} answered as without a cache ({} rows), {} refused by both, {} only by the \
         other, {} failed at bounds; seed {seed}",
        counts.equal,
        counts.rows,
        counts.both_fail,
        counts.only_oracle_fails,
        at_bounds.get()
    ));
    assert!(
        counts.failures.is_empty(),
        "{} failures: {}",
        counts.failures.len(),
        counts.failures.join("\n\n")
    );
    assert!(counts.equal > wanted / 3, "too few statements mean something: {counts:?}");
}

fn one(number: i64) -> RecordBatch {
    let id = Arc::new(Int64Array::from(vec![1]));
    RecordBatch::try_from_iter([("id", id as _), ("n", Arc::new(Int64Array::from(vec![number])) as _)])
        .unwrap()
}

/// Two tables whose numbers are the same in every version.
fn twins(cache: &Cache) {
    for name in ["a", "b"] {
        cache.define_table(name, TableDefinition::new(one(0)).primary_key(["id"])).unwrap();
    }
}

#[test]
fn a_query_sees_one_version_of_all_tables_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    twins(&cache);
    let (context, done) = (context(&cache, 2, false), AtomicBool::new(false));
    // Another catalog of the same cache belongs to the same query.
    context.register_catalog("again", Arc::new(cache.datafusion_catalog().unwrap()));
    let text = "SELECT a.n, b.n, c.n FROM a, b, again.public.b c WHERE a.n + b.n + c.n >= 0";
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (a, b) = (cache.table("a").unwrap(), cache.table("b").unwrap());
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                cache.transaction().upsert(&a, one(number)).upsert(&b, one(number)).commit().unwrap();
            }
        });
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let mut last = "0".to_owned();
            let mut versions = 0;
            for _ in 0..200 {
                let rows = answer(&context, text).unwrap().rows;
                assert_eq!(rows.len(), 1);
                assert!(rows[0].iter().all(|number| *number == rows[0][0]), "{rows:?}");
                versions += usize::from(rows[0][0] != last);
                last.clone_from(&rows[0][0]);
            }
            versions
        }));
        done.store(true, Ordering::Relaxed);
        assert!(checked.unwrap() > 1, "nothing was written meanwhile");
    });
    cache.close().unwrap();
}

#[test]
fn a_frame_sees_the_newest_version_each_time_and_a_snapshot_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    twins(&cache);
    let context = context(&cache, 1, false);
    let held = cache.snapshot().unwrap();
    context.register_catalog("held", Arc::new(held.datafusion_catalog().unwrap()));
    let number = |rows: &[RecordBatch]| rows[0].column(0).as_primitive::<Int64Type>().value(0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let frame = context.sql("SELECT max(n) FROM a WHERE n >= 0").await.unwrap();
        let of_held = context.sql("SELECT max(n) FROM held.public.a WHERE n >= 0").await.unwrap();
        for expected in 1..4 {
            cache.table("a").unwrap().upsert(one(expected)).unwrap();
            assert_eq!(number(&frame.clone().collect().await.unwrap()), expected);
            assert_eq!(number(&of_held.clone().collect().await.unwrap()), 0);
            // One query over both.
            let both = "SELECT new.n - old.n FROM a new JOIN held.public.a old ON new.n >= old.n";
            let rows = context.sql(both).await.unwrap().collect().await.unwrap();
            assert_eq!(number(&rows), expected);
        }
        // A plan keeps its version.
        let plan = frame.create_physical_plan().await.unwrap();
        cache.table("a").unwrap().upsert(one(9)).unwrap();
        let rows = datafusion::physical_plan::collect(plan, context.task_ctx()).await.unwrap();
        assert_eq!(number(&rows), 3);
        // Tables that are no longer there, or were never.
        let frame = context.table("b").await.unwrap();
        cache.drop_table("b").unwrap();
        let error = frame.collect().await.unwrap_err();
        assert!(error.to_string().contains("table `b` was dropped"), "{error}");
        assert!(context.sql("SELECT * FROM b").await.is_err());
        assert!(context.sql("SELECT * FROM held.public.b").await.is_ok());
        let shown = context.catalog("cache").unwrap().schema("public").unwrap().table_names();
        assert_eq!(shown, ["a"]);
    });
    drop((context, held));
    cache.close().unwrap();
}

#[test]
fn filters_limits_and_counts_are_handed_down() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let ids = |ids: std::ops::Range<i64>| {
        RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from_iter_values(ids)) as _)]).unwrap()
    };
    let table = cache.define_table("t", TableDefinition::new(ids(0..7_000)).primary_key(["id"])).unwrap();
    table.append(ids(7_000..14_000)).unwrap();
    cache.compact().unwrap();
    let plan = |context: &SessionContext, text: &str| {
        let plan = pollster::block_on(async { context.sql(text).await?.create_physical_plan().await });
        displayable(plan.unwrap().as_ref()).indent(false).to_string()
    };
    let (plain, ruled) = (context(&cache, 1, false), context(&cache, 1, true));
    assert!(
        plan(&plain, "SELECT * FROM t WHERE id = 7").contains("PillionLookup: table=t, tier=local, keys=1")
    );
    assert!(plan(&plain, "SELECT * FROM t WHERE id > 13000").contains("batches=1 of 2"));
    assert!(plan(&plain, "SELECT * FROM t LIMIT 5").contains("batches=1 of 2"));
    assert!(!plan(&plain, "SELECT count(*), min(id), max(id) FROM t").contains("Pillion"));
    let first = "SELECT * FROM t ORDER BY id DESC LIMIT 3";
    assert!(plan(&ruled, first).contains("narrowed=[DynamicFilter"));
    assert!(!plan(&plain, first).contains("narrowed"), "DataFusion's own way down is not trusted");
    let join = "SELECT * FROM (VALUES (3), (13000)) s(k) JOIN t ON s.k = t.id";
    assert!(!plan(&plain, join).contains("PillionIndexJoin"));
    assert!(
        plan(&ruled, join).contains("PillionIndexJoin: table=t, tier=local, key=[id]"),
        "{}",
        plan(&ruled, join)
    );
    assert_eq!(answer(&ruled, join).unwrap().sorted(), answer(&plain, join).unwrap().sorted());
    assert_eq!(answer(&ruled, join).unwrap().rows.len(), 2);
    // The tables are read only.
    let error = answer(&plain, "INSERT INTO t VALUES (1)").unwrap_err();
    assert!(matches!(error.find_root(), DataFusionError::NotImplemented(_)), "{error}");
    drop((plain, ruled));
    cache.close().unwrap();
}

#[test]
fn tables_that_lack_rows_answer_partially_only_where_the_catalog_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let ids = Arc::new(Int64Array::from_iter_values(0..100));
    let rows = RecordBatch::try_from_iter([("id", ids as _)]).unwrap();
    cache.add_source("rows", Held { rows, is_able: false }).unwrap();
    let some = TableSource::new("rows", Relation::table("t")).on_call().rows_where("id < 50");
    cache.define_table("t", TableDefinition::from_source(some.on_miss(OnMiss::Local))).unwrap();
    let whole = context(&cache, 1, false);
    let partial = context(&cache, 1, false);
    partial.register_catalog("cache", Arc::new(cache.datafusion_catalog().unwrap().partial()));
    let error = answer(&whole, "SELECT count(*) FROM t").unwrap_err();
    let DataFusionError::External(inner) = error.find_root() else { panic!("{error}") };
    assert_eq!(inner.downcast_ref::<crate::Error>().unwrap().code(), ErrorCode::NotCovered);
    assert!(error.to_string().contains("`partial`"), "{error}");
    assert_eq!(answer(&partial, "SELECT count(*) FROM t").unwrap().rows, [["50"]]);
    // What the table covers is answered in either.
    for context in [whole, partial] {
        assert_eq!(answer(&context, "SELECT count(*) FROM t WHERE id < 10").unwrap().rows, [["10"]]);
    }
    // The cache's own answers say what they lack.
    let own = cache.sql("SELECT count(*) FROM t", &[]).unwrap();
    assert!(!own.certificate().is_complete());
    drop(own);
    cache.close().unwrap();
}

#[test]
fn errors_of_the_cache_come_through_datafusion() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let definition =
        TableDefinition::new(one(0)).primary_key(["id"]).max_staleness(std::time::Duration::ZERO);
    cache.define_table("old", definition).unwrap();
    // The clock that ages are read from has steps of some milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let context = context(&cache, 1, false);
    let error = answer(&context, "SELECT * FROM old WHERE n > 3").unwrap_err();
    let DataFusionError::External(inner) = error.find_root() else { panic!("{error}") };
    let ours: &crate::Error = inner.downcast_ref().unwrap();
    assert_eq!(ours.code(), ErrorCode::Stale, "{ours}");
    cache.close().unwrap();
}
