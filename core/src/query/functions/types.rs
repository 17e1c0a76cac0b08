//! How large a type may be.
//!
//! Functions that read, compare, hash and show types call themselves for each level. A value of fixed size takes its
//! space even where it is null.

use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;

use super::super::watch;
use crate::types::error::{Error, ErrorCode};

/// Deepest nesting of types.
pub(super) const LEVELS_MAX: usize = 64;
/// Most fields of a type, those of its fields included.
const FIELDS_MAX: usize = 4_096;
/// Most bytes that a value may take whatever it is.
const FIXED_MAX: usize = 16 << 10;

/// Whether a type is of a size that queries handle.
///
/// # Errors
/// [`ErrorCode::InvalidSql`].
pub(in crate::query) fn check_type(data_type: &DataType) -> Result<(), DataFusionError> {
    if !data_type.is_nested() && !matches!(data_type, DataType::FixedSizeBinary(_) | DataType::Dictionary(..))
    {
        return Ok(());
    }
    let mut fields = 0;
    if measure(data_type, LEVELS_MAX, &mut fields).is_some_and(|fixed| fixed <= FIXED_MAX) {
        return Ok(());
    }
    Err(too_large())
}

/// Checks the text of a type before it is parsed.
///
/// # Errors
/// [`ErrorCode::InvalidSql`].
pub(super) fn check_text(text: &str) -> Result<(), DataFusionError> {
    let mut open = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'(' | b'<' | b'[' => open += 1,
            b')' | b'>' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > LEVELS_MAX {
            return Err(too_large());
        }
    }
    Ok(())
}

/// Bytes that a value takes even if it is null; `None` for a type that is too deep or has too many fields.
fn measure(data_type: &DataType, levels: usize, fields: &mut usize) -> Option<usize> {
    *fields += 1;
    if levels == 0 || *fields > FIELDS_MAX {
        return None;
    }
    let mut inner = |data_type: &DataType| measure(data_type, levels - 1, fields);
    Some(match data_type {
        DataType::FixedSizeBinary(len) => usize::try_from(*len).ok()?,
        DataType::FixedSizeList(field, len) => {
            inner(field.data_type())?.checked_mul(usize::try_from(*len).ok()?)?
        }
        DataType::Struct(fields) => {
            let mut sum = 0_usize;
            for field in fields {
                sum = sum.checked_add(inner(field.data_type())?)?;
            }
            sum
        }
        DataType::Union(fields, _) => {
            let mut sum = 0_usize;
            for (_, field) in fields.iter() {
                sum = sum.checked_add(inner(field.data_type())?)?;
            }
            sum
        }
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _) => {
            inner(field.data_type())?;
            16
        }
        DataType::Dictionary(_, values) => inner(values)?,
        DataType::RunEndEncoded(_, values) => inner(values.data_type())?,
        other => other.primitive_width().unwrap_or(16),
    })
}

fn too_large() -> DataFusionError {
    let message = format!(
        "a type has at most {LEVELS_MAX} levels and {FIELDS_MAX} fields, and at most {FIXED_MAX} bytes of fixed size"
    );
    watch::refuse(Error::new(ErrorCode::InvalidSql, message))
}
