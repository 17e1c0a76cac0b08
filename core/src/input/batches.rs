//! Batches on their way in: columns that tables do not store as they come are decoded.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};

use super::OpenInput;
use super::storable::{convert, decoded, is_encoded, rows_at_once, stored};
use crate::types::decoded_len::converted_len;
use crate::types::error::{Error, ErrorCode, Result};

/// Rows that are decoded at a time: values of a dictionary or of runs may take many times the memory.
const DECODED_ROWS: usize = 16 << 10;

/// The same rows in types that tables store, or in the types of `table` where those have the same values.
pub(super) fn decode(input: OpenInput, table: Option<&SchemaRef>) -> OpenInput {
    let OpenInput { schema, batches } = input;
    let table = table.cloned();
    let schema = stored_schema(&schema, table.as_ref());
    let batches = batches.flat_map(move |batch| match batch {
        Ok(batch) => Pieces::new(batch, table.as_ref()),
        Err(error) => Pieces::Whole(Some(Err(error))),
    });
    OpenInput { schema, batches: Box::new(batches) }
}

/// The columns as tables store them, or as `table` does where that has the same values.
pub(crate) fn stored_schema(schema: &SchemaRef, table: Option<&SchemaRef>) -> SchemaRef {
    decoded_schema(schema, table).unwrap_or_else(|| schema.clone())
}

/// The same as [`stored_schema`]; `None` if all columns are so already.
fn decoded_schema(schema: &SchemaRef, table: Option<&SchemaRef>) -> Option<SchemaRef> {
    // Most rows come as they are stored, and few at a time.
    if schema.fields().iter().all(|field| target(field, table).is_none()) {
        return None;
    }
    let fields = schema.fields().iter().map(|field| match target(field, table) {
        Some(target) => field.as_ref().clone().with_data_type(target).into(),
        None => field.clone(),
    });
    let fields: Vec<FieldRef> = fields.collect();
    Some(Schema::new_with_metadata(fields, schema.metadata().clone()).into())
}

/// The type that a column becomes, if it is another.
fn target(field: &FieldRef, table: Option<&SchemaRef>) -> Option<DataType> {
    let found = field.data_type();
    let column = table.and_then(|table| table.field_with_name(field.name()).ok());
    match column.map(|column| column.data_type()) {
        Some(wanted) if wanted == found => None,
        Some(wanted) if decoded(wanted) == decoded(found) => Some(wanted.clone()),
        _ => is_encoded(found).then(|| stored(found)),
    }
}

/// A batch, decoded piece by piece.
enum Pieces {
    Whole(Option<Result<RecordBatch>>),
    Encoded { batch: RecordBatch, schema: SchemaRef, start: usize },
}

impl Pieces {
    fn new(batch: RecordBatch, table: Option<&SchemaRef>) -> Self {
        match decoded_schema(batch.schema_ref(), table) {
            None => Self::Whole(Some(Ok(batch))),
            // Without rows, its columns may still be wrong.
            Some(schema) if batch.num_rows() == 0 => Self::Whole(Some(decoded_batch(&batch, &schema))),
            Some(schema) => Self::Encoded { batch, schema, start: 0 },
        }
    }
}

impl Iterator for Pieces {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Whole(batch) => batch.take(),
            Self::Encoded { batch, schema, start } => {
                let left = DECODED_ROWS.min(batch.num_rows() - *start);
                let rows = rows_at_once(left, |rows| decoded_len(&batch.slice(*start, rows), schema));
                let piece = (rows > 0).then(|| batch.slice(*start, rows))?;
                *start += rows;
                Some(decoded_batch(&piece, schema))
            }
        }
    }
}

/// Bytes of the columns that are decoded.
fn decoded_len(batch: &RecordBatch, schema: &Schema) -> u64 {
    let columns = batch.columns().iter().zip(schema.fields());
    let changed = columns.filter(|(column, field)| column.data_type() != field.data_type());
    let lens = changed.map(|(column, field)| converted_len(column, field.data_type()));
    lens.fold(0, u64::saturating_add)
}

fn decoded_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns =
        schema.fields().iter().zip(batch.columns()).map(|(field, column)| decoded_column(field, column));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options).map_err(
        |error| {
            Error::new(ErrorCode::SchemaMismatch, "the rows do not hold what they declare").with_source(error)
        },
    )
}

fn decoded_column(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef> {
    convert(column, field.data_type()).map_err(|error| {
        let (name, from, to) = (field.name(), column.data_type(), field.data_type());
        let message = format!("column `{name}` of type {from} cannot be decoded to {to}: {error}");
        Error::new(ErrorCode::UnsupportedType, message).with_source(error)
    })
}
