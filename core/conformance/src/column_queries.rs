//! Queries on columns of every type that can be stored.

use arrow::array::{Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use pillion::Value;

use crate::columns::identified;
use crate::model::{assert_rows, assert_values, batch, compare, rows_of, same, vals};
use crate::samples::{self, Column};
use crate::{Outcome, Session};

macro_rules! column_queries {
    ($($name:ident)+) => {
        $(
            #[doc = concat!("A column `", stringify!($name), "` comes back from queries, with its type and nulls.")]
            pub fn $name(session: &mut Session<'_>) -> Outcome {
                queries_agree(session, &samples::column(stringify!($name)))
            }
        )+
    };
}

column_queries! {
    null boolean
    int8 int16 int32 int64
    uint8 uint16 uint32 uint64
    float16 float32 float64
    utf8 large_utf8 utf8_view
    binary large_binary binary_view fixed_size_binary
    date32 date64
    time32_second time32_millisecond time64_microsecond time64_nanosecond
    timestamp_second timestamp_millisecond timestamp_microsecond timestamp_nanosecond
    timestamp_second_utc timestamp_millisecond_offset timestamp_microsecond_utc timestamp_nanosecond_zone
    duration_second duration_millisecond duration_microsecond duration_nanosecond
    interval_year_month interval_day_time interval_month_day_nano
    decimal32 decimal64 decimal128 decimal128_whole decimal128_negative_scale decimal256
    list large_list fixed_size_list structure map list_of_structure required_children
}

fn queries_agree(session: &mut Session<'_>, column: &Column) -> Outcome {
    let rows = identified(&column.array);
    session.define_keyed("t", "id", rows.clone())?;
    let found = session.sql("SELECT id, c FROM t ORDER BY id", &[])?;
    assert_eq!(found.columns(), rows.columns(), "all rows");
    let found = session.sql("SELECT c, id FROM t ORDER BY id DESC", &[])?;
    let backwards = UInt32Array::from_iter_values((0..u32::try_from(rows.num_rows())?).rev());
    assert_eq!(found.column(0), &take(&column.array, &backwards, None)?, "all rows backwards");
    for number in (0..rows.num_rows()).step_by(3) {
        let found = session.sql("SELECT c FROM t WHERE id = $1", &vals![i64::try_from(number)?])?;
        assert_eq!(found.column(0), &column.array.slice(number, 1), "row {number} by its key");
    }
    nulls_agree(session, &column.array)?;
    match &column.values {
        Some(values) if !matches!(column.array.data_type(), DataType::Null) => bounds_agree(session, values),
        _ => Ok(()),
    }
}

/// Counts, and the rows with and without a value.
fn nulls_agree(session: &mut Session<'_>, array: &dyn Array) -> Outcome {
    let nulls = array.logical_nulls();
    let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let ids = |null: bool| -> Vec<Vec<Value>> {
        let rows = (0..array.len()).filter(|&row| is_null(row) == null);
        rows.map(|row| vals![i64::try_from(row).unwrap()]).collect()
    };
    let (empty, filled) = (ids(true), ids(false));
    let count = |ids: &[Vec<Value>]| i64::try_from(ids.len()).unwrap();
    let found = session.sql("SELECT count(*), count(c) FROM t", &[])?;
    assert_rows(&found, &[vals![count(&empty) + count(&filled), count(&filled)]]);
    assert_rows(&session.sql("SELECT id FROM t WHERE c IS NULL ORDER BY id", &[])?, &empty);
    assert_rows(&session.sql("SELECT id FROM t WHERE c IS NOT NULL ORDER BY id", &[])?, &filled);
    let found = session.sql("SELECT count(*) FROM t WHERE c IS NULL", &[])?;
    assert_rows(&found, &[vals![count(&empty)]]);
    Ok(())
}

/// Smallest and largest value: of all rows, of some rows, and grouped.
fn bounds_agree(session: &mut Session<'_>, values: &[Value]) -> Outcome {
    let bounds = |from: usize| {
        let mut rest: Vec<&Value> =
            values[from..].iter().filter(|value| !matches!(value, Value::Null)).collect();
        rest.sort_by(|a, b| compare(a, b));
        vec![rest[0].clone(), rest[rest.len() - 1].clone()]
    };
    let all = session.sql("SELECT min(c), max(c) FROM t", &[])?;
    assert_values(&rows_of(&all)[0], &bounds(0), "bounds of all rows");
    let some = session.sql("SELECT min(c), max(c) FROM t WHERE id >= 2", &[])?;
    assert_values(&rows_of(&some)[0], &bounds(2), "bounds of some rows");
    for value in values.iter().filter(|value| !matches!(value, Value::Null)).step_by(3) {
        let found = session.sql("SELECT id FROM t WHERE c = $1 ORDER BY id", std::slice::from_ref(value))?;
        let equal =
            (0..).zip(values).filter(|(_, other)| same(other, value)).map(|(id, _): (i64, _)| vals![id]);
        assert_rows(&found, &equal.collect::<Vec<_>>());
    }
    Ok(())
}

/// A column that is null throughout has no bounds and no values.
pub fn a_column_of_nulls(session: &mut Session<'_>) -> Outcome {
    for name in [
        "int32",
        "utf8_view",
        "timestamp_second_utc",
        "decimal128",
        "float64",
        "boolean",
        "fixed_size_binary",
    ] {
        let data_type = samples::column(name).array.data_type().clone();
        let rows = batch(&[("id", DataType::Int64, vals![1, 2]), ("c", data_type, vec![Value::Null; 2])]);
        session.define_keyed(name, "id", rows)?;
        let found = session.sql(&format!("SELECT min(c), max(c), count(c), count(*) FROM {name}"), &[])?;
        assert_rows(&found, &[vec![Value::Null, Value::Null, 0.into(), 2.into()]]);
        let found = session.sql(&format!("SELECT id FROM {name} WHERE c IS NULL ORDER BY id"), &[])?;
        assert_rows(&found, &[vals![1], vals![2]]);
        assert_rows(&session.sql(&format!("SELECT id FROM {name} WHERE c = c"), &[])?, &[]);
    }
    Ok(())
}

/// Texts longer than a zone map stores, which are equal in the part that it could store.
pub fn long_texts_that_begin_alike(session: &mut Session<'_>) -> Outcome {
    let text = |n: i64| format!("{}{n:04}", "same ".repeat(100));
    let rows = |ids: std::ops::Range<i64>| {
        let texts = ids.clone().map(|id| text(id).into()).collect();
        batch(&[("id", DataType::Int64, ids.map(Value::Int).collect()), ("c", DataType::Utf8, texts)])
    };
    session.define_keyed("t", "id", rows(0..50))?;
    session.append("t", rows(50..100))?;
    let found = session.sql("SELECT id FROM t WHERE c = $1", &vals![text(77)])?;
    assert_rows(&found, &[vals![77]]);
    let found = session.sql("SELECT count(*) FROM t WHERE c > $1", &vals![text(9)])?;
    assert_rows(&found, &[vals![90]]);
    let found = session.sql("SELECT min(c), max(c) FROM t", &[])?;
    assert_rows(&found, &[vals![text(0), text(99)]]);
    Ok(())
}
