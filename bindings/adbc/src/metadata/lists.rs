//! Nested columns of the answers.

use std::sync::Arc;

use adbc_core::error::{Result, Status};
use arrow::array::{ArrayRef, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;

use crate::errors::refusal;

/// A struct of a declared type from its columns.
///
/// # Errors
/// [`Status::Internal`] for other columns.
pub(super) fn structs(data_type: &DataType, columns: Vec<ArrayRef>) -> Result<ArrayRef> {
    let DataType::Struct(fields) = data_type else { return Err(wrong(data_type)) };
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None)?))
}

/// Lists of a declared item type over their items, one after another; `None` is a null.
///
/// # Errors
/// [`Status::Internal`] for other items.
pub(super) fn lists(
    list_type: &DataType,
    lens: impl IntoIterator<Item = Option<usize>>,
    items: ArrayRef,
) -> Result<ArrayRef> {
    let DataType::List(field) = list_type else { return Err(wrong(list_type)) };
    let lens: Vec<Option<usize>> = lens.into_iter().collect();
    let valid: NullBuffer = lens.iter().map(Option::is_some).collect::<Vec<bool>>().into();
    let offsets = OffsetBuffer::from_lengths(lens.into_iter().map(Option::unwrap_or_default));
    Ok(Arc::new(ListArray::try_new(
        field.clone(),
        offsets,
        items,
        Some(valid).filter(|valid| valid.null_count() > 0),
    )?))
}

/// The type of a field of a struct.
///
/// # Errors
/// [`Status::Internal`] if there is no such field.
pub(super) fn field_type<'a>(data_type: &'a DataType, name: &str) -> Result<&'a DataType> {
    let DataType::Struct(fields) = data_type else { return Err(wrong(data_type)) };
    let (_, field) = fields.find(name).ok_or_else(|| wrong(data_type))?;
    Ok(field.data_type())
}

fn wrong(data_type: &DataType) -> adbc_core::error::Error {
    refusal(Status::Internal, format!("ADBC declares other columns than {data_type}"))
}
