//! Rows with the types of a table, where these hold the same values.

use std::sync::Arc;

use arrow::array::types::Float64Type;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchReader};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

/// Batches whose columns get the types of a table, where these hold the same values: an integer of another width, a finer unit of
/// time, another layout of text. A value that would be rounded or does not fit is an error.
pub struct Fitted<R> {
    reader: R,
    schema: SchemaRef,
    table: Option<SchemaRef>,
}

impl<R: RecordBatchReader> Fitted<R> {
    /// Batches for a table with these columns, or for none yet.
    pub fn new(reader: R, table: Option<&SchemaRef>) -> Self {
        let schema = fitted_schema(&reader.schema(), table);
        Self { reader, schema, table: table.cloned() }
    }
}

impl<R: RecordBatchReader> Iterator for Fitted<R> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.reader.next()?.and_then(|batch| fitted(batch, self.table.as_ref())))
    }
}

impl<R: RecordBatchReader> RecordBatchReader for Fitted<R> {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// A batch whose columns have the types of a table, as those of [`Fitted`].
///
/// # Errors
/// For a value that the type of its column does not hold, with the column.
pub fn fitted(batch: RecordBatch, table: Option<&SchemaRef>) -> Result<RecordBatch, ArrowError> {
    let schema = fitted_schema(batch.schema_ref(), table);
    if schema.fields() == batch.schema_ref().fields() {
        return Ok(batch);
    }
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        if field.data_type() == column.data_type() {
            return Ok(column.clone());
        }
        converted(column, field.data_type())
            .map_err(|error| ArrowError::InvalidArgumentError(format!("column `{}`: {error}", field.name())))
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
}

fn fitted_schema(schema: &SchemaRef, table: Option<&SchemaRef>) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match target(field, table) {
        Some(of) => Arc::new(field.as_ref().clone().with_data_type(of.clone())),
        None => field.clone(),
    });
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()).into()
}

/// The type of a table's column that a column is converted to, if it has another one.
fn target<'a>(field: &Field, table: Option<&'a SchemaRef>) -> Option<&'a DataType> {
    let (found, wanted) = (field.data_type(), table?.field_with_name(field.name()).ok()?.data_type());
    (found != wanted && are_alike(found, wanted)).then_some(wanted)
}

/// Whether values of one type can be values of the other.
fn are_alike(found: &DataType, wanted: &DataType) -> bool {
    use DataType as T;
    let text = |of: &T| matches!(of, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    let bytes = |of: &T| matches!(of, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_));
    match (found, wanted) {
        (T::Null, _) => true,
        (T::Timestamp(_, found), T::Timestamp(_, wanted)) => found.is_some() == wanted.is_some(),
        (T::Time32(_) | T::Time64(_), T::Time32(_) | T::Time64(_)) | (T::Duration(_), T::Duration(_)) => true,
        (found, wanted) if found.is_decimal() && wanted.is_decimal() => true,
        (found, wanted) => {
            (text(found) && text(wanted))
                || (bytes(found) && bytes(wanted))
                || (found.is_integer() && wanted.is_integer())
                || (found.is_floating() && wanted.is_floating())
        }
    }
}

/// The same values in another type.
///
/// # Errors
/// If a value is not one of that type: nothing is rounded.
fn converted(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let from = column.data_type();
    if !can_cast_types(from, to) {
        return Err(ArrowError::CastError(format!("{from} cannot become {to}")));
    }
    let made = cast_with_options(column, to, &options)?;
    if *from != DataType::Null && can_cast_types(to, from) {
        let back = cast_with_options(&made, from, &options)?;
        let is_same =
            if from.is_floating() { same_floats(column, &back) } else { back.to_data() == column.to_data() };
        if !is_same {
            let message = format!("a value of {from} is between two of {to}; round it, or cast the column");
            return Err(ArrowError::CastError(message));
        }
    }
    Ok(made)
}

/// Whether floats are the same, for which a NaN is the same as another.
fn same_floats(one: &ArrayRef, other: &ArrayRef) -> bool {
    let wide = |array: &ArrayRef| arrow::compute::cast(array, &DataType::Float64);
    let (Ok(one), Ok(other)) = (wide(one), wide(other)) else { return false };
    let (one, other) = (one.as_primitive::<Float64Type>(), other.as_primitive::<Float64Type>());
    one.iter().zip(other).all(|(one, other)| match (one, other) {
        (Some(one), Some(other)) => one.to_bits() == other.to_bits() || (one.is_nan() && other.is_nan()),
        (one, other) => one.is_none() && other.is_none(),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, LargeStringArray, NullArray, RecordBatchIterator};

    use super::*;

    fn table() -> SchemaRef {
        let fields = vec![
            Field::new("id", DataType::UInt8, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("x", DataType::Float32, true),
        ];
        Arc::new(Schema::new(fields))
    }

    fn batch(id: i64, x: f64) -> RecordBatch {
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![id])) as ArrayRef),
            ("name", Arc::new(LargeStringArray::from(vec!["a"]))),
            ("x", Arc::new(Float64Array::from(vec![x]))),
            ("new", Arc::new(NullArray::new(1))),
        ])
        .unwrap()
    }

    #[test]
    fn columns_get_the_types_of_the_table() {
        let rows = batch(7, 0.5);
        let reader = RecordBatchIterator::new([Ok(rows.clone())], rows.schema());
        let reader = Fitted::new(reader, Some(&table()));
        let declared = reader.schema();
        let made: Vec<RecordBatch> = reader.collect::<Result<_, _>>().unwrap();
        assert_eq!(made[0].schema(), declared);
        let types: Vec<&DataType> = declared.fields().iter().map(|field| field.data_type()).collect();
        assert_eq!(types, [&DataType::UInt8, &DataType::Utf8, &DataType::Float32, &DataType::Null]);
        assert_eq!(made[0].column(1).as_string::<i32>().value(0), "a");
        assert_eq!(fitted(rows.clone(), None).unwrap(), rows);
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_with_its_column() {
        for (rows, column) in [(batch(256, 0.5), "`id`"), (batch(-1, 0.5), "`id`"), (batch(1, 0.1), "`x`")] {
            let error = fitted(rows, Some(&table())).unwrap_err().to_string();
            assert!(error.contains(column), "{error}");
        }
        let rows = fitted(batch(1, f64::NAN), Some(&table())).unwrap();
        assert!(rows.column(2).as_primitive::<arrow::datatypes::Float32Type>().value(0).is_nan());
    }
}
