//! Columns of every type that can be stored, and keys of every type that can be one.

use std::sync::Arc;

use arrow::array::types::Int32Type;
use arrow::array::{
    Array, ArrayRef, Decimal256Array, DurationMicrosecondArray, DurationMillisecondArray,
    DurationNanosecondArray, DurationSecondArray, FixedSizeListArray, Int32Array, Int32Builder,
    IntervalDayTimeArray, IntervalMonthDayNanoArray, IntervalYearMonthArray, LargeListArray, ListArray,
    MapBuilder, StringArray, StringBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, IntervalDayTime, IntervalMonthDayNano, TimeUnit, i256};
use pillion::Value;

use crate::arrays;
use crate::model::vals;

/// A column of one type, nulls included, and its values if plain values can express them.
pub(crate) struct Column {
    pub(crate) array: ArrayRef,
    pub(crate) values: Option<Vec<Value>>,
}

/// Values of a key column: those to store, and other values of the type.
pub(crate) struct Keys {
    pub(crate) data_type: DataType,
    pub(crate) present: Vec<Value>,
    pub(crate) absent: Vec<Value>,
}

/// The data type of a name, and values of it without nulls: those to store and, of key types, others.
fn plain(name: &str) -> Option<(DataType, Vec<Value>, Vec<Value>)> {
    use DataType as T;
    macro_rules! signed {
        ($type:ty, $data_type:expr) => {
            (
                $data_type,
                vals![0 as $type, 42 as $type, -1 as $type, <$type>::MAX, 1 as $type, <$type>::MIN],
                vals![2 as $type, -2 as $type, <$type>::MIN + 1, <$type>::MAX - 1],
            )
        };
    }
    macro_rules! unsigned {
        ($type:ty, $data_type:expr) => {
            (
                $data_type,
                vals![7 as $type, <$type>::MAX, 0 as $type, 1 as $type, <$type>::MAX / 2 + 1],
                vals![2 as $type, <$type>::MAX - 1, <$type>::MAX / 2],
            )
        };
    }
    Some(match name {
        "boolean" => (T::Boolean, vals![true], vals![false]),
        "int8" => signed!(i8, T::Int8),
        "int16" => signed!(i16, T::Int16),
        "int32" => signed!(i32, T::Int32),
        "int64" => signed!(i64, T::Int64),
        "uint8" => unsigned!(u8, T::UInt8),
        "uint16" => unsigned!(u16, T::UInt16),
        "uint32" => unsigned!(u32, T::UInt32),
        "uint64" => unsigned!(u64, T::UInt64),
        "utf8" => texts(T::Utf8),
        "large_utf8" => texts(T::LargeUtf8),
        "utf8_view" => texts(T::Utf8View),
        "binary" => bytes(T::Binary),
        "large_binary" => bytes(T::LargeBinary),
        "binary_view" => bytes(T::BinaryView),
        "fixed_size_binary" => {
            let four = |bytes: &[u8; 4]| Value::Bytes(bytes.to_vec());
            let present =
                vec![four(b"abcd"), four(&[0; 4]), four(&[0xFF; 4]), four(b"abc\0"), four(&[0, 0, 0, 1])];
            (T::FixedSizeBinary(4), present, vec![four(b"abce"), four(&[0, 0, 1, 0])])
        }
        "date32" => {
            let days = |days: &[i32]| days.iter().copied().map(Value::Date).collect();
            (T::Date32, days(&[15_706, 0, -1, 1, -719_162, 2_932_896]), days(&[2, 15_707, i32::MAX]))
        }
        "date64" => {
            let days = |days: &[i32]| days.iter().copied().map(Value::Date).collect();
            (T::Date64, days(&[15_706, 0, -1, 1, 2_932_896]), days(&[2, 15_707]))
        }
        "time32_second" => times(T::Time32(TimeUnit::Second), 1_000_000_000),
        "time32_millisecond" => times(T::Time32(TimeUnit::Millisecond), 1_000_000),
        "time64_microsecond" => times(T::Time64(TimeUnit::Microsecond), 1_000),
        "time64_nanosecond" => times(T::Time64(TimeUnit::Nanosecond), 1),
        "timestamp_second" => timestamps(TimeUnit::Second, None),
        "timestamp_millisecond" => timestamps(TimeUnit::Millisecond, None),
        "timestamp_microsecond" => timestamps(TimeUnit::Microsecond, None),
        "timestamp_nanosecond" => timestamps(TimeUnit::Nanosecond, None),
        "timestamp_second_utc" => timestamps(TimeUnit::Second, Some("UTC")),
        "timestamp_millisecond_offset" => timestamps(TimeUnit::Millisecond, Some("+02:00")),
        "timestamp_microsecond_utc" => timestamps(TimeUnit::Microsecond, Some("+00:00")),
        "timestamp_nanosecond_zone" => timestamps(TimeUnit::Nanosecond, Some("America/New_York")),
        "decimal32" => decimals(T::Decimal32(9, 2), 2, 999_999_999),
        "decimal64" => decimals(T::Decimal64(18, 4), 4, 10_i128.pow(18) - 1),
        "decimal128" => decimals(T::Decimal128(38, 10), 10, 10_i128.pow(38) - 1),
        "decimal128_whole" => decimals(T::Decimal128(20, 0), 0, 10_i128.pow(20) - 1),
        "decimal128_negative_scale" => decimals(T::Decimal128(10, -2), -2, 10_i128.pow(10) - 1),
        _ => return None,
    })
}

/// The keys of a type by its name.
pub(crate) fn keys(name: &str) -> Keys {
    let (data_type, present, absent) = plain(name).expect("a key type");
    Keys { data_type, present, absent }
}

/// The column of a type by its name.
pub(crate) fn column(name: &str) -> Column {
    let plain = plain(name).map(|(data_type, present, absent)| (data_type, [present, absent].concat()));
    let floats = || vals![1.5, -1.5, 0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 65_504.0];
    let plain = plain.or_else(|| match name {
        "null" => Some((DataType::Null, Vec::new())),
        "float16" => Some((DataType::Float16, floats())),
        "float32" => Some((DataType::Float32, floats())),
        "float64" => Some((DataType::Float64, [floats(), vals![f64::MAX, f64::MIN_POSITIVE]].concat())),
        _ => None,
    });
    match plain {
        Some((data_type, mut values)) => {
            values.insert(values.len().min(1), Value::Null);
            values.push(Value::Null);
            let array = arrays::array(&data_type, &values);
            Column { values: Some(arrays::values(&array)), array }
        }
        None => Column { array: opaque(name), values: None },
    }
}

/// Columns that plain values cannot express.
fn opaque(name: &str) -> ArrayRef {
    let numbers = [Some(7), None, Some(i64::MIN), Some(i64::MAX), Some(0)];
    let small = [Some(7), None, Some(-14), Some(0)];
    match name {
        "duration_second" => Arc::new(DurationSecondArray::from_iter(numbers)),
        "duration_millisecond" => Arc::new(DurationMillisecondArray::from_iter(numbers)),
        "duration_microsecond" => Arc::new(DurationMicrosecondArray::from_iter(numbers)),
        "duration_nanosecond" => Arc::new(DurationNanosecondArray::from_iter(numbers)),
        "interval_year_month" => Arc::new(IntervalYearMonthArray::from_iter(small)),
        "interval_day_time" => {
            Arc::new(IntervalDayTimeArray::from_iter(small.map(|n| n.map(|n| IntervalDayTime::new(n, -n)))))
        }
        "interval_month_day_nano" => {
            let values = small.map(|n| n.map(|n| IntervalMonthDayNano::new(n, -n, i64::from(n) * 1_000)));
            Arc::new(IntervalMonthDayNanoArray::from_iter(values))
        }
        "decimal256" => {
            let values =
                [Some(i256::from_i128(-5)), None, i256::from_string(&"9".repeat(76)), Some(i256::ZERO)];
            Arc::new(Decimal256Array::from_iter(values).with_precision_and_scale(76, 5).unwrap())
        }
        "list" => Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists())),
        "large_list" => Arc::new(LargeListArray::from_iter_primitive::<Int32Type, _, _>(lists())),
        "fixed_size_list" => Arc::new(FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(
            [Some(vec![Some(1), None]), None, Some(vec![Some(3), Some(4)])],
            2,
        )),
        "structure" => Arc::new(structure()),
        "map" => Arc::new(map()),
        "list_of_structure" => {
            let items = structure();
            let field = Arc::new(Field::new("item", items.data_type().clone(), true));
            let offsets = OffsetBuffer::from_lengths([2, 0, 0, 2]);
            let nulls = NullBuffer::from(vec![true, true, false, true]);
            Arc::new(ListArray::new(field, offsets, Arc::new(items), Some(nulls)))
        }
        "required_children" => required_children(),
        other => panic!("no column is called {other}"),
    }
}

fn lists() -> [Option<Vec<Option<i32>>>; 5] {
    [
        Some(vec![Some(1), None, Some(3)]),
        None,
        Some(vec![]),
        Some(vec![None]),
        Some((0..1000).map(Some).collect()),
    ]
}

fn structure() -> StructArray {
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4)]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("one"), Some(""), None, Some("four")]));
    let fields = Fields::from(vec![
        Field::new("number", DataType::Int32, true),
        Field::new("text", DataType::Utf8, true),
    ]);
    StructArray::new(fields, vec![numbers, texts], Some(NullBuffer::from(vec![true, true, false, true])))
}

fn map() -> arrow::array::MapArray {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for entries in [Some(vec![("a", Some(1)), ("b", None)]), None, Some(vec![]), Some(vec![("a", Some(3))])] {
        for (key, value) in entries.iter().flatten() {
            builder.keys().append_value(key);
            builder.values().append_option(*value);
        }
        builder.append(entries.is_some()).unwrap();
    }
    builder.finish()
}

/// A structure that may be null, with a list and a number that may not.
fn required_children() -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Int32, false));
    let offsets = OffsetBuffer::from_lengths([1, 0, 2]);
    let items = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let list: ArrayRef = Arc::new(ListArray::new(item, offsets, items, None));
    let number: ArrayRef = Arc::new(Int32Array::from(vec![10, 20, 30]));
    let fields = Fields::from(vec![
        Field::new("list", list.data_type().clone(), false),
        Field::new("number", DataType::Int32, false),
    ]);
    Arc::new(StructArray::new(fields, vec![list, number], Some(NullBuffer::from(vec![true, false, true]))))
}

fn texts(data_type: DataType) -> (DataType, Vec<Value>, Vec<Value>) {
    let long = "long ".repeat(1000);
    let present = vals![
        "m",
        "",
        "a",
        "aa",
        "a\0",
        "a\0b",
        "\0",
        "twelve bytes",
        "thirteen byte",
        "thirteen bytf",
        "Straße",
        "\u{10FFFF}",
        long.as_str()
    ];
    (data_type, present, vals!["b", "A", " a", "a ", "a\0a", "twelve byte", "thirteen byt", &long[1..]])
}

fn bytes(data_type: DataType) -> (DataType, Vec<Value>, Vec<Value>) {
    let own = |all: &[&[u8]]| all.iter().map(|bytes| Value::Bytes(bytes.to_vec())).collect();
    let long = [0xAB; 5000];
    let present: &[&[u8]] = &[
        b"m",
        b"",
        b"a",
        b"a\0",
        b"a\0\xFF",
        b"a\xFF",
        b"\0",
        b"\0\0",
        b"\xFF\xFF",
        b"thirteen byte",
        &long,
    ];
    (data_type, own(present), own(&[b"b", b"a\0\0", b"\0\0\0", b"\xFF", &long[1..]]))
}

fn times(data_type: DataType, tick: i64) -> (DataType, Vec<Value>, Vec<Value>) {
    let second = 1_000_000_000;
    let present = [36_000 * second, 0, tick, 86_400 * second - tick].map(Value::Time).to_vec();
    (data_type, present, [2 * tick, 86_400 * second - 2 * tick].map(Value::Time).to_vec())
}

fn timestamp(value: i64, unit: TimeUnit) -> Value {
    Value::Timestamp { value, unit }
}

fn timestamps(unit: TimeUnit, zone: Option<&str>) -> (DataType, Vec<Value>, Vec<Value>) {
    let ticks = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let ten_o_clock = 1_357_034_400 * ticks;
    let present = [ten_o_clock, 0, 1, -1, ten_o_clock + 1, -ten_o_clock, 1_710_000_000 * ticks];
    let absent = [2, -2, ten_o_clock - 1, ten_o_clock + 7_200 * ticks, ten_o_clock - 7_200 * ticks];
    let all = |values: &[i64]| values.iter().map(|&value| timestamp(value, unit)).collect();
    (DataType::Timestamp(unit, zone.map(Into::into)), all(&present), all(&absent))
}

fn decimals(data_type: DataType, scale: i8, max: i128) -> (DataType, Vec<Value>, Vec<Value>) {
    let all = |values: &[i128]| values.iter().map(|&unscaled| Value::Decimal { unscaled, scale }).collect();
    (data_type, all(&[1_234, 0, 1, -1, max, -max, 100]), all(&[2, -2, max - 1, 1_235]))
}
