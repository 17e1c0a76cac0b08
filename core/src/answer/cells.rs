//! The cells of one row as bytes: how a row is sent that is not worth an array for each of its columns.
//!
//! For each column in order: 1 byte, 0 for null, otherwise 1 and then the value. Booleans are one byte, columns of a
//! fixed width have that many bytes as Arrow stores them, text and bytes begin with their length in 4 bytes. All
//! little-endian.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, LargeBinaryArray,
    LargeStringArray, StringArray, StringViewArray, downcast_primitive_array, make_array, new_null_array,
};
use arrow::buffer::MutableBuffer;
use arrow::datatypes::{DataType, SchemaRef, ToByteSlice};
use smallvec::SmallVec;

use crate::types::error::{Error, ErrorCode, Result};

/// The columns of rows that are sent as cells.
#[derive(Debug)]
pub(crate) struct CellColumns {
    schema: SchemaRef,
    kinds: Vec<CellKind>,
}

#[derive(Clone, Copy, Debug)]
enum CellKind {
    /// So many bytes.
    Fixed(usize),
    /// As many bytes as the length before them says.
    Text,
}

impl CellKind {
    /// The kind of a column; `None` for types whose values are not sent as cells.
    fn of(data_type: &DataType) -> Option<Self> {
        use DataType as T;
        Some(match data_type {
            T::Boolean => Self::Fixed(1),
            T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Binary | T::LargeBinary | T::BinaryView => Self::Text,
            T::FixedSizeBinary(width) => Self::Fixed(usize::try_from(*width).ok()?),
            other => Self::Fixed(other.primitive_width()?),
        })
    }
}

impl CellColumns {
    /// Columns whose values can all be sent as cells; `None` if a column has other values.
    pub(crate) fn of(schema: &SchemaRef) -> Option<Self> {
        let kinds = schema.fields().iter().map(|field| CellKind::of(field.data_type()));
        Some(Self { schema: schema.clone(), kinds: kinds.collect::<Option<_>>()? })
    }
}

/// A row that was sent as cells.
pub(crate) struct SentRow {
    columns: Arc<CellColumns>,
    /// The message that it came in.
    bytes: Vec<u8>,
    /// Where the value of each column is; `None` for null.
    cells: SmallVec<[Option<Range<u32>>; 8]>,
    /// The cells as arrays, once somebody needs them so.
    arrays: OnceLock<Vec<ArrayRef>>,
}

impl SentRow {
    /// The row whose cells begin at `start` and end with the message; `None` if they are not cells of these columns.
    pub(crate) fn decode(columns: Arc<CellColumns>, bytes: Vec<u8>, start: usize) -> Option<Self> {
        let mut cells = SmallVec::with_capacity(columns.kinds.len());
        let mut at = start;
        for &kind in &columns.kinds {
            let is_there = *bytes.get(at)?;
            at += 1;
            if is_there == 0 {
                cells.push(None);
                continue;
            }
            let len = match kind {
                CellKind::Fixed(len) => len,
                CellKind::Text => {
                    let len = bytes.get(at..)?.first_chunk()?;
                    at += 4;
                    usize::try_from(u32::from_le_bytes(*len)).ok()?
                }
            };
            let end = at.checked_add(len).filter(|end| *end <= bytes.len())?;
            cells.push(Some(u32::try_from(at).ok()?..u32::try_from(end).ok()?));
            at = end;
        }
        (at == bytes.len()).then(|| Self { columns, bytes, cells, arrays: OnceLock::new() })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.columns.schema
    }

    /// The type and the bytes of a value that is not null.
    #[inline]
    pub(crate) fn value(&self, column: usize) -> Option<(&DataType, &[u8])> {
        let range = self.cells.get(column)?.as_ref()?;
        Some((self.columns.schema.field(column).data_type(), &self.bytes[usize_range(range)]))
    }

    /// A column as an array of one value.
    pub(crate) fn array(&self, column: usize) -> Result<&ArrayRef> {
        let arrays = match self.arrays.get() {
            Some(arrays) => arrays,
            None => {
                let cells = self.columns.schema.fields().iter().zip(&self.cells);
                let arrays = cells.map(|(field, cell)| {
                    let bytes = cell.as_ref().map(|range| &self.bytes[usize_range(range)]);
                    array_of(field.data_type(), bytes).ok_or_else(|| {
                        Error::internal(format!(
                            "the sidecar sent bytes that are not a value of column `{}`",
                            field.name()
                        ))
                    })
                });
                let arrays = arrays.collect::<Result<_>>()?;
                self.arrays.get_or_init(|| arrays)
            }
        };
        arrays.get(column).ok_or_else(|| Error::internal("no such column"))
    }
}

fn usize_range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// An array of one value; `None` if the bytes are not a value of the type.
fn array_of(data_type: &DataType, bytes: Option<&[u8]>) -> Option<ArrayRef> {
    use DataType as T;
    let Some(bytes) = bytes else { return Some(new_null_array(data_type, 1)) };
    let text = || std::str::from_utf8(bytes).ok();
    Some(match data_type {
        T::Boolean => Arc::new(BooleanArray::from(vec![bytes == [1]])),
        T::Utf8 => Arc::new(StringArray::from_iter_values([text()?])),
        T::LargeUtf8 => Arc::new(LargeStringArray::from_iter_values([text()?])),
        T::Utf8View => Arc::new(StringViewArray::from_iter_values([text()?])),
        T::Binary => Arc::new(BinaryArray::from_iter_values([bytes])),
        T::LargeBinary => Arc::new(LargeBinaryArray::from_iter_values([bytes])),
        T::BinaryView => Arc::new(BinaryViewArray::from_iter_values([bytes])),
        other => {
            // Aligned for every type.
            let mut buffer = MutableBuffer::with_capacity(bytes.len());
            buffer.extend_from_slice(bytes);
            make_array(ArrayData::builder(other.clone()).len(1).add_buffer(buffer.into()).build().ok()?)
        }
    })
}

/// Appends a value of an array.
///
/// # Errors
/// [`ErrorCode::Unsupported`] for types whose values are not sent as cells.
pub(crate) fn push_cell(out: &mut Vec<u8>, array: &dyn Array, index: usize) -> Result<()> {
    if CellKind::of(array.data_type()).is_none() {
        return Err(Error::new(
            ErrorCode::Unsupported,
            format!("values of {} are not sent as cells; ask for the row by another call", array.data_type()),
        ));
    }
    if array.is_null(index) {
        out.push(0);
        return Ok(());
    }
    out.push(1);
    let mut text = |bytes: &[u8]| {
        let len = u32::try_from(bytes.len())
            .map_err(|_| Error::new(ErrorCode::Unsupported, "a value is too long to be sent as a cell"))?;
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(bytes);
        Ok(())
    };
    downcast_primitive_array!(
        array => out.extend_from_slice(array.value(index).to_byte_slice()),
        DataType::Boolean => out.push(array.as_boolean().value(index).into()),
        DataType::Utf8 => text(array.as_string::<i32>().value(index).as_bytes())?,
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(index).as_bytes())?,
        DataType::Utf8View => text(array.as_string_view().value(index).as_bytes())?,
        DataType::Binary => text(array.as_binary::<i32>().value(index))?,
        DataType::LargeBinary => text(array.as_binary::<i64>().value(index))?,
        DataType::BinaryView => text(array.as_binary_view().value(index))?,
        DataType::FixedSizeBinary(_) => out.extend_from_slice(array.as_fixed_size_binary().value(index)),
        other => return Err(Error::internal(format!("{other} has no cells"))),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Date32Array, Decimal128Array, FixedSizeBinaryArray, Float16Array, Int16Array,
        IntervalMonthDayNanoArray, RecordBatch, TimestampMicrosecondArray, UInt64Array,
    };
    use arrow::datatypes::IntervalMonthDayNano;

    use super::*;

    /// A value and a null of many types.
    fn batch() -> RecordBatch {
        let text = [Some("grüße"), None];
        let bytes = [Some(&[0_u8, 255][..]), None];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(BooleanArray::from(vec![Some(true), None])),
            Arc::new(Int16Array::from(vec![Some(-3), None])),
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])),
            Arc::new(Float16Array::from(
                vec![Some(1.5_f32), None].into_iter().map(|v| v.map(half)).collect::<Vec<_>>(),
            )),
            Arc::new(
                Decimal128Array::from(vec![Some(-12_345), None]).with_precision_and_scale(20, 3).unwrap(),
            ),
            Arc::new(Date32Array::from(vec![Some(15_706), None])),
            Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone("Europe/Berlin")),
            Arc::new(IntervalMonthDayNanoArray::from(vec![Some(IntervalMonthDayNano::new(1, -2, 3)), None])),
            Arc::new(StringArray::from_iter(text)),
            Arc::new(LargeStringArray::from_iter(text)),
            Arc::new(StringViewArray::from_iter(text)),
            Arc::new(BinaryArray::from_iter(bytes)),
            Arc::new(LargeBinaryArray::from_iter(bytes)),
            Arc::new(BinaryViewArray::from_iter(bytes)),
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes.into_iter(), 2).unwrap()),
        ];
        let named = columns.into_iter().enumerate().map(|(n, column)| (n.to_string(), column, true));
        RecordBatch::try_from_iter_with_nullable(named).unwrap()
    }

    fn half(value: f32) -> <arrow::datatypes::Float16Type as arrow::array::ArrowPrimitiveType>::Native {
        <arrow::datatypes::Float16Type as arrow::array::ArrowPrimitiveType>::Native::from_f32(value)
    }

    fn cells(batch: &RecordBatch, row: usize) -> Vec<u8> {
        let mut bytes = vec![9];
        batch.columns().iter().for_each(|column| push_cell(&mut bytes, column, row).unwrap());
        bytes
    }

    #[test]
    fn values_of_every_type_come_back_as_they_were() {
        let batch = batch();
        let columns = Arc::new(CellColumns::of(&batch.schema()).unwrap());
        for row in 0..2 {
            let sent = SentRow::decode(columns.clone(), cells(&batch, row), 1).unwrap();
            for (number, column) in batch.columns().iter().enumerate() {
                assert_eq!(sent.array(number).unwrap(), &column.slice(row, 1), "column {number}");
                assert_eq!(sent.value(number).is_none(), row == 1, "column {number}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_row_are_none() {
        let batch = batch();
        let columns = Arc::new(CellColumns::of(&batch.schema()).unwrap());
        let bytes = cells(&batch, 0);
        for len in 1..bytes.len() {
            assert!(SentRow::decode(columns.clone(), bytes[..len].to_vec(), 1).is_none(), "{len}");
        }
        assert!(SentRow::decode(columns, [&bytes[..], &[0]].concat(), 1).is_none(), "too long");
    }

    /// 0xFF is noticed in a length, and in a text once the value is read. Elsewhere it changes the value of its own column
    /// only.
    #[test]
    fn a_byte_that_was_changed_is_an_error_or_changes_its_own_value_only() {
        use DataType as T;
        let batch = batch();
        let columns = Arc::new(CellColumns::of(&batch.schema()).unwrap());
        let bytes = cells(&batch, 0);
        let mut start = 1;
        for (number, column) in batch.columns().iter().enumerate() {
            let mut cell = Vec::new();
            push_cell(&mut cell, column, 0).unwrap();
            let has_len = matches!(columns.kinds[number], CellKind::Text);
            let value_start = if has_len { 5 } else { 1 };
            for at in 0..cell.len() {
                let mut changed = bytes.clone();
                changed[start + at] = 0xFF;
                let row = SentRow::decode(columns.clone(), changed.clone(), 1);
                if (1..value_start).contains(&at) {
                    assert!(row.is_none(), "byte {at} of the length of column {number}");
                    continue;
                }
                let row = row.unwrap();
                for (other, column) in batch.columns().iter().enumerate() {
                    let (_, found) = row.value(other).unwrap();
                    if other == number {
                        assert_eq!(found, &changed[start + value_start..start + cell.len()]);
                    } else if let Ok(array) = row.array(other) {
                        assert_eq!(
                            array,
                            &column.slice(0, 1),
                            "column {other}; byte {at} of {number} changed"
                        );
                    }
                }
                let is_text = matches!(column.data_type(), T::Utf8 | T::LargeUtf8 | T::Utf8View);
                if is_text && at >= value_start {
                    let error = row.array(number).unwrap_err();
                    assert_eq!(error.code(), ErrorCode::Internal);
                    assert!(error.message().contains(&format!("column `{number}`")), "{error}");
                } else {
                    row.array(number).unwrap();
                }
            }
            start += cell.len();
        }
        assert_eq!(start, bytes.len());
    }

    #[test]
    fn nested_values_have_no_cells() {
        let list =
            arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>([Some([
                Some(1),
            ])]);
        let batch = RecordBatch::try_from_iter([("l", Arc::new(list) as ArrayRef)]).unwrap();
        assert!(CellColumns::of(&batch.schema()).is_none());
        let error = push_cell(&mut Vec::new(), batch.column(0), 0).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unsupported);
    }
}
