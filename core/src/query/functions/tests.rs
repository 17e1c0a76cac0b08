//! A bounded function gives what DataFusion's own gives.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, StringViewArray};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionContext;

use super::super::size::Size;
use super::*;

const MEMORY: usize = 512 << 20;

/// DataFusion as it is, and DataFusion with bounds.
fn sessions() -> [SessionState; 2] {
    let pool: Arc<dyn MemoryPool> = Arc::new(FairSpillPool::new(MEMORY));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool.clone()).build_arc().unwrap();
    let builder = || SessionStateBuilder::new().with_runtime_env(runtime.clone()).with_default_features();
    [builder().build(), with_bounds(builder(), &pool).build()]
}

fn rows() -> RecordBatch {
    let texts = ["", "a", "ab", "äöü", "a-b-c", "x\\y$1", "Hello, World", "  padded  "];
    let pick = |n: i64, by: i64| ((n + by) % 11 != 0).then(|| texts[usize::try_from(n * by % 8).unwrap()]);
    let columns: [(&str, ArrayRef); 5] = [
        ("s", Arc::new(StringArray::from_iter((0..80).map(|n| pick(n, 3))))),
        ("f", Arc::new(StringArray::from_iter((0..80).map(|n| pick(n, 5))))),
        ("v", Arc::new(StringViewArray::from_iter((0..80).map(|n| pick(n, 7))))),
        (
            "long",
            Arc::new(StringArray::from_iter((0..80).map(|n| pick(n, 3).map(|text| text.repeat(9_000))))),
        ),
        ("n", Arc::new(Int64Array::from_iter((0..80).map(|n| (n % 13 != 0).then_some(n % 40 - 5))))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// The answer with its columns, or the error.
fn answer(session: &SessionState, text: &str) -> std::result::Result<Vec<RecordBatch>, String> {
    let context = SessionContext::new_with_state(session.clone());
    if !context.table_exist("t").unwrap() {
        context.register_batch("t", rows()).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let state = context.state();
        let plan = state.create_logical_plan(text).await.map_err(|error| error.strip_backtrace())?;
        let plan = match Size::of(&plan).map_err(|error| error.to_string())?.joins_texts
            && session_is_bounded(session)
        {
            true => bind_operators(&state, plan).unwrap(),
            false => plan,
        };
        let frame = datafusion::dataframe::DataFrame::new(state, plan);
        frame.collect().await.map_err(|error| error.strip_backtrace())
    })
}

fn session_is_bounded(session: &SessionState) -> bool {
    session.scalar_functions()["repeat"].inner().is::<Bounded>()
}

#[test]
fn bounded_functions_give_what_they_give_without_bounds() {
    let calls = [
        "repeat(s, n)",
        "repeat(v, n)",
        "repeat('ab', 3)",
        "repeat(long, 3)",
        "repeat(NULL, 3)",
        "replace(s, 'a', f)",
        "replace(s, f, 'xy')",
        "replace(v, 'a', 'bcd')",
        "replace(s, '', 'x')",
        "replace(long, 'a', 'bcd')",
        "replace(long, f, s)",
        "lpad(s, n + 5)",
        "lpad(s, n + 5, f)",
        "rpad(s, n + 5, 'äb')",
        "rpad(v, n + 5)",
        "lpad(long, 200000, 'b')",
        "concat(s, f, v, n)",
        "concat(long, long)",
        "concat('a', NULL, s, 'b', 'c')",
        "concat_ws('-', s, f, NULL, v)",
        "concat_ws(s, long, f)",
        "s || f",
        "s || n",
        "v || s || 'x'",
        "long || long",
        "NULL || s",
        "s || f || v",
        "regexp_replace(s, '[a-z]', '<\\0>', 'g')",
        "regexp_replace(s, f, 'x')",
        "regexp_replace(long, 'a', 'bc', 'g')",
        "regexp_match(s, '(a)-(b)')",
        "regexp_match(long, '((a))')",
        "regexp_like(s, f)",
        "regexp_count(s, 'a')",
        "regexp_instr(s, 'b')",
        "translate(s, 'ab', 'xä')",
        "translate(long, 'ab', 'xä')",
        "overlay(s PLACING f FROM 1)",
        "overlay(s PLACING 'x' FROM 1 FOR 2)",
        "levenshtein(s, f)",
        "to_char(to_timestamp(n), '%Y-%m-%d')",
        "to_char(to_timestamp(n), s)",
        "arrow_cast(n, 'Utf8')",
        "arrow_cast(s, 'LargeUtf8') || f",
        "arrow_try_cast(s, 'Int8')",
        "arrow_cast(s, 'Nothing')",
        "struct(s, n)",
        "named_struct('a', s, 'b', n)['b']",
        "{'a': s, 'b': n}",
        "struct(':( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( \
         :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :( :(')",
        "repeat(s)",
        "replace(s, 'a')",
        "lpad(s, 'x')",
        "concat()",
    ];
    let [plain, bounded] = sessions();
    let mut answered = 0;
    for call in calls {
        for text in [
            format!("SELECT {call} FROM t"),
            format!("SELECT {call} AS x, n FROM t WHERE n > 3 ORDER BY n, x"),
            format!("SELECT {call}, count(*) FROM t GROUP BY {call} ORDER BY 1"),
            format!("SELECT {call} AS x, count(*) AS c FROM t GROUP BY ROLLUP ({call}) ORDER BY 1, 2"),
        ] {
            let [expected, found] = [&plain, &bounded].map(|session| answer(session, &text));
            answered += usize::from(expected.is_ok());
            match (&expected, &found) {
                (Ok(expected), Ok(found)) => assert!(rows_of(expected) == rows_of(found), "{text}"),
                _ => assert_eq!(expected, found, "{text}"),
            }
        }
    }
    assert!(answered > calls.len() * 2, "{answered} were answered");
    assert_eq!(bounded.runtime_env().memory_pool.reserved(), 0, "all memory came back");
}

/// All rows as one batch, with their columns.
fn rows_of(batches: &[RecordBatch]) -> Option<RecordBatch> {
    let first = batches.first()?;
    Some(arrow::compute::concat_batches(first.schema_ref(), batches).unwrap())
}

#[test]
fn values_count_in_the_memory_of_queries_until_they_are_dropped() {
    let [_, bounded] = sessions();
    let pool = &bounded.runtime_env().memory_pool;
    let made = answer(&bounded, "SELECT repeat(long, 2) AS x FROM t").unwrap();
    let bytes: usize = made.iter().map(RecordBatch::get_array_memory_size).sum();
    assert!(pool.reserved() >= bytes && bytes > 4 << 20, "{} of {bytes}", pool.reserved());
    let slice = made[0].slice(0, 1);
    drop(made);
    assert!(pool.reserved() > 0, "a part of it is there");
    drop(slice);
    assert_eq!(pool.reserved(), 0);
    let error = answer(&bounded, "SELECT repeat(long, 2000) AS x FROM t").unwrap_err();
    assert!(error.contains("repeat") && error.contains("query_memory"), "{error}");
    assert_eq!(pool.reserved(), 0);
}
