//! Refreshes that add rows: from which position on they are fetched, and which of them are held already.

use std::collections::HashMap;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef, TimeUnit, UInt64Type};
use arrow::row::{OwnedRow, RowConverter, SortField};

use crate::source::{After, AppendBy, Overlap};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::units::per_second;
use crate::types::value::Value;

/// The most memory that held rows take while fetched ones are compared with them, in bytes. If there are more, all rows are fetched.
pub(super) const HELD_BYTES_MAX: usize = 64 << 20;
/// What a held row takes beside its values, about.
const HELD_ROW_BYTES: usize = 64;

const NANOSECONDS_OF_DAY: i128 = 86_400_000_000_000;

/// The number that orders the values of a column of times, dates or whole numbers.
fn numbers(column: &dyn Array) -> Result<Vec<Option<i128>>> {
    if *column.data_type() == DataType::UInt64 {
        return Ok(column.as_primitive::<UInt64Type>().iter().map(|value| value.map(i128::from)).collect());
    }
    let integers = cast(column, &DataType::Int64)
        .map_err(|error| Error::internal("a position as a number").with_source(error))?;
    Ok(integers.as_primitive::<Int64Type>().iter().map(|value| value.map(i128::from)).collect())
}

/// The column of a table by which rows are appended.
pub(super) struct Positions {
    column: usize,
    name: String,
    data_type: DataType,
    overlap: i128,
}

impl Positions {
    /// # Errors
    /// [`ErrorCode::ColumnNotFound`], and [`ErrorCode::UnsupportedType`] for a column that has no positions.
    pub(super) fn new(schema: &Schema, by: &AppendBy) -> Result<Self> {
        let (column, field) = schema.column_with_name(&by.column).ok_or_else(|| {
            Error::new(
                ErrorCode::ColumnNotFound,
                format!(
                    "rows are appended by the column `{}`, which is not among those that are fetched",
                    by.column
                ),
            )
        })?;
        let overlap = overlap(field.data_type(), by)?;
        Ok(Self { column, name: by.column.clone(), data_type: field.data_type().clone(), overlap })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The highest of the column's values that are held; `None` if there are none.
    pub(super) fn highest(&self, held: impl Iterator<Item = Result<RecordBatch>>) -> Result<Option<i128>> {
        let mut highest = None;
        for batch in held {
            highest = highest.max(numbers(batch?.column(0))?.into_iter().flatten().max());
        }
        Ok(highest)
    }

    /// The highest position of rows with all columns.
    pub(super) fn highest_of(&self, rows: &RecordBatch) -> Result<Option<i128>> {
        Ok(numbers(rows.column(self.column))?.into_iter().flatten().max())
    }

    /// From which position on rows are fetched after the highest one.
    pub(super) fn next(&self, highest: i128) -> (i128, After) {
        let first = highest.saturating_sub(self.overlap).max(self.lowest());
        (first, After { column: self.name.clone(), value: self.value(first) })
    }

    fn lowest(&self) -> i128 {
        match self.data_type {
            DataType::Int8 => i8::MIN.into(),
            DataType::Int16 => i16::MIN.into(),
            DataType::Int32 | DataType::Date32 => i32::MIN.into(),
            ref unsigned if unsigned.is_unsigned_integer() => 0,
            _ => i64::MIN.into(),
        }
    }

    fn value(&self, number: i128) -> Value {
        let signed = i64::try_from(number).unwrap_or(i64::MAX);
        match self.data_type {
            DataType::Timestamp(unit, _) => Value::Timestamp { value: signed, unit },
            DataType::Date32 => Value::Date(i32::try_from(number).unwrap_or(i32::MAX)),
            DataType::UInt64 => Value::UInt(u64::try_from(number).unwrap_or(u64::MAX)),
            _ => Value::Int(signed),
        }
    }

    /// Rows at a position or above it.
    fn from(&self, batch: &RecordBatch, first: i128) -> Result<RecordBatch> {
        let numbers = numbers(batch.column(self.column))?;
        let is_above: BooleanArray =
            numbers.into_iter().map(|number| Some(number.is_some_and(|number| number >= first))).collect();
        filter_record_batch(batch, &is_above)
            .map_err(|error| Error::internal("rows from a position on").with_source(error))
    }
}

/// The overlap in units of the column.
fn overlap(data_type: &DataType, by: &AppendBy) -> Result<i128> {
    let column = &by.column;
    let unit = match data_type {
        DataType::Timestamp(unit, _) => i128::from(per_second(TimeUnit::Nanosecond) / per_second(*unit)),
        DataType::Date32 => NANOSECONDS_OF_DAY,
        data_type if data_type.is_integer() => 1,
        other => {
            return Err(Error::new(
                ErrorCode::UnsupportedType,
                format!(
                    "rows cannot be appended by the column `{column}` of type {other}: it must be a timestamp, a date or a \
                     whole number"
                ),
            ));
        }
    };
    match by.overlap {
        Overlap::Time(Duration::ZERO) | Overlap::Number(0) => Ok(0),
        Overlap::Time(overlap) if !data_type.is_integer() => {
            Ok(ceiling(i128::try_from(overlap.as_nanos()).unwrap_or(i128::MAX), unit))
        }
        Overlap::Number(overlap) if data_type.is_integer() => Ok(overlap.into()),
        _ => Err(Error::new(
            ErrorCode::InvalidArgument,
            format!(
                "the overlap of the column `{column}` of type {data_type} must be a {}",
                if data_type.is_integer() { "whole number" } else { "duration" }
            ),
        )),
    }
}

fn ceiling(number: i128, divisor: i128) -> i128 {
    number / divisor + i128::from(number % divisor != 0)
}

/// Rows of a table without a primary key that would be fetched again, each as often as it is held.
pub(super) struct HeldRows {
    converter: RowConverter,
    counts: HashMap<OwnedRow, u64>,
}

impl HeldRows {
    /// Those of a table from a position on; `None` if they take more memory than `bytes_max`.
    pub(super) fn read(
        schema: &SchemaRef,
        positions: &Positions,
        first: i128,
        held: impl Iterator<Item = Result<RecordBatch>>,
        bytes_max: usize,
    ) -> Result<Option<Self>> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(not_comparable)?;
        let mut rows = Self { converter, counts: HashMap::new() };
        let mut bytes = 0;
        for batch in held {
            let batch = positions.from(&batch?, first)?;
            for row in &rows.converter.convert_columns(batch.columns()).map_err(not_comparable)? {
                let count = rows.counts.entry(row.owned()).or_insert(0);
                // Equal rows are counted, and take no more memory.
                bytes += if *count == 0 { row.as_ref().len() + HELD_ROW_BYTES } else { 0 };
                *count += 1;
                if bytes > bytes_max {
                    return Ok(None);
                }
            }
        }
        Ok(Some(rows))
    }

    /// The rows of a batch that are not held; each held row stands for one fetched row.
    pub(super) fn without(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = batch.columns().to_vec();
        let rows = self.converter.convert_columns(&columns).map_err(not_comparable)?;
        let is_new: BooleanArray = rows
            .iter()
            .map(|row| {
                let count = self.counts.get_mut(&row.owned()).filter(|count| **count > 0);
                Some(count.map(|count| *count -= 1).is_none())
            })
            .collect();
        filter_record_batch(batch, &is_new)
            .map_err(|error| Error::internal("rows that are not held").with_source(error))
    }
}

fn not_comparable(error: arrow::error::ArrowError) -> Error {
    Error::new(
        ErrorCode::UnsupportedType,
        "fetched rows cannot be compared with held ones: give the table a primary key",
    )
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, TimestampMillisecondArray};
    use arrow::datatypes::Field;

    use super::*;

    fn positions(data_type: DataType, overlap: Overlap) -> Result<Positions> {
        let schema = Schema::new(vec![Field::new("at", data_type, true)]);
        Positions::new(&schema, &AppendBy { column: "at".to_owned(), overlap })
    }

    fn batches(column: ArrayRef) -> impl Iterator<Item = Result<RecordBatch>> {
        [Ok(RecordBatch::try_from_iter_with_nullable([("at", column, true)]).unwrap())].into_iter()
    }

    #[test]
    fn the_position_is_the_highest_value_less_the_overlap() {
        let millis = positions(
            DataType::Timestamp(TimeUnit::Millisecond, None),
            Overlap::Time(Duration::from_nanos(1_500_001)),
        )
        .unwrap();
        let held = batches(Arc::new(TimestampMillisecondArray::from(vec![Some(70), None, Some(100)])));
        let (first, after) = millis.next(millis.highest(held).unwrap().unwrap());
        assert_eq!(first, 98, "an overlap is rounded up to whole units");
        assert_eq!(after.value, Value::Timestamp { value: 98, unit: TimeUnit::Millisecond });
        let nothing = batches(Arc::new(TimestampMillisecondArray::from(vec![None, None])));
        assert!(millis.highest(nothing).unwrap().is_none());
        let number = positions(DataType::Int64, Overlap::Number(20)).unwrap();
        let lowest = batches(Arc::new(Int64Array::from(vec![i64::MIN + 5])));
        let lowest = number.highest(lowest).unwrap().unwrap();
        assert_eq!(number.next(lowest).1.value, Value::Int(i64::MIN));
        let code = |data_type, overlap| positions(data_type, overlap).err().unwrap().code();
        assert_eq!(code(DataType::Utf8, Overlap::Number(0)), ErrorCode::UnsupportedType);
        assert_eq!(code(DataType::Date32, Overlap::Number(3)), ErrorCode::InvalidArgument);
        assert_eq!(code(DataType::Int32, Overlap::Time(Duration::from_secs(1))), ErrorCode::InvalidArgument);
    }

    #[test]
    fn a_held_row_stands_for_one_fetched_row() {
        let number = positions(DataType::Int64, Overlap::Time(Duration::ZERO)).unwrap();
        let held: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(5), Some(5), None, Some(6)]));
        let schema = Arc::new(Schema::new(vec![Field::new("at", DataType::Int64, true)]));
        let read = |held: &ArrayRef, bytes_max| {
            HeldRows::read(&schema, &number, 5, batches(held.clone()), bytes_max).unwrap()
        };
        let mut rows = read(&held, 2 * (HELD_ROW_BYTES + 9)).unwrap();
        assert!(read(&held, 2 * (HELD_ROW_BYTES + 9) - 1).is_none(), "two rows that differ");
        let fetched: ArrayRef = Arc::new(Int64Array::from(vec![5, 5, 5, 6, 7]));
        let fetched = RecordBatch::try_from_iter_with_nullable([("at", fetched, true)]).unwrap();
        let new = rows.without(&fetched).unwrap();
        assert_eq!(new.column(0).as_primitive::<Int64Type>().values(), &[5, 7]);
    }
}
