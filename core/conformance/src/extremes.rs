//! Extreme values and types: every call gives a value or an error about the value, and never panics.
//!
//! Through a socket a panic is the error `Internal`, so no call here may return that error.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeBinaryArray, NullArray, RecordBatch, RecordBatchOptions, StructArray,
    UInt32Array, make_array, new_null_array,
};
use arrow::buffer::Buffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Schema, TimeUnit};
use pillion::{Error, ErrorCode, Row, Table, TableDefinition, Value, ValueRef};

use crate::model::collect;
use crate::{Outcome, Session};

/// Fails if an error is a defect, or cannot be printed.
#[track_caller]
fn no_defect(error: &Error, what: &dyn std::fmt::Debug) {
    let shown = format!("{error} {error:#} {error:?}");
    assert_ne!(error.code(), ErrorCode::Internal, "{what:?}: {shown}");
}

#[track_caller]
fn answered<T>(outcome: pillion::Result<T>, what: &dyn std::fmt::Debug) -> Option<T> {
    outcome.inspect_err(|error| no_defect(error, what)).ok()
}

/// Extreme values of every kind; `few` gives fewer, for calls that take long.
fn values(few: bool) -> Vec<Value> {
    let scales: &[i8] =
        if few { &[-128, -38, 0, 38, 127] } else { &[-128, -127, -39, -38, -1, 0, 1, 37, 38, 39, 76, 127] };
    let unscaled: &[i128] = if few {
        &[i128::MIN, 1, i128::MAX]
    } else {
        &[i128::MIN, i128::MIN + 1, -10, -1, 0, 1, 10, i128::MAX]
    };
    let numbers: &[i64] = if few {
        &[i64::MIN, -1, i64::MAX]
    } else {
        &[i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX]
    };
    let decimals = scales
        .iter()
        .flat_map(|&scale| unscaled.iter().map(move |&unscaled| Value::Decimal { unscaled, scale }));
    let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
    let timestamps =
        units.iter().flat_map(|&unit| numbers.iter().map(move |&value| Value::Timestamp { value, unit }));
    let floats = [f64::MIN, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0, f64::MIN_POSITIVE];
    let texts = [
        "",
        "\0",
        "\u{10ffff}",
        "-",
        ".",
        "1e400",
        "99999999999999999999999999999999999999999999",
        "0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001",
        "+262143-12-31T23:59:59.999999999Z",
        "-262144-01-01",
        "9999999-01-01",
        "25:61:61",
        "2013-13-41",
        "0000-00-00T00:00:00+99:99",
        "1970-01-01T00:00:00.1234567890123456789",
    ];
    decimals
        .chain(timestamps)
        .chain(floats.map(Value::Float))
        .chain(texts.map(Value::from))
        .chain([Value::Str("9".repeat(if few { 100 } else { 100_000 }))])
        .chain([i32::MIN, -1, 0, i32::MAX].map(Value::Date))
        .chain(numbers.iter().map(|&number| Value::Time(number)))
        .chain(numbers.iter().map(|&number| Value::Int(number)))
        .chain([Value::UInt(0), Value::UInt(u64::MAX), Value::Bool(true), Value::Null])
        .chain([Value::Bytes(Vec::new()), Value::Bytes(vec![0xFF; 300])])
        .collect()
}

/// Types whose declared sizes are at the limits, and beyond.
fn types() -> Vec<DataType> {
    use DataType as T;
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
    let mut types = vec![
        T::Null,
        T::Boolean,
        T::Int8,
        T::Int64,
        T::UInt64,
        T::Float16,
        T::Float32,
        T::Float64,
        T::Date32,
        T::Date64,
        T::Time32(TimeUnit::Second),
        T::Time32(TimeUnit::Millisecond),
        T::Time64(TimeUnit::Microsecond),
        T::Time64(TimeUnit::Nanosecond),
        T::Utf8,
        T::Binary,
        T::Utf8View,
        T::BinaryView,
        T::FixedSizeBinary(0),
        T::FixedSizeBinary(1),
        T::FixedSizeBinary(-1),
        T::FixedSizeBinary(i32::MIN),
        T::FixedSizeList(item(T::Int8), 0),
        T::FixedSizeList(item(T::Int8), -1),
        T::FixedSizeList(item(T::FixedSizeBinary(0)), 2),
        T::List(item(T::Null)),
        T::List(item(T::FixedSizeBinary(0))),
        T::Struct(Fields::empty()),
        T::Struct(Fields::from(vec![Field::new("a", T::FixedSizeBinary(0), true)])),
        T::Interval(IntervalUnit::MonthDayNano),
        T::Interval(IntervalUnit::DayTime),
        T::Timestamp(TimeUnit::Second, Some("".into())),
        T::Timestamp(TimeUnit::Second, Some("Mars/Olympus".into())),
        T::Timestamp(TimeUnit::Nanosecond, Some("+99:99".into())),
    ];
    types.extend(units.map(|unit| T::Timestamp(unit, None)));
    types.extend(units.map(|unit| T::Timestamp(unit, Some("America/New_York".into()))));
    types.extend(units.map(T::Duration));
    for (precision, scale) in
        [(0, 0), (1, 0), (1, 1), (1, -128), (38, 38), (38, -38), (38, 127), (255, 0), (76, 76)]
    {
        types.push(T::Decimal32(precision.min(9), scale));
        types.push(T::Decimal64(precision.min(18), scale));
        types.push(T::Decimal128(precision, scale));
        types.push(T::Decimal256(precision, scale));
    }
    types
}

/// Rows of a type: all bits zero, all bits one, the largest and the smallest number, and a null. `None` if Arrow itself
/// cannot make an array of the type.
fn rows_of(data_type: &DataType) -> Option<ArrayRef> {
    let made = std::panic::catch_unwind(|| {
        let width = match data_type {
            DataType::FixedSizeBinary(width) => usize::try_from(*width).ok()?,
            DataType::Null => return Some(Arc::new(NullArray::new(5)) as ArrayRef),
            DataType::Struct(fields) if fields.is_empty() => {
                return Some(Arc::new(StructArray::new_empty_fields(5, None)) as ArrayRef);
            }
            other => match other.primitive_width() {
                Some(width) => width,
                None => return Some(new_null_array(other, 5)),
            },
        };
        if width == 0 {
            let empty = Buffer::from(Vec::<u8>::new());
            let values = FixedSizeBinaryArray::try_new_with_len(0, empty, None, 4).ok()?;
            let with_null: ArrayRef = Arc::new(values);
            return take(
                &with_null,
                &UInt32Array::from(vec![Some(0), Some(1), Some(2), Some(3), None]),
                None,
            )
            .ok();
        }
        let mut largest = vec![0xFF_u8; width];
        let mut smallest = vec![0; width];
        (largest[width - 1], smallest[width - 1]) = (0x7F, 0x80);
        let bytes = [vec![0; width], vec![0xFF; width], largest, smallest].concat();
        let data = arrow::array::ArrayData::builder(data_type.clone())
            .len(4)
            .add_buffer(Buffer::from(arrow::buffer::MutableBuffer::from_iter(bytes).as_slice()));
        let values = make_array(data.align_buffers(true).build().ok()?);
        take(&values, &UInt32Array::from(vec![Some(0), Some(1), Some(2), Some(3), None]), None).ok()
    });
    made.ok().flatten()
}

/// Reads and prints every value of a row.
fn look_at(row: &Row, what: &dyn std::fmt::Debug) {
    let _shown = format!("{row:?}");
    for column in 0..row.schema().fields().len() {
        if let Some(value) = answered(row.value(column), what) {
            let _shown = format!("{value} {value:?}");
        }
        answered(row.get::<ValueRef<'_>>(column), what);
        answered(row.get::<Option<i64>>(column), what);
        answered(row.get::<Option<u8>>(column), what);
        answered(row.get::<Option<f64>>(column), what);
        answered(row.get::<Option<bool>>(column), what);
        answered(row.get::<Option<&str>>(column), what);
        answered(row.get::<Option<&[u8]>>(column), what);
    }
}

/// Rows of a number and a column of a type; `None` if Arrow cannot make such rows.
fn table_rows(data_type: &DataType) -> Option<RecordBatch> {
    let column = rows_of(data_type)?;
    let len = u32::try_from(column.len()).ok()?;
    let fields = vec![Field::new("id", DataType::UInt32, false), Field::new("v", data_type.clone(), true)];
    let ids: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..len));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![ids, column]).ok()
}

#[track_caller]
fn holds(table: &Table, rows: &RecordBatch, what: &dyn std::fmt::Debug) {
    let found = collect(table.scan());
    let order = arrow::compute::sort_to_indices(found.column(0), None, None).unwrap();
    let found = arrow::compute::take_record_batch(&found, &order).unwrap();
    assert_eq!(format!("{:?}", found.columns()), format!("{:?}", rows.columns()), "{what:?}");
    for index in 0..rows.num_rows() {
        let id = u32::try_from(index).unwrap();
        let row = table.get(id).unwrap().unwrap();
        look_at(&row, what);
        let expected = rows.slice(index, 1);
        assert_eq!(
            format!("{:?}", row.to_batch().unwrap().columns()),
            format!("{:?}", expected.columns()),
            "{what:?}"
        );
    }
    let ids: Vec<u32> = (0..u32::try_from(rows.num_rows()).unwrap()).collect();
    let found = table.get_many(&ids).unwrap();
    found.iter().for_each(|row| look_at(row.as_ref().unwrap(), what));
}

/// An extreme type can be stored with its smallest and largest values, or its definition is refused.
pub fn types_come_back_or_are_refused(session: &mut Session<'_>) -> Outcome {
    let mut stored = 0;
    for (number, data_type) in types().iter().enumerate() {
        let name = format!("t{number}");
        let Some(rows) = table_rows(data_type) else {
            // A table without rows can be defined all the same.
            let schema = Arc::new(Schema::new(vec![Field::new("v", data_type.clone(), true)]));
            let empty = RecordBatch::try_new_with_options(
                schema.clone(),
                vec![new_empty(data_type)],
                &RecordBatchOptions::new(),
            );
            if let Ok(empty) = empty {
                answered(session.define(&name, TableDefinition::new(empty)), data_type);
            }
            continue;
        };
        let half = rows.num_rows() / 2;
        let definition = TableDefinition::new(rows.slice(0, half)).primary_key(["id"]);
        let defined = session.define(&name, definition);
        if let Err(error) = &defined {
            assert_eq!(error.code(), ErrorCode::UnsupportedType, "{data_type}: {error:#}");
            assert!(error.to_string().contains("`v`"), "{data_type}: {error}");
            continue;
        }
        stored += 1;
        if matches!(data_type, DataType::Timestamp(_, Some(zone)) if zone.is_empty()) {
            // On the way through a socket, Arrow turns the column into one without a zone.
            answered(session.table(&name)?.scan()?.concat(), data_type);
            continue;
        }
        session.append(&name, rows.slice(half, rows.num_rows() - half))?;
        holds(&session.table(&name)?, &rows, data_type);
        session.upsert(&name, rows.slice(half, 1))?;
        session.compact()?;
        holds(&session.table(&name)?, &rows, data_type);
        session.writer().table(&name)?.delete(0_u32)?;
        session.replace(&name, rows.clone())?;
        holds(&session.table(&name)?, &rows, data_type);
    }
    assert!(stored > 40, "{stored} types were stored");
    session.reopen();
    for (number, data_type) in types().iter().enumerate() {
        if let Ok(table) = session.table(&format!("t{number}")) {
            collect(table.scan());
            answered(table.get(0_u32), data_type);
        }
    }
    Ok(())
}

fn new_empty(data_type: &DataType) -> ArrayRef {
    std::panic::catch_unwind(|| arrow::array::new_empty_array(data_type))
        .unwrap_or_else(|_| Arc::new(NullArray::new(0)))
}

/// Extreme values are keys, or are refused, whatever the type of the key.
pub fn keys_are_answered_or_refused(session: &mut Session<'_>) -> Outcome {
    let mut keyed = 0;
    for (number, data_type) in types().iter().enumerate() {
        let name = format!("t{number}");
        let Some(rows) = table_rows(data_type) else { continue };
        let rows = rows.slice(0, rows.num_rows() - 1);
        // Some rows are equal in all bits, such as those of a type without bits.
        let is_alike = matches!(data_type, DataType::FixedSizeBinary(0) | DataType::Utf8 | DataType::Boolean);
        let rows = if is_alike { rows.slice(0, 1) } else { rows };
        let Some(table) =
            answered(session.define(&name, TableDefinition::new(rows.clone()).primary_key(["v"])), data_type)
        else {
            continue;
        };
        keyed += 1;
        let mut found = 0;
        for value in values(false) {
            let what = (data_type, &value);
            if let Some(Some(row)) = answered(table.get(&value), &what) {
                look_at(&row, &what);
                found += 1;
            }
        }
        for value in values(true) {
            let what = (data_type, &value);
            answered(table.get_many(&[&value]), &what);
            answered(table.get(vec![value.clone(), value.clone()]), &what);
            answered(session.writer().table(&name)?.delete(&value), &what);
        }
        // The value that is read from a row finds the row.
        if data_type.is_numeric() && data_type.is_integer() {
            assert!(found > 0, "{data_type}");
        }
    }
    assert!(keyed > 20, "{keyed} types were keys");
    Ok(())
}

/// All values can be printed.
pub fn values_can_be_shown(_: &mut Session<'_>) -> Outcome {
    for value in values(false) {
        let (shown, debug) = (value.to_string(), format!("{value:?}"));
        assert!(!debug.is_empty());
        if let Value::Decimal { unscaled, scale: 0 } = value {
            assert_eq!(shown, unscaled.to_string());
        }
    }
    let shown = |unscaled, scale| Value::Decimal { unscaled, scale }.to_string();
    assert_eq!(shown(-12_345, 3), "-12.345");
    assert_eq!(shown(-12_345, 5), "-0.12345");
    assert_eq!(shown(12_345, 7), "0.0012345");
    assert_eq!(shown(12_345, -2), "1234500");
    assert_eq!(shown(0, -2), "0");
    assert_eq!(shown(i128::MIN, 38), "-1.70141183460469231731687303715884105728");
    Ok(())
}

/// Extreme parameters are answered or refused, whatever they are compared with.
pub fn parameters_are_answered_or_refused(session: &mut Session<'_>) -> Outcome {
    let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
    for data_type in types() {
        let Some(rows) = table_rows(&data_type) else { continue };
        let name = format!("v{}", fields.len());
        let alone =
            RecordBatch::try_from_iter_with_nullable([(name.as_str(), rows.column(1).clone(), true)])?;
        if session.define(&format!("alone_{name}"), TableDefinition::new(alone)).is_ok() {
            fields.push(Field::new(&name, data_type, true));
            columns.push(rows.column(1).clone());
        }
    }
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), columns)?;
    session.define("t", TableDefinition::new(rows))?;
    let cache = session.cache();
    let run = |text: &str, parameters: &[Value]| {
        let what = (text, parameters);
        if let Some(answer) = answered(cache.sql(text, parameters), &what) {
            answered(answer.concat(), &what);
        }
    };
    for value in values(false) {
        run("SELECT $1", std::slice::from_ref(&value));
    }
    let values = values(true);
    for field in &fields {
        let (name, mut text) = (field.name(), String::new());
        for value in &values {
            text.clear();
            text.push_str(&format!("SELECT count(*) FROM t WHERE {name} = $1 OR {name} > $1"));
            run(&text, std::slice::from_ref(value));
        }
        // DataFusion itself panics when it prints some dates; that must fail only the query.
        for text in [
            format!("SELECT min({name}), max({name}) FROM t"),
            format!("SELECT {name}, count(*) FROM t GROUP BY {name} ORDER BY {name}"),
            format!("SELECT {name}::varchar, -{name}, {name} + 1, abs({name}) FROM t"),
        ] {
            if let Ok(answer) = cache.sql(&text, &[]) {
                drop(answer.concat());
            }
            run("SELECT 1", &[]);
        }
    }
    run("SELECT * FROM t", &[]);
    Ok(())
}
