//! Arrays over buffers that lie somewhere already; nothing is read or copied to make them.
//!
//! This is one of the files of storage that hold unsafe code.
#![expect(
    unsafe_code,
    reason = "arrays over bytes of others cannot be validated without reading all of them"
)]

use arrow::array::{ArrayData, ArrayRef, BufferSpec, layout, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::DataType;

/// What describes one array beside its buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// Values.
    pub(crate) len: usize,
    /// Nulls among them.
    pub(crate) nulls: usize,
    /// Bit of the first value in the buffer of booleans; 0 for other types.
    pub(crate) first_bit: usize,
    /// Bit of the first value in the validity bitmap.
    pub(crate) first_validity_bit: usize,
    /// Data buffers of an array of views.
    pub(crate) data_buffers: usize,
}

/// Gives the parts of arrays one after another, in the depth-first order of Arrow IPC.
pub(crate) trait Parts {
    /// The next array.
    fn node(&mut self, data_type: &DataType) -> Result<Node, String>;

    /// Its validity bitmap, asked for every array but those of type Null; `None` if it is not `needed`.
    fn validity(&mut self, needed: bool) -> Result<Option<Buffer>, String>;

    /// The next of its other buffers.
    fn buffer(&mut self) -> Result<Buffer, String>;
}

/// The next array of `parts`, which is of this type. Its lengths are checked against its buffers; its contents are not
/// read.
///
/// # Errors
/// A description of what does not fit.
///
/// # Safety
/// Before anyone reads a value, the contents of the buffers are those of a valid array of the type: offsets and views
/// ascend within their buffers, texts are UTF-8, keys of dictionaries are within their values.
pub(crate) unsafe fn assemble(data_type: &DataType, parts: &mut impl Parts) -> Result<ArrayRef, String> {
    array_data(data_type, parts).map(make_array)
}

/// Whether arrays of a type can be assembled.
pub(crate) fn can_assemble(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::RunEndEncoded(..) | T::Union(..) | T::ListView(_) | T::LargeListView(_) => false,
        T::List(child) | T::LargeList(child) | T::FixedSizeList(child, _) | T::Map(child, _) => {
            can_assemble(child.data_type())
        }
        T::Struct(fields) => fields.iter().all(|field| can_assemble(field.data_type())),
        T::Dictionary(_, values) => can_assemble(values),
        _ => true,
    }
}

/// Whether the first buffer of an array holds one offset more than there are values.
pub(crate) fn has_offsets(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Utf8 | T::LargeUtf8 | T::Binary | T::LargeBinary | T::List(_) | T::LargeList(_) | T::Map(_, _)
    )
}

fn array_data(data_type: &DataType, parts: &mut impl Parts) -> Result<ArrayData, String> {
    let Node { len, nulls, first_bit, first_validity_bit, data_buffers } = parts.node(data_type)?;
    if nulls > len {
        return Err("an array has more nulls than values".to_owned());
    }
    if first_bit > 0 && !matches!(data_type, DataType::Boolean) {
        return Err("an array begins within its buffers".to_owned());
    }
    let mut data = ArrayData::builder(data_type.clone()).len(len).offset(first_bit);
    if !matches!(data_type, DataType::Null)
        && let Some(bits) = parts.validity(nulls > 0)?
    {
        need(&bits, bytes_of_bits(first_validity_bit, len)?, 1)?;
        let bits = BooleanBuffer::new(bits, first_validity_bit, len);
        // SAFETY: the number of nulls must be that of the bits; it is a part of the contents, for which see below.
        data = data.nulls(Some(unsafe { NullBuffer::new_unchecked(bits, nulls) }));
    }
    let layout = layout(data_type);
    for spec in &layout.buffers {
        let buffer = parts.buffer()?;
        match spec {
            BufferSpec::FixedWidth { byte_width, alignment } => {
                let values = if has_offsets(data_type) && len > 0 { len.checked_add(1) } else { Some(len) };
                let needed = values.and_then(|values| values.checked_mul(*byte_width));
                need(&buffer, needed.ok_or("an array is too long")?, *alignment)?;
            }
            BufferSpec::BitMap => need(&buffer, bytes_of_bits(first_bit, len)?, 1)?,
            BufferSpec::VariableWidth | BufferSpec::AlwaysNull => {}
        }
        data = data.add_buffer(buffer);
    }
    if layout.variadic {
        for _ in 0..data_buffers {
            data = data.add_buffer(parts.buffer()?);
        }
    }
    match data_type {
        DataType::List(child) | DataType::LargeList(child) | DataType::Map(child, _) => {
            data = data.add_child_data(array_data(child.data_type(), parts)?);
        }
        DataType::FixedSizeList(child, width) => {
            let child = array_data(child.data_type(), parts)?;
            let width = usize::try_from(*width).map_err(|_| "a list of negative length")?;
            if len.checked_mul(width).is_none_or(|needed| child.len() < needed) {
                return Err("an array is shorter than the one that it is part of".to_owned());
            }
            data = data.add_child_data(child);
        }
        DataType::Struct(fields) => {
            for field in fields {
                let child = array_data(field.data_type(), parts)?;
                if child.len() != len {
                    return Err("an array has another length than the one that it is part of".to_owned());
                }
                data = data.add_child_data(child);
            }
        }
        DataType::Dictionary(_, values) => data = data.add_child_data(array_data(values, parts)?),
        _ if !can_assemble(data_type) => return Err(format!("{data_type} is not shared")),
        _ => {}
    }
    // Whoever gives the parts vouches for the contents (offsets in order and in bounds, UTF-8, views and dictionary
    // keys in bounds). For segments that is their writer, which encoded a valid array; a reader gets the array only
    // after its checksums are verified, unless the reader follows that writer. For answers it is the sidecar, which
    // describes arrays of its own, in memory that only it can write.
    // SAFETY: buffers of sufficient length and alignment, and children of its length, were checked above; the contents
    // are valid before anyone reads them, as `assemble` demands.
    Ok(unsafe { data.build_unchecked() })
}

fn bytes_of_bits(first: usize, len: usize) -> Result<usize, String> {
    Ok(first.checked_add(len).ok_or("an array is too long")?.div_ceil(8))
}

fn need(buffer: &Buffer, len: usize, alignment: usize) -> Result<(), String> {
    if buffer.len() < len {
        return Err("a buffer is too short for its array".to_owned());
    }
    if len > 0 && buffer.as_ptr().align_offset(alignment) != 0 {
        return Err("a buffer is not aligned".to_owned());
    }
    Ok(())
}
