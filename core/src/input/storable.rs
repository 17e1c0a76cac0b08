//! Types that tables store, and arrays of other types as arrays of these: dictionaries and runs become their values.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;

use crate::types::panics;

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

/// Values of one type as those of another: decoded first, then widened.
///
/// # Errors
/// If a value does not fit, or if Arrow cannot convert the type.
pub(crate) fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
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
}
