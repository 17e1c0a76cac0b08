//! Arrays over the mapped buffers of a segment; nothing is read or copied to make them.
//!
//! This is one of the three files of storage that hold unsafe code.
#![expect(unsafe_code, reason = "arrays over mapped bytes cannot be validated without reading all of them")]

use arrow::array::{ArrayData, ArrayRef, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, FieldRef};

use super::directory::{BatchPositions, Section};
use crate::storage::format::SEGMENT_ALIGNMENT;
use crate::storage::region::Region;

/// An array of a batch and the part of the batch's buffers that it stands in.
#[derive(Debug)]
pub(crate) struct MappedColumn {
    /// The array. Its bytes must not be read before their pages are verified.
    pub(crate) array: ArrayRef,
    /// Its buffers, children's included, as indices of [`BatchPositions::buffers`].
    pub(crate) buffers: std::ops::Range<usize>,
}

/// Whether a column of this type can be stored, with advice if not.
pub(crate) fn check_storable(field: &Field) -> Result<(), String> {
    fn check(data_type: &DataType, nested: bool) -> Result<(), String> {
        use DataType as T;
        match data_type {
            T::Utf8View | T::BinaryView if nested => {
                Err("string views inside a nested column are not storable; cast to Utf8 or Binary".to_owned())
            }
            T::Dictionary(_, value) => Err(format!("dictionaries are not storable; cast to {value}")),
            T::RunEndEncoded(_, value) => {
                Err(format!("run-end encoding is not storable; cast to {}", value.data_type()))
            }
            T::Union(..) | T::ListView(_) | T::LargeListView(_) => Err("not storable".to_owned()),
            T::Struct(fields) => fields.iter().try_for_each(|field| check(field.data_type(), true)),
            T::List(child) | T::LargeList(child) | T::FixedSizeList(child, _) | T::Map(child, _) => {
                check(child.data_type(), true)
            }
            _ => Ok(()),
        }
    }
    check(field.data_type(), false)
        .map_err(|reason| format!("column `{}` is {}: {reason}", field.name(), field.data_type()))
}

/// The arrays of a batch.
///
/// # Errors
/// A description of what in `positions` does not fit the fields or the region.
pub(crate) fn map_columns(
    fields: &[FieldRef],
    positions: &BatchPositions,
    region: &Region,
) -> Result<Vec<MappedColumn>, String> {
    let mut cursor = Cursor { positions, region, node: 0, buffer: 0, variadic: 0 };
    let columns = fields
        .iter()
        .map(|field| {
            let start = cursor.buffer;
            let data = cursor.array(field.data_type())?;
            if data.len() as u64 != positions.rows {
                return Err("a column has another length than its batch".to_owned());
            }
            Ok(MappedColumn { array: make_array(data), buffers: start..cursor.buffer })
        })
        .collect::<Result<_, _>>()?;
    if cursor.node != positions.nodes.len() || cursor.buffer != positions.buffers.len() {
        return Err("a batch has more buffers than its schema".to_owned());
    }
    Ok(columns)
}

/// Walks nodes and buffers in the order in which Arrow IPC lists them.
struct Cursor<'a> {
    positions: &'a BatchPositions,
    region: &'a Region,
    node: usize,
    buffer: usize,
    variadic: usize,
}

impl Cursor<'_> {
    fn array(&mut self, data_type: &DataType) -> Result<ArrayData, String> {
        let &(len, nulls) =
            self.positions.nodes.get(self.node).ok_or("a batch lacks arrays of its schema")?;
        self.node += 1;
        let len = usize::try_from(len).map_err(|_| "an array is too long")?;
        let nulls = usize::try_from(nulls).map_err(|_| "an array has too many nulls")?;
        if nulls > len {
            return Err("an array has more nulls than values".to_owned());
        }
        let mut data = ArrayData::builder(data_type.clone()).len(len).null_count(nulls);
        if !matches!(data_type, DataType::Null) {
            let validity = self.next_buffer(if nulls > 0 { len.div_ceil(8) } else { 0 })?;
            data = data.null_bit_buffer((nulls > 0).then_some(validity));
        }
        let layout = arrow::array::layout(data_type);
        for spec in &layout.buffers {
            use arrow::array::BufferSpec as B;
            let needed = match spec {
                B::FixedWidth { byte_width, .. } => {
                    // Offsets number one more than values.
                    let values = if has_offsets(data_type) && len > 0 { len + 1 } else { len };
                    values.checked_mul(*byte_width).ok_or("an array is too long")?
                }
                B::BitMap => len.div_ceil(8),
                B::VariableWidth | B::AlwaysNull => 0,
            };
            data = data.add_buffer(self.next_buffer(needed)?);
        }
        if layout.variadic {
            let count =
                *self.positions.variadic.get(self.variadic).ok_or("a view array lacks its buffer count")?;
            self.variadic += 1;
            for _ in 0..count {
                data = data.add_buffer(self.next_buffer(0)?);
            }
        }
        match data_type {
            DataType::List(child)
            | DataType::LargeList(child)
            | DataType::FixedSizeList(child, _)
            | DataType::Map(child, _) => data = data.add_child_data(self.array(child.data_type())?),
            DataType::Struct(fields) => {
                for field in fields {
                    data = data.add_child_data(self.array(field.data_type())?);
                }
            }
            _ => {}
        }
        // SAFETY: an array needs buffers of sufficient length and alignment: both were checked above, and by
        // `next_buffer`. It needs valid contents (offsets in order and in bounds, UTF-8, views in bounds): the
        // writer of the segment encoded a valid array, and the pages that hold the contents are verified against
        // their checksums before anything reads them (`Segment` hands out no array before).
        Ok(unsafe { data.build_unchecked() })
    }

    fn next_buffer(&mut self, needed: usize) -> Result<Buffer, String> {
        let section =
            *self.positions.buffers.get(self.buffer).ok_or("a batch lacks buffers of its schema")?;
        self.buffer += 1;
        let Section { offset, len } = section;
        let (Ok(offset), Ok(len)) = (usize::try_from(offset), usize::try_from(len)) else {
            return Err("a buffer is out of bounds".to_owned());
        };
        if offset % SEGMENT_ALIGNMENT != 0 {
            return Err("a buffer is not aligned".to_owned());
        }
        if len < needed {
            return Err("a buffer is too short for its array".to_owned());
        }
        self.region.buffer(offset, len).ok_or_else(|| "a buffer is out of bounds".to_owned())
    }
}

fn has_offsets(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Utf8 | T::LargeUtf8 | T::Binary | T::LargeBinary | T::List(_) | T::LargeList(_) | T::Map(_, _)
    )
}
