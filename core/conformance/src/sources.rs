//! What every source must show, whoever wrote it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{
    SortColumn, cast, concat_batches, filter_record_batch, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::{DataType, Int64Type};
use pillion::source::{After, Call, ColumnRanges, Fetch, Relation, Source, ValueRange};
use pillion::{ErrorCode, ErrorKind, Value};

/// How soon a source must heed the end of a call. Generous: the machine may be busy.
const HEEDED_WITHIN: Duration = Duration::from_secs(10);

/// A source, and what is in it.
pub trait SourceUnderTest {
    /// The source.
    fn source(&self) -> Arc<dyn Source>;

    /// A relation of at least three rows.
    fn relation(&self) -> Relation;

    /// Its columns and rows, in any order.
    fn rows(&self) -> RecordBatch;

    /// A relation that is not there.
    fn missing(&self) -> Relation;

    /// A relation of so many rows that they come in several batches, with their number.
    fn large(&self) -> (Relation, usize);

    /// A column of [`relation`](Self::relation) by which rows can be appended, with a value that it has in some rows and not in
    /// the lowest; `None` if the source takes no positions.
    fn position(&self) -> Option<(String, Value)>;

    /// Changes some row of [`relation`](Self::relation).
    fn change(&self);
}

/// A check, with its name.
type Check = (&'static str, fn(&dyn SourceUnderTest));

/// All checks; `marks_follow_changes` is the last, because it changes the rows.
const CHECKS: &[Check] = &[
    ("a_relation_is_as_it_is_described", a_relation_is_as_it_is_described),
    ("rows_are_those_of_the_relation", rows_are_those_of_the_relation),
    ("columns_come_in_the_order_asked_for", columns_come_in_the_order_asked_for),
    ("columns_are_left_out", columns_are_left_out),
    ("what_is_missing_is_named", what_is_missing_is_named),
    ("unknown_options_are_refused", unknown_options_are_refused),
    ("what_is_not_declared_is_refused", what_is_not_declared_is_refused),
    ("relations_are_listed", relations_are_listed),
    ("batches_are_small", batches_are_small),
    ("a_call_that_ended_is_not_begun", a_call_that_ended_is_not_begun),
    ("a_fetch_ends_with_its_call", a_fetch_ends_with_its_call),
    ("a_fetch_can_be_dropped", a_fetch_can_be_dropped),
    ("fetches_do_not_disturb_each_other", fetches_do_not_disturb_each_other),
    ("positions_include_ties", positions_include_ties),
    ("ranges_leave_out_no_wanted_row", ranges_leave_out_no_wanted_row),
    ("rows_come_by_keys", rows_come_by_keys),
    ("parts_make_the_whole", parts_make_the_whole),
    ("marks_follow_changes", marks_follow_changes),
];

/// Runs all checks and returns their number.
///
/// # Panics
/// If the source fails one; the message names it.
pub fn check(tested: &dyn SourceUnderTest) -> usize {
    for (name, check) in CHECKS {
        println!("{name}");
        check(tested);
    }
    CHECKS.len()
}

fn fetch(tested: &dyn SourceUnderTest, fetch: &Fetch) -> RecordBatch {
    let fetched = tested.source().fetch(fetch, &Call::within(Duration::from_secs(60))).unwrap();
    let schema = fetched.schema().clone();
    let batches: Vec<RecordBatch> = fetched.map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// The rows in an order of their own. All columns must have an order.
fn sorted(rows: &RecordBatch) -> RecordBatch {
    let columns: Vec<SortColumn> =
        rows.columns().iter().map(|values| SortColumn { values: values.clone(), options: None }).collect();
    take_record_batch(rows, &lexsort_to_indices(&columns, None).unwrap()).unwrap()
}

#[track_caller]
fn assert_same_rows(found: &RecordBatch, expected: &RecordBatch) {
    assert_eq!(found.num_rows(), expected.num_rows());
    let (found, expected) = (sorted(found), sorted(expected));
    for (field, (found, expected)) in
        expected.schema().fields().iter().zip(found.columns().iter().zip(expected.columns()))
    {
        assert_eq!(found.as_ref(), expected.as_ref(), "column `{}`", field.name());
    }
}

fn a_relation_is_as_it_is_described(tested: &dyn SourceUnderTest) {
    let described = tested.source().describe(&tested.relation(), &Call::new()).unwrap();
    let rows = tested.rows();
    let names = |schema: &arrow::datatypes::Schema| -> Vec<(String, DataType)> {
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    };
    assert_eq!(names(described.schema()), names(&rows.schema()));
    let fetched = tested.source().fetch(&Fetch::of(tested.relation()), &Call::new()).unwrap();
    assert_eq!(fetched.schema().fields(), described.schema().fields());
    for batch in fetched {
        assert_eq!(batch.unwrap().schema().fields(), described.schema().fields());
    }
    let capabilities = tested.source().capabilities();
    assert_eq!(capabilities, tested.source().capabilities());
    assert_eq!(tested.source().identity(), tested.source().identity(), "it is one place");
    assert_eq!(capabilities.marks, described.change_mark().is_some());
    assert_eq!(capabilities.parts, !described.all_parts().is_empty());
}

fn rows_are_those_of_the_relation(tested: &dyn SourceUnderTest) {
    assert_same_rows(&fetch(tested, &Fetch::of(tested.relation())), &tested.rows());
}

fn columns_come_in_the_order_asked_for(tested: &dyn SourceUnderTest) {
    if !tested.source().capabilities().columns {
        return;
    }
    let rows = tested.rows();
    let mut columns: Vec<usize> = (0..rows.num_columns()).rev().collect();
    columns.truncate(2);
    let expected = rows.project(&columns).unwrap();
    let names: Vec<String> = expected.schema().fields().iter().map(|field| field.name().clone()).collect();
    let found = fetch(tested, &Fetch::of(tested.relation()).columns(names.clone()));
    assert_eq!(found.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>(), names);
    assert_same_rows(&found, &expected);
    let unknown = Fetch::of(tested.relation()).columns(["no such column"]);
    let error = failure(tested, &unknown);
    assert_eq!(error.code(), ErrorCode::ColumnNotFound, "{error:?}");
}

fn columns_are_left_out(tested: &dyn SourceUnderTest) {
    let schema = tested.rows().schema();
    let relation = tested.relation().leave_out([schema.field(0).name()]);
    let described = tested.source().describe(&relation, &Call::new()).unwrap();
    assert_eq!(described.schema().fields().len(), schema.fields().len() - 1);
    let found = fetch(tested, &Fetch::of(relation));
    assert_eq!(found.schema().fields(), described.schema().fields());
    assert_eq!(found.num_rows(), tested.rows().num_rows());
}

/// The error of a fetch, at the beginning or with a batch.
fn failure(tested: &dyn SourceUnderTest, fetch: &Fetch) -> pillion::Error {
    match tested.source().fetch(fetch, &Call::within(Duration::from_secs(60))) {
        Err(error) => error,
        Ok(mut fetched) => {
            let failed = fetched.find_map(Result::err);
            assert!(fetched.next().is_none(), "nothing follows an error");
            failed.unwrap_or_else(|| panic!("the fetch should fail"))
        }
    }
}

fn what_is_missing_is_named(tested: &dyn SourceUnderTest) {
    let described = tested.source().describe(&tested.missing(), &Call::new()).unwrap_err();
    for error in [described, failure(tested, &Fetch::of(tested.missing()))] {
        assert_eq!(error.code(), ErrorCode::SourceNotFound, "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Source);
        let (text, name) = (format!("{error:#}"), tested.missing().text().to_owned());
        assert!(text.contains(&name), "`{text}` does not name `{name}`");
    }
}

fn unknown_options_are_refused(tested: &dyn SourceUnderTest) {
    let relation = tested.relation().option("no_such_option", "1");
    let error = tested.source().describe(&relation, &Call::new()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error:?}");
    assert!(format!("{error:#}").contains("no_such_option"));
}

/// A source that did something else than it was asked for, such as send all rows, would fill tables with wrong ones.
fn what_is_not_declared_is_refused(tested: &dyn SourceUnderTest) {
    let declared = tested.source().capabilities();
    let column = tested.rows().schema().field(0).name().clone();
    let all = || Fetch::of(tested.relation());
    let after = After { column: column.clone(), value: Value::Int(1) };
    let statement = Fetch::of(Relation::statement("SELECT 1"));
    for (is_declared, what, fetch) in [
        (declared.conditions, "a condition", all().condition("1 = 1")),
        (declared.positions, "a position", all().after(after)),
        (declared.keys, "keys", all().keys(vec![column], vec![vec![Value::Int(1)]])),
        (declared.parts, "parts", all().parts(["part"])),
        (declared.dialect.is_some(), "a statement", statement),
    ] {
        if !is_declared {
            assert_eq!(failure(tested, &fetch).code(), ErrorCode::Unsupported, "{what}");
        }
    }
    if !declared.watch {
        let watched = tested.source().watch(&tested.relation(), Arc::new(|| ()));
        assert_eq!(watched.unwrap_err().code(), ErrorCode::Unsupported, "watching");
    }
}

fn relations_are_listed(tested: &dyn SourceUnderTest) {
    let listed = tested.source().relations(&Call::new());
    if tested.source().capabilities().relations {
        assert!(!listed.unwrap().is_empty());
    } else {
        assert_eq!(listed.unwrap_err().code(), ErrorCode::Unsupported);
    }
}

fn batches_are_small(tested: &dyn SourceUnderTest) {
    let (relation, expected) = tested.large();
    let mut rows = 0;
    let mut batches = 0;
    for batch in tested.source().fetch(&Fetch::of(relation), &Call::new()).unwrap() {
        let batch = batch.unwrap();
        rows += batch.num_rows();
        batches += 1;
        assert!(batch.get_array_memory_size() < 64 << 20, "a batch of {} rows", batch.num_rows());
    }
    assert_eq!(rows, expected);
    assert!(batches > 1, "all rows in one batch");
}

fn a_call_that_ended_is_not_begun(tested: &dyn SourceUnderTest) {
    let cancelled = Call::new();
    cancelled.cancel();
    for (call, code) in
        [(cancelled, ErrorCode::Cancelled), (Call::within(Duration::ZERO), ErrorCode::Timeout)]
    {
        let began = Instant::now();
        let error = tested.source().describe(&tested.relation(), &call).unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        let failed = tested.source().fetch(&Fetch::of(tested.relation()), &call);
        let error = failed.and_then(|mut fetched| fetched.next().transpose()).map(drop).unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        assert!(began.elapsed() < HEEDED_WITHIN);
    }
}

fn a_fetch_ends_with_its_call(tested: &dyn SourceUnderTest) {
    let (relation, expected) = tested.large();
    let call = Call::new();
    let mut fetched = tested.source().fetch(&Fetch::of(relation), &call).unwrap();
    let mut rows = fetched.next().unwrap().unwrap().num_rows();
    call.cancel();
    let began = Instant::now();
    let mut code = None;
    for batch in fetched {
        assert!(code.is_none(), "nothing follows an error");
        match batch {
            Ok(batch) => rows += batch.num_rows(),
            Err(error) => code = Some(error.code()),
        }
    }
    assert_eq!(code, Some(ErrorCode::Cancelled), "{rows} of {expected} rows came");
    assert!(began.elapsed() < HEEDED_WITHIN);
}

fn a_fetch_can_be_dropped(tested: &dyn SourceUnderTest) {
    let (relation, expected) = tested.large();
    for batches in [0, 1] {
        let mut fetched = tested.source().fetch(&Fetch::of(relation.clone()), &Call::new()).unwrap();
        assert!(fetched.by_ref().take(batches).all(|batch| batch.is_ok()));
        let began = Instant::now();
        drop(fetched);
        assert!(began.elapsed() < HEEDED_WITHIN);
    }
    assert_eq!(fetch(tested, &Fetch::of(relation)).num_rows(), expected);
}

fn fetches_do_not_disturb_each_other(tested: &dyn SourceUnderTest) {
    let (relation, expected) = tested.large();
    let source = tested.source();
    let rows = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (source, relation, rows) = (source.clone(), relation.clone(), &rows);
            scope.spawn(move || {
                let call = Call::new();
                let mut fetched = source.fetch(&Fetch::of(relation), &call).unwrap();
                if number == 0 {
                    drop(fetched.next());
                    call.cancel();
                    return;
                }
                let found: usize = fetched.map(|batch| batch.unwrap().num_rows()).sum();
                rows.fetch_add(found as u64, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(rows.into_inner(), 3 * expected as u64);
}

fn positions_include_ties(tested: &dyn SourceUnderTest) {
    assert_eq!(tested.source().capabilities().positions, tested.position().is_some());
    let Some((column, value)) = tested.position() else { return };
    let rows = tested.rows();
    let numbers = cast(rows.column_by_name(&column).unwrap(), &DataType::Int64).unwrap();
    let first = number(&value);
    let is_wanted: BooleanArray = numbers
        .as_primitive::<Int64Type>()
        .iter()
        .map(|number| Some(number.is_some_and(|n| n >= first)))
        .collect();
    let expected = filter_record_batch(&rows, &is_wanted).unwrap();
    assert!(
        numbers.as_primitive::<Int64Type>().iter().any(|number| number == Some(first)),
        "no tie is tried"
    );
    assert!(expected.num_rows() < rows.num_rows(), "no row is below the position");
    let found = fetch(tested, &Fetch::of(tested.relation()).after(After { column, value }));
    assert_same_rows(&found, &expected);
}

/// A source may send rows outside of ranges, and must send those inside.
fn ranges_leave_out_no_wanted_row(tested: &dyn SourceUnderTest) {
    let Some((column, value)) = tested.position() else { return };
    let rows = tested.rows();
    let wanted = number(&value);
    let range = |low: Option<Value>, high: Option<Value>| {
        let ranges = vec![ColumnRanges { column: column.clone(), ranges: vec![ValueRange { low, high }] }];
        fetch(tested, &Fetch::of(tested.relation()).ranges(ranges))
    };
    let inside = |rows: &RecordBatch, is_inside: &dyn Fn(i64) -> bool| {
        let numbers = cast(rows.column_by_name(&column).unwrap(), &DataType::Int64).unwrap();
        let numbers = numbers.as_primitive::<Int64Type>();
        let is_wanted: BooleanArray =
            numbers.iter().map(|number| Some(number.is_some_and(is_inside))).collect();
        filter_record_batch(rows, &is_wanted).unwrap()
    };
    let (above, below) = (|number: i64| number >= wanted, |number: i64| number <= wanted);
    let at = |number: i64| number == wanted;
    let value = || Some(value.clone());
    let cases: [(RecordBatch, &dyn Fn(i64) -> bool); 3] =
        [(range(value(), None), &above), (range(None, value()), &below), (range(value(), value()), &at)];
    for (found, is_inside) in cases {
        assert_same_rows(&inside(&found, is_inside), &inside(&rows, is_inside));
        assert!(found.num_rows() <= rows.num_rows());
    }
}

/// A source that finds rows by keys sends those that have one, and no others.
fn rows_come_by_keys(tested: &dyn SourceUnderTest) {
    if !tested.source().capabilities().keys {
        return;
    }
    let (column, value) = tested.position().expect("a source that finds rows by keys takes positions too");
    let rows = tested.rows();
    let numbers = cast(rows.column_by_name(&column).unwrap(), &DataType::Int64).unwrap();
    let wanted = number(&value);
    let is_wanted = numbers.as_primitive::<Int64Type>().iter().map(|number| Some(number == Some(wanted)));
    let expected = filter_record_batch(&rows, &is_wanted.collect::<BooleanArray>()).unwrap();
    assert!((1..rows.num_rows()).contains(&expected.num_rows()), "some rows have the key, and others do not");
    let by_keys =
        |keys: Vec<Vec<Value>>| fetch(tested, &Fetch::of(tested.relation()).keys(vec![column.clone()], keys));
    assert_same_rows(&by_keys(vec![vec![value.clone()], vec![value]]), &expected);
    assert_eq!(by_keys(Vec::new()).num_rows(), 0);
    let wrong = Fetch::of(tested.relation()).keys(vec![column.clone()], vec![vec![Value::Bool(true)]]);
    assert_eq!(failure(tested, &wrong).code(), ErrorCode::InvalidArgument);
}

/// A position as the number that its column holds.
fn number(value: &Value) -> i64 {
    match *value {
        Value::Int(number) | Value::Timestamp { value: number, .. } => number,
        Value::Date(days) => days.into(),
        ref other => panic!("give a whole number, a date or a timestamp in the column's unit, not {other:?}"),
    }
}

fn parts_make_the_whole(tested: &dyn SourceUnderTest) {
    if !tested.source().capabilities().parts {
        return;
    }
    let described = tested.source().describe(&tested.relation(), &Call::new()).unwrap();
    let parts: Vec<RecordBatch> = described
        .all_parts()
        .iter()
        .map(|part| fetch(tested, &Fetch::of(tested.relation()).parts([part.name.clone()])))
        .collect();
    let all = concat_batches(described.schema(), &parts).unwrap();
    assert_same_rows(&all, &tested.rows());
}

fn marks_follow_changes(tested: &dyn SourceUnderTest) {
    if !tested.source().capabilities().marks {
        return;
    }
    let mark = || {
        let described = tested.source().describe(&tested.relation(), &Call::new()).unwrap();
        described.change_mark().unwrap().to_vec()
    };
    let before = mark();
    assert_eq!(before, mark(), "nothing changed");
    tested.change();
    let after = mark();
    assert_ne!(before, after);
    assert_eq!(after, mark(), "nothing changed since");
}
