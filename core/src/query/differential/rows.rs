//! Tables of random rows: few values of each type, those included at which comparisons, casts and time zones go wrong.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::{cast, concat_batches, filter_record_batch, interleave};
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;

use crate::test_random::Random;

/// Name of the column whose values are all different.
pub(super) const ID: &str = "id";

/// The types of columns, and of casts that are wanted.
pub(super) fn types() -> Vec<DataType> {
    use DataType as T;
    let zones = ["UTC", "+02:00", "Europe/Berlin", "America/Havana"];
    let mut types = vec![
        T::Boolean,
        T::Int8,
        T::Int16,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Float16,
        T::Float32,
        T::Float64,
        T::Decimal128(10, 2),
        T::Decimal128(38, 10),
        T::Decimal256(40, 3),
        T::Date32,
        T::Date64,
        T::Time32(TimeUnit::Second),
        T::Time32(TimeUnit::Millisecond),
        T::Time64(TimeUnit::Microsecond),
        T::Time64(TimeUnit::Nanosecond),
        T::Duration(TimeUnit::Second),
        T::Interval(IntervalUnit::MonthDayNano),
        T::Utf8,
        T::LargeUtf8,
        T::Utf8View,
        T::Binary,
        T::BinaryView,
        T::FixedSizeBinary(3),
    ];
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        types.push(T::Timestamp(unit, None));
    }
    for (unit, zone) in [TimeUnit::Second, TimeUnit::Microsecond, TimeUnit::Nanosecond, TimeUnit::Millisecond]
        .into_iter()
        .zip(zones)
    {
        types.push(T::Timestamp(unit, Some(zone.into())));
    }
    types
}

/// Values of a type, in no order; none is null.
pub(super) fn values(data_type: &DataType) -> ArrayRef {
    use DataType as T;
    let scalars: Vec<ScalarValue> = match data_type {
        T::Boolean => vec![true.into(), false.into()],
        T::Float16 => return cast(&values(&T::Float32), data_type).unwrap(),
        T::Float32 => FLOATS.iter().map(|&value| ScalarValue::Float32(Some(value as f32))).collect(),
        T::Float64 => FLOATS.iter().map(|&value| ScalarValue::Float64(Some(value))).collect(),
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Binary | T::BinaryView => {
            let texts: ArrayRef = Arc::new(arrow::array::StringArray::from_iter_values(TEXTS));
            return cast(&texts, data_type).unwrap();
        }
        T::FixedSizeBinary(_) => {
            let bytes = [*b"\0\0\0", *b"abc", *b"ab\0", *b"\xFF\xFF\xFF", *b"\x80\0z"];
            bytes.iter().map(|value| ScalarValue::FixedSizeBinary(3, Some(value.to_vec()))).collect()
        }
        T::Interval(_) => {
            let parts =
                [(0, 0, 0), (1, 0, 0), (0, 30, 0), (0, 40, -1), (-1, 5, 7), (0, 0, 86_400_000_000_000)];
            let of = |(months, days, nanoseconds)| ScalarValue::new_interval_mdn(months, days, nanoseconds);
            parts.into_iter().map(of).collect()
        }
        _ => return numbers(data_type),
    };
    ScalarValue::iter_to_array(scalars).unwrap()
}

const FLOATS: [f64; 12] =
    [0.0, -0.0, 1.5, -1.5, 2.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e10, -1e300, 5e-324];

const TEXTS: [&str; 16] = [
    "",
    "0",
    "5",
    "-7",
    "12.5",
    "abc",
    "abd",
    "ab",
    "ABC",
    "ab%c",
    "Zürich",
    "2013-01-31",
    "2013-10-27 02:30:00",
    "10:00:00",
    "true",
    "\u{10FFFF}",
];

/// Values of a type that is stored as numbers: around zero, the extremes, and moments at which clocks change.
fn numbers(data_type: &DataType) -> ArrayRef {
    use DataType as T;
    let mut numbers: Vec<i64> = vec![0, 1, -1, 2, 5, 100, -100];
    match data_type {
        T::Int64 => numbers.extend([i64::MAX, i64::MIN, i64::MAX - 1]),
        T::Int32 => numbers.extend([i64::from(i32::MAX), i64::from(i32::MIN)]),
        T::Int16 => numbers.extend([i64::from(i16::MAX), i64::from(i16::MIN)]),
        T::Int8 => numbers.extend([127, -128]),
        T::UInt8 => numbers.extend([255, 128]),
        T::UInt16 | T::UInt32 => numbers.extend([65_535, 32_768]),
        T::UInt64 => numbers.extend([i64::MAX]),
        T::Decimal128(..) | T::Decimal256(..) => numbers.extend([12_345, -12_345, 99_999_999]),
        T::Date32 => numbers.extend([16_005, 16_006, 15_706, 100_000, -100_000, i64::from(i32::MAX)]),
        T::Date64 => numbers.extend([16_005, 16_006, 15_706].map(|day: i64| day * 86_400_000)),
        T::Time32(TimeUnit::Second) => numbers = vec![0, 1, 36_000, 86_399],
        T::Time32(_) => numbers = vec![0, 1, 36_000_000, 86_399_999],
        T::Time64(TimeUnit::Microsecond) => numbers = vec![0, 1, 36_000_000_000, 86_399_999_999],
        T::Time64(_) => numbers = vec![0, 1, 36_000_000_000_000, 86_399_999_999_999],
        T::Timestamp(unit, _) => {
            // 02:30 in Berlin comes twice on 27 October 2013, and midnight in Havana on 3 November 2013.
            let moments =
                [1_382_833_800_i64, 1_382_837_400, 1_383_451_200, 1_383_454_800, 1_383_458_400, -3_600];
            let ticks = match unit {
                TimeUnit::Second => 1,
                TimeUnit::Millisecond => 1_000,
                TimeUnit::Microsecond => 1_000_000,
                TimeUnit::Nanosecond => 1_000_000_000,
            };
            numbers.extend(moments.map(|moment| moment * ticks));
            numbers.extend(moments.map(|moment| moment * ticks + 1));
            if *unit == TimeUnit::Nanosecond {
                numbers.extend([i64::MAX, i64::MIN + 1]);
            }
        }
        _ => {}
    }
    match data_type {
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => numbers.retain(|&number| number >= 0),
        _ => {}
    }
    let numbers: ArrayRef = Arc::new(Int64Array::from(numbers));
    let stored: ArrayRef = match data_type {
        T::Decimal128(precision, scale) => {
            let wide = cast(&numbers, &T::Decimal128(38, 0)).unwrap();
            let values =
                arrow::array::AsArray::as_primitive::<arrow::datatypes::Decimal128Type>(&wide).clone();
            let narrow = values.with_precision_and_scale(*precision, *scale).unwrap();
            Arc::new(narrow)
        }
        T::Date32 | T::Time32(_) => cast(&cast(&numbers, &T::Int32).unwrap(), data_type).unwrap(),
        _ => cast(&numbers, data_type).unwrap(),
    };
    let valid = BooleanArray::from_iter((0..stored.len()).map(|row| Some(stored.is_valid(row))));
    arrow::compute::filter(&stored, &valid).unwrap()
}

/// A table as the test knows it.
#[derive(Debug)]
pub(super) struct Rows {
    /// Its columns: `id`, and `c0`, `c1`, … of random types.
    pub(super) schema: SchemaRef,
    /// The rows that the table should have.
    pub(super) rows: RecordBatch,
}

impl Rows {
    /// An empty table of random columns, at least one of which is a float.
    pub(super) fn new(random: &mut Random, columns: usize) -> Self {
        let all = types();
        let mut fields = vec![Field::new(ID, DataType::Int64, false)];
        fields.extend((0..columns).map(|number| {
            let data_type = if number == 0 {
                [DataType::Float32, DataType::Float64][random.below(2)].clone()
            } else {
                all[random.below(all.len())].clone()
            };
            Field::new(format!("c{number}"), data_type, true)
        }));
        let schema = Arc::new(Schema::new(fields));
        Self { rows: RecordBatch::new_empty(schema.clone()), schema }
    }

    /// A batch of new rows. Its values are a few of each type, so that the bounds of batches differ.
    pub(super) fn batch(&self, random: &mut Random, ids: std::ops::Range<i64>) -> RecordBatch {
        let len = usize::try_from(ids.end - ids.start).unwrap();
        let columns = self.schema.fields().iter().map(|field| -> ArrayRef {
            if field.name() == ID {
                return Arc::new(Int64Array::from_iter_values(ids.clone()));
            }
            if random.below(12) == 0 {
                return new_null_array(field.data_type(), len);
            }
            let values = values(field.data_type());
            let null = new_null_array(field.data_type(), 1);
            let picks = 1 + random.below(4);
            let picked: Vec<usize> = (0..picks).map(|_| random.below(values.len())).collect();
            let nulls = [0, 0, 10, 50][random.below(4)];
            let places: Vec<(usize, usize)> = (0..len)
                .map(|_| if random.percent(nulls) { (1, 0) } else { (0, picked[random.below(picks)]) })
                .collect();
            interleave(&[values.as_ref(), null.as_ref()], &places).unwrap()
        });
        let columns = columns.collect();
        RecordBatch::try_new(self.schema.clone(), columns).unwrap()
    }

    /// Adds rows.
    pub(super) fn append(&mut self, batch: &RecordBatch) {
        self.rows = concat_batches(&self.schema, [&self.rows, batch]).unwrap();
    }

    /// Removes rows by their ids.
    pub(super) fn delete(&mut self, ids: &[i64]) {
        let held = self.rows.column(0);
        let held = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(held);
        let stay = BooleanArray::from_iter(held.values().iter().map(|id| Some(!ids.contains(id))));
        self.rows = filter_record_batch(&self.rows, &stay).unwrap();
    }

    /// Name and type of a random column.
    pub(super) fn column(&self, random: &mut Random) -> &Field {
        self.schema.field(random.below(self.schema.fields().len()))
    }
}
