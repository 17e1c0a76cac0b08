//! The values of columns in the types that were promised.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StringBuilder, StructArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// The same values with other names and metadata of the fields within. Copies no value.
///
/// # Errors
/// If the types differ in more than that.
pub(crate) fn conform(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == wanted {
        return Ok(array.clone());
    }
    match (array.data_type(), wanted) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let values = array.as_struct();
            if values.num_columns() != fields.len() {
                return Err(differs(array.data_type(), wanted));
            }
            let columns = values.columns().iter().zip(fields);
            let columns = columns.map(|(column, field)| conform(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let conformed = StructArray::try_new_with_length(
                fields.clone(),
                columns,
                values.nulls().cloned(),
                values.len(),
            );
            Ok(Arc::new(conformed?))
        }
        (DataType::List(_), DataType::List(field)) => {
            let lists = array.as_list::<i32>();
            let values = conform(lists.values(), field.data_type())?;
            let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(field.clone(), offsets, values, nulls)?))
        }
        (DataType::Map(..), DataType::Map(field, is_sorted)) => {
            let maps = array.as_map();
            let entries: ArrayRef = Arc::new(maps.entries().clone());
            let entries = conform(&entries, field.data_type())?.as_struct().clone();
            let (offsets, nulls) = (maps.offsets().clone(), maps.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, *is_sorted)?))
        }
        (found, wanted) => Err(differs(found, wanted)),
    }
}

/// Values as the texts in which Arrow shows them.
///
/// # Errors
/// Those of showing a value.
pub(crate) fn texts(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let mut texts = StringBuilder::new();
    let nulls = array.logical_nulls();
    for row in 0..array.len() {
        match nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            true => texts.append_null(),
            false => texts.append_value(formatter.value(row).try_to_string()?),
        }
    }
    Ok(Arc::new(texts.finish()))
}

fn differs(found: &DataType, wanted: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("a column of type {wanted} came as {found}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, MapBuilder, StringArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Fields};

    use super::*;

    #[test]
    fn only_names_and_metadata_are_others() {
        let int = |name: &str| Field::new(name, DataType::Int32, true);
        let noted = int("a").with_metadata([("PARQUET:field_id".to_owned(), "3".to_owned())].into());
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let records = StructArray::new(Fields::from(vec![noted]), vec![numbers], None);
        let item = Arc::new(Field::new("item", records.data_type().clone(), true));
        let lists = ListArray::new(item, OffsetBuffer::from_lengths([2, 1]), Arc::new(records), None);
        let lists: ArrayRef = Arc::new(lists);
        let record = DataType::Struct(Fields::from(vec![int("a")]));
        let wanted = DataType::List(Arc::new(Field::new("element", record, true)));
        let conformed = conform(&lists, &wanted).unwrap();
        assert_eq!(conformed.data_type(), &wanted);
        let shown = |array: &ArrayRef| texts(array).unwrap().as_string::<i32>().clone();
        assert_eq!(shown(&conformed), shown(&lists));
        assert!(conform(&lists, &DataType::Int32).is_err());
    }

    #[test]
    fn maps_keep_their_entries() {
        let mut maps = MapBuilder::new(None, StringBuilder::new(), arrow::array::Int32Builder::new());
        maps.keys().append_value("a");
        maps.values().append_value(1);
        maps.append(true).unwrap();
        maps.append(false).unwrap();
        let maps: ArrayRef = Arc::new(maps.finish());
        let entries = Fields::from(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Int32, true),
        ]);
        let wanted =
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false);
        let conformed = conform(&maps, &wanted).unwrap();
        assert_eq!(conformed.data_type(), &wanted);
        let shown = texts(&conformed).unwrap();
        assert_eq!(shown.as_string::<i32>(), &StringArray::from(vec![Some("{a: 1}"), None]));
    }
}
