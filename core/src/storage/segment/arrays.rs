//! The arrays of a segment, over its mapped buffers.
#![expect(
    unsafe_code,
    reason = "the pages under an array are checked before its values are read, which only this crate knows"
)]

use arrow::array::{Array, ArrayRef};
use arrow::buffer::Buffer;
use arrow::datatypes::{
    DECIMAL32_MAX_PRECISION, DECIMAL64_MAX_PRECISION, DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION,
    DataType, Field, FieldRef,
};

use super::directory::{BatchPositions, Section};
use super::prefetch::CellPlace;
use crate::storage::format::SEGMENT_ALIGNMENT;
use crate::storage::mapped::assemble::{Node, Parts, assemble};
use crate::storage::mapped::region::Region;

/// An array of a batch and the part of the batch's buffers that it stands in.
#[derive(Debug)]
pub(crate) struct MappedColumn {
    /// The array. Its bytes must not be read before their pages are verified.
    pub(crate) array: ArrayRef,
    /// Its buffers, children's included, as indices of [`BatchPositions::buffers`].
    pub(crate) buffers: std::ops::Range<usize>,
    /// Where a lookup will read, for prefetching.
    pub(super) place: CellPlace,
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
            T::FixedSizeList(_, 0) => Err("lists of no elements are not storable".to_owned()),
            T::FixedSizeList(_, ..0) | T::FixedSizeBinary(..0) => {
                Err("a width below zero is not storable".to_owned())
            }
            // The column would have another type when it is read again.
            T::Timestamp(_, Some(zone)) if zone.is_empty() => {
                Err("a time zone without a name is not storable; name it, or leave it out".to_owned())
            }
            T::FixedSizeBinary(0) => Err("values of no bytes are not storable".to_owned()),
            T::Decimal32(precision, scale) => check_decimal(*precision, *scale, DECIMAL32_MAX_PRECISION),
            T::Decimal64(precision, scale) => check_decimal(*precision, *scale, DECIMAL64_MAX_PRECISION),
            T::Decimal128(precision, scale) => check_decimal(*precision, *scale, DECIMAL128_MAX_PRECISION),
            T::Decimal256(precision, scale) => check_decimal(*precision, *scale, DECIMAL256_MAX_PRECISION),
            T::Map(entries, _) if entries.is_nullable() || has_nullable_key(entries) => {
                Err("entries and keys of a map must not be nullable; declare them so".to_owned())
            }
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

fn check_decimal(precision: u8, scale: i8, most: u8) -> Result<(), String> {
    // The most digits also bound the scale, above and below zero.
    if precision == 0 || precision > most {
        return Err(format!("decimals have 1 to {most} digits here"));
    }
    let is_within = scale.unsigned_abs() <= most && (scale < 0 || scale.unsigned_abs() <= precision);
    if is_within { Ok(()) } else { Err("the scale is beyond the digits".to_owned()) }
}

fn has_nullable_key(entries: &Field) -> bool {
    match entries.data_type() {
        DataType::Struct(fields) => fields.first().is_none_or(|key| key.is_nullable()),
        _ => true,
    }
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
    let mut parts = StoredParts { positions, region, node: 0, buffer: 0, variadic: 0 };
    let columns = fields
        .iter()
        .map(|field| {
            let start = parts.buffer;
            // SAFETY: the bytes are those of an array that our writer wrote. Nobody reads a value before its page was
            // compared with its checksum (`Segment` hands out no array before that), and the positions are from the
            // checked directory.
            let array = unsafe { assemble(field.data_type(), &mut parts) }?;
            if array.len() as u64 != positions.rows {
                return Err("a column has another length than its batch".to_owned());
            }
            let buffers = start..parts.buffer;
            let place = CellPlace::new(field.data_type(), &positions.buffers[buffers.clone()]);
            Ok(MappedColumn { array, buffers, place })
        })
        .collect::<Result<_, _>>()?;
    if parts.node != positions.nodes.len() || parts.buffer != positions.buffers.len() {
        return Err("a batch has more buffers than its schema".to_owned());
    }
    Ok(columns)
}

/// Nodes and buffers as the directory lists them.
struct StoredParts<'a> {
    positions: &'a BatchPositions,
    region: &'a Region,
    node: usize,
    buffer: usize,
    variadic: usize,
}

impl StoredParts<'_> {
    fn next_section(&mut self) -> Result<Section, String> {
        let section = self.positions.buffers.get(self.buffer).ok_or("a batch lacks buffers of its schema")?;
        self.buffer += 1;
        Ok(*section)
    }

    fn mapped(&self, section: Section) -> Result<Buffer, String> {
        let (Ok(offset), Ok(len)) = (usize::try_from(section.offset), usize::try_from(section.len)) else {
            return Err("a buffer is out of bounds".to_owned());
        };
        if offset % SEGMENT_ALIGNMENT != 0 {
            return Err("a buffer is not aligned".to_owned());
        }
        self.region.buffer(offset, len).ok_or_else(|| "a buffer is out of bounds".to_owned())
    }
}

impl Parts for StoredParts<'_> {
    fn node(&mut self, data_type: &DataType) -> Result<Node, String> {
        let &(len, nulls) =
            self.positions.nodes.get(self.node).ok_or("a batch lacks arrays of its schema")?;
        self.node += 1;
        let data_buffers = if matches!(data_type, DataType::Utf8View | DataType::BinaryView) {
            let count = self.positions.variadic.get(self.variadic);
            self.variadic += 1;
            usize::try_from(*count.ok_or("a view array lacks its buffer count")?).unwrap_or(usize::MAX)
        } else {
            0
        };
        Ok(Node {
            len: usize::try_from(len).map_err(|_| "an array is too long")?,
            nulls: usize::try_from(nulls).map_err(|_| "an array has too many nulls")?,
            data_buffers,
            ..Node::default()
        })
    }

    fn validity(&mut self, needed: bool) -> Result<Option<Buffer>, String> {
        let section = self.next_section()?;
        needed.then(|| self.mapped(section)).transpose()
    }

    fn buffer(&mut self) -> Result<Buffer, String> {
        let section = self.next_section()?;
        self.mapped(section)
    }
}
