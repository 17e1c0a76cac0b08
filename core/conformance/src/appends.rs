//! Adding rows to a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchIterator, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use pillion::{ErrorCode, Input, TableDefinition, Value};

use crate::model::{
    assert_names, assert_numbered, assert_rows, batch, collect, numbered, numbered_schema, refused, vals,
};
use crate::{Outcome, Session};

/// Fails unless appending `rows` to the table `t` of [`numbered`] rows 1 to 3 is refused, and the table is then
/// unchanged and accepts other rows.
#[track_caller]
fn assert_refused(session: &mut Session<'_>, rows: impl Into<Input>, code: ErrorCode, names: &[&str]) {
    let before = session.table("t").unwrap().info().unwrap();
    let error = refused(session.append("t", rows), code);
    assert_names(&error, names);
    let after = session.table("t").unwrap().info().unwrap();
    assert_eq!(after.version, before.version, "the version");
    assert_eq!((after.rows, after.segments, after.bytes), (before.rows, before.segments, before.bytes));
    assert_eq!(after.freshness, before.freshness, "the freshness");
    assert_numbered(&session.table("t").unwrap(), 1..=3);
}

fn define(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1, 2]))?;
    session.append("t", numbered([3]))?;
    Ok(())
}

/// Rows are added and found, wherever they belong in the order.
pub fn rows_are_added(session: &mut Session<'_>) -> Outcome {
    session.define("t", TableDefinition::new(numbered([5])))?;
    session.append("t", numbered([1, 9]))?;
    session.append("t", vec![numbered([5]), numbered([2])])?;
    assert_numbered(&session.table("t")?, [5, 1, 9, 5, 2]);
    session.reopen();
    assert_numbered(&session.table("t")?, [5, 1, 9, 5, 2]);
    Ok(())
}

/// Columns are matched by name, not by position, and only the values decide whether there are nulls.
pub fn columns_are_matched_by_name(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let names: ArrayRef = Arc::new(StringArray::from(vec!["row 2"]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    session.append(
        "t",
        RecordBatch::try_from_iter_with_nullable([("name", names, false), ("id", ids, true)])?,
    )?;
    assert_numbered(&session.table("t")?, [1, 2]);
    assert_eq!(session.table("t")?.schema(), &numbered_schema());
    Ok(())
}

/// A missing column is refused by name.
pub fn a_missing_column_is_refused(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let rows = numbered([4]).project(&[0])?;
    assert_refused(session, rows, ErrorCode::SchemaMismatch, &["`name`"]);
    Ok(())
}

/// A column that the table does not have is refused by name, with the nearest known name.
pub fn an_extra_column_is_refused(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let rows = batch(&[("id", DataType::Int64, vals![4]), ("nane", DataType::Utf8, vals!["x"])]);
    assert_refused(session, rows, ErrorCode::SchemaMismatch, &["`nane`", "`name`"]);
    let mut fields = numbered_schema().fields().to_vec();
    fields.push(Arc::new(Field::new("extra", DataType::Int32, true)));
    let mut columns = numbered([4]).columns().to_vec();
    columns.push(Arc::new(Int32Array::from(vec![1])));
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    assert_refused(session, rows, ErrorCode::SchemaMismatch, &["`extra`"]);
    Ok(())
}

/// A different type is refused, with both types named, even if a cast would be possible.
pub fn another_type_is_refused(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let rows = batch(&[("id", DataType::Int32, vals![4]), ("name", DataType::Utf8, vals!["x"])]);
    assert_refused(session, rows, ErrorCode::SchemaMismatch, &["`id`", "Int64", "Int32"]);
    let rows = batch(&[("id", DataType::Int64, vals![4]), ("name", DataType::LargeUtf8, vals!["x"])]);
    assert_refused(session, rows, ErrorCode::SchemaMismatch, &["`name`", "Utf8", "LargeUtf8"]);
    Ok(())
}

/// A key that occurs twice among the new rows is refused with its value, whether the rows are adjacent or far apart.
pub fn a_key_twice_in_the_rows_is_refused(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    assert_refused(session, numbered([4, 5, 4]), ErrorCode::DuplicateKey, &["`t`", "id=4"]);
    let apart = vec![numbered(10..5_000), numbered(5_000..9_000), numbered([77])];
    assert_refused(session, apart, ErrorCode::DuplicateKey, &["`t`", "id=77"]);
    Ok(())
}

/// A key that the table has is refused with its value, whichever segment holds it.
pub fn a_key_of_the_table_is_refused(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    assert_refused(session, numbered([4, 3]), ErrorCode::DuplicateKey, &["`t`", "id=3"]);
    assert_refused(session, numbered([1]), ErrorCode::DuplicateKey, &["`t`", "id=1"]);
    assert_refused(session, numbered([0, 2, 4]), ErrorCode::DuplicateKey, &["`t`", "id=2"]);
    session.append("t", numbered([0, 4]))?;
    assert_numbered(&session.table("t")?, [1, 2, 3, 0, 4]);
    Ok(())
}

/// A null in a key column is refused with its row and column, whether or not the table's column may be null.
pub fn a_null_key_is_refused(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let names = || vec![Value::from("x"); 3];
    let rows = batch(&[("id", DataType::Int64, vals![4, None::<i64>, 5]), ("name", DataType::Utf8, names())]);
    assert_refused(session, rows, ErrorCode::NullKey, &["row 2", "`id`", "`t`"]);
    let first = batch(&[("id", DataType::Int64, vals![4, 5, 6]), ("name", DataType::Utf8, names())]);
    let second =
        batch(&[("id", DataType::Int64, vals![7, 8, None::<i64>]), ("name", DataType::Utf8, names())]);
    assert_refused(session, vec![first, second], ErrorCode::NullKey, &["row 6", "`id`"]);
    Ok(())
}

/// A null in a column that must not be null is refused by name.
pub fn a_null_in_a_required_column_is_refused(session: &mut Session<'_>) -> Outcome {
    let rows = |values: Vec<Option<i32>>| -> Result<RecordBatch, ArrowError> {
        let required = values.iter().all(Option::is_some);
        let array: ArrayRef = Arc::new(Int32Array::from(values));
        RecordBatch::try_from_iter_with_nullable([("required", array, !required)])
    };
    session.define("t", TableDefinition::new(rows(vec![Some(1)])?))?;
    let error = refused(session.append("t", rows(vec![Some(2), None])?), ErrorCode::SchemaMismatch);
    assert_names(&error, &["`required`", "null"]);
    session.append("t", rows(vec![Some(3)])?)?;
    assert_rows(&collect(session.table("t")?.scan()), &[vals![1], vals![3]]);
    Ok(())
}

/// When the reader of the rows fails half-way, none of the rows is added.
pub fn a_reader_that_fails_adds_nothing(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let broken = || Err(ArrowError::ComputeError("the line is down".to_owned()));
    let batches = vec![Ok(numbered(10..20_000)), broken(), Ok(numbered([4]))];
    let input = Input::reader(RecordBatchIterator::new(batches, numbered_schema()));
    assert_refused(session, input, ErrorCode::SourceInvalid, &["the line is down"]);
    Ok(())
}

/// If a wrong batch follows good ones, all are refused.
pub fn a_wrong_batch_refuses_all(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let wrong = batch(&[("id", DataType::Int64, vals![9]), ("name", DataType::Int64, vals![9])]);
    let input = Input::batches(numbered_schema(), [numbered(10..20_000), wrong]);
    assert_refused(session, input, ErrorCode::SchemaMismatch, &["`name`"]);
    Ok(())
}

/// Different metadata of schemas and fields does not matter.
pub fn metadata_is_no_difference(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let metadata = [("origin".to_owned(), "elsewhere".to_owned())].into();
    let fields: Vec<Field> = numbered_schema()
        .fields()
        .iter()
        .map(|field| Field::clone(field).with_metadata([("note".to_owned(), "x".to_owned())].into()))
        .collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    session.append("t", RecordBatch::try_new(schema, numbered([2]).columns().to_vec())?)?;
    assert_numbered(&session.table("t")?, [1, 2]);
    Ok(())
}

/// Rows for a dropped table are refused, even when another table has its name now.
pub fn a_dropped_table_takes_no_rows(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let old = session.writer().table("t")?;
    session.writer().drop_table("t")?;
    refused(old.append(numbered([2])), ErrorCode::TableNotFound);
    session.define_keyed("t", "id", numbered([1]))?;
    refused(old.append(numbered([2])), ErrorCode::TableNotFound);
    refused(old.replace(numbered([2])), ErrorCode::TableNotFound);
    assert_numbered(&session.table("t")?, [1]);
    Ok(())
}

/// Threads that append to one table and to others at the same time: every row is there, every version was one commit.
pub fn threads_append_together(session: &mut Session<'_>) -> Outcome {
    const THREADS: i64 = 4;
    const APPENDS: i64 = 8;
    session.define_keyed("shared", "id", numbered([]))?;
    let start = session.writer().version()?.sequence;
    let writer = session.writer();
    let mut sequences = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let writer = writer.clone();
                scope.spawn(move || -> pillion::Result<Vec<u64>> {
                    let own = TableDefinition::new(numbered([])).primary_key(["id"]);
                    let own = writer.define_table(&format!("own{thread}"), own)?;
                    let shared = writer.table("shared")?;
                    let mut sequences = Vec::new();
                    for append in 0..APPENDS {
                        let id = append * THREADS + thread;
                        sequences.push(shared.append(numbered([id]))?.sequence);
                        sequences.push(own.append(numbered([id]))?.sequence);
                    }
                    Ok(sequences)
                })
            })
            .collect();
        let sequences = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        sequences.collect::<pillion::Result<Vec<_>>>()
    })?
    .concat();
    let commits = sequences.len();
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!(sequences.len(), commits, "no two commits are one version");
    assert_eq!(session.writer().version()?.sequence, start + u64::try_from(THREADS + 2 * THREADS * APPENDS)?);
    assert_numbered(&session.table("shared")?, 0..THREADS * APPENDS);
    for thread in 0..THREADS {
        let ids = (0..APPENDS).map(|append| append * THREADS + thread);
        assert_numbered(&session.table(&format!("own{thread}"))?, ids);
    }
    Ok(())
}

/// Rows in many short batches are appended like the same rows in one, however many columns they have.
pub fn many_batches_of_many_columns(session: &mut Session<'_>) -> Outcome {
    let columns = |ids: Vec<i64>| {
        let ids: ArrayRef = Arc::new(Int64Array::from(ids));
        RecordBatch::try_from_iter((0..150).map(|column| (format!("c{column}"), ids.clone())))
    };
    session.define_keyed("t", "c0", columns(vec![-1])?)?;
    let batches = (0..700).map(|id| columns(vec![id])).collect::<Result<Vec<_>, _>>()?;
    session.append("t", batches)?;
    let table = session.table("t")?;
    assert_eq!(table.info()?.rows, 701);
    assert_eq!(table.get(699)?.expect("it is there").get::<i64>("c149")?, 699);
    Ok(())
}
