//! Types that tables store, and arrays of other types as arrays of these: dictionaries and runs become their values.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;

use crate::types::decoded_len::converted_len;
use crate::types::panics;

/// The most bytes that values of one batch and column take after [`convert`]. Few bytes can stand for very many: runs, nulls, and
/// lists without items.
const CONVERTED_LEN_MAX: u64 = 1 << 30;
/// More bytes than this are converted in several pieces.
const PIECE_LEN_MAX: u64 = 64 << 20;

/// The type in which a table stores values: without dictionaries, runs, list views, and without views of texts and bytes that
/// are within another type.
pub(crate) fn stored(of: &DataType) -> DataType {
    use DataType as T;
    match of {
        T::Dictionary(_, values) => stored(values),
        T::RunEndEncoded(_, values) => stored(values.data_type()),
        T::Utf8View | T::BinaryView => of.clone(),
        nested => decoded(nested),
    }
}

/// The type without any encoding: as [`stored`], and without views.
pub(crate) fn decoded(of: &DataType) -> DataType {
    use DataType as T;
    let inner =
        |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(decoded(field.data_type())));
    match of {
        T::Dictionary(_, values) => decoded(values),
        T::RunEndEncoded(_, values) => decoded(values.data_type()),
        T::Utf8View => T::Utf8,
        T::BinaryView => T::Binary,
        T::List(field) | T::ListView(field) => T::List(inner(field)),
        T::LargeList(field) | T::LargeListView(field) => T::LargeList(inner(field)),
        T::FixedSizeList(field, len) => T::FixedSizeList(inner(field), *len),
        T::Struct(fields) => T::Struct(fields.iter().map(inner).collect()),
        T::Map(field, is_sorted) => T::Map(inner(field), *is_sorted),
        other => other.clone(),
    }
}

/// Whether a table stores values of a type in another one.
pub(crate) fn is_encoded(of: &DataType) -> bool {
    use DataType as T;
    match of {
        T::Dictionary(..) | T::RunEndEncoded(..) | T::ListView(_) | T::LargeListView(_) => true,
        T::List(field) | T::LargeList(field) | T::FixedSizeList(field, _) | T::Map(field, _) => {
            is_encoded_within(field)
        }
        T::Struct(fields) => fields.iter().any(is_encoded_within),
        _ => false,
    }
}

fn is_encoded_within(field: &FieldRef) -> bool {
    matches!(field.data_type(), DataType::Utf8View | DataType::BinaryView) || is_encoded(field.data_type())
}

/// Whether [`convert`] makes values of one type values of the other.
pub(crate) fn is_convertible(from: &DataType, to: &DataType) -> bool {
    from == to || can_cast_types(from, to) || can_cast_types(&decoded(from), to)
}

/// How many of the next rows are converted at a time, at most `most`: as many as take a moderate amount of memory, and one at
/// least. `len` says how many bytes so many of them take.
pub(crate) fn rows_at_once(most: usize, len: impl Fn(usize) -> u64) -> usize {
    let mut rows = most;
    while rows > 1 && len(rows) > PIECE_LEN_MAX {
        rows = rows.div_ceil(2);
    }
    rows
}

/// Refuses to make room for so many bytes: a process that gets no memory ends.
///
/// # Errors
/// If there are too many of them.
pub(super) fn check_len(len: u64) -> Result<(), ArrowError> {
    if len <= CONVERTED_LEN_MAX {
        return Ok(());
    }
    let message = format!(
        "they would take {len} bytes, and those of one column and batch may take {CONVERTED_LEN_MAX}"
    );
    Err(ArrowError::ComputeError(message))
}

/// Values of one type as those of another: decoded first, then widened.
///
/// # Errors
/// If a value does not fit, if Arrow cannot convert the type, or if the values would take more than a GiB.
pub(crate) fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    check_len(converted_len(array, to))?;
    // Not `safe`, which would make nulls of values that do not fit.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    // Arrow panics where texts have more bytes than the type can hold.
    let panicked = || ArrowError::ComputeError("the values are too long for one array".to_owned());
    panics::catch(
        || {
            if can_cast_types(array.data_type(), to) {
                return cast_with_options(array, to, &options);
            }
            let plain = cast_with_options(array, &decoded(array.data_type()), &options)?;
            cast_with_options(&plain, to, &options)
        },
        panicked,
    )
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Int32Array, Int64Array, NullArray, RunArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn dictionaries_runs_and_views_are_decoded_at_any_depth() {
        use DataType as T;
        let dictionary = |of| T::Dictionary(Box::new(T::Int8), Box::new(of));
        let list = |inner| T::List(Arc::new(Field::new("item", inner, true)));
        let list_view = |inner| T::ListView(Arc::new(Field::new("item", inner, true)));
        let of = |inner| T::Struct(vec![Field::new("a", inner, true)].into());
        let cases = [
            (dictionary(T::LargeUtf8), T::LargeUtf8, T::LargeUtf8),
            (dictionary(T::Utf8View), T::Utf8View, T::Utf8),
            (T::Utf8View, T::Utf8View, T::Utf8),
            (list(dictionary(T::Utf8View)), list(T::Utf8), list(T::Utf8)),
            (list_view(T::BinaryView), list(T::Binary), list(T::Binary)),
            (of(list(dictionary(T::Int32))), of(list(T::Int32)), of(list(T::Int32))),
            (of(T::Int8), of(T::Int8), of(T::Int8)),
        ];
        for (found, expected, plain) in cases {
            assert_eq!((stored(&found), decoded(&found)), (expected.clone(), plain), "{found}");
            assert_eq!(is_encoded(&found), expected != found, "{found}");
            assert!(is_convertible(&found, &expected), "{found}");
        }
    }

    #[test]
    fn few_bytes_do_not_become_more_than_there_is_room_for() {
        let nulls: ArrayRef = Arc::new(NullArray::new(1 << 34));
        let refused = convert(&nulls, &DataType::Int64).unwrap_err().to_string();
        assert!(refused.contains("would take 137438953472 bytes"), "{refused}");
        let ends = Int32Array::from(vec![i32::MAX]);
        let runs: ArrayRef = Arc::new(RunArray::try_new(&ends, &Int64Array::from(vec![7])).unwrap());
        let refused = convert(&runs, &DataType::Int64).unwrap_err().to_string();
        assert!(refused.contains("may take 1073741824"), "{refused}");
        assert_eq!(convert(&runs.slice(5, 1000), &DataType::Int64).unwrap().len(), 1000);
        let of_item = |rows: usize| 8 * rows as u64;
        assert_eq!((rows_at_once(1000, of_item), rows_at_once(1 << 34, of_item)), (1000, 8 << 20));
        assert_eq!(rows_at_once(1 << 40, |_| u64::MAX), 1, "a single row is left to `convert`");
    }
}
