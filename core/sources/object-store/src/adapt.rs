//! Batches of one file as batches of the relation.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use pillion::{Error, ErrorCode, Result};

use crate::formats::{BATCH_BYTES, BATCH_ROWS, Looked};
use crate::plan::{Plan, is_readable};

/// How the columns that are wanted come from one file.
#[derive(Debug)]
pub(crate) struct Adapter {
    plan: Arc<Plan>,
    schema: SchemaRef,
    file: usize,
    name: String,
    /// The columns that the file has to give, with the types in which it gives them.
    pub(crate) of_file: Schema,
}

impl Adapter {
    /// # Errors
    /// [`ErrorCode::UnsupportedType`] for a column that cannot be decoded.
    pub(crate) fn new(plan: &Arc<Plan>, schema: &SchemaRef, file: usize, name: String) -> Result<Self> {
        let found = match &*plan.looked[file] {
            Looked::Declared(schema, _) => schema.clone(),
            Looked::Texts(columns) => {
                let fields =
                    columns.iter().filter_map(|(name, _)| plan.texts.field_with_name(name).ok().cloned());
                Arc::new(Schema::new(fields.collect::<Vec<_>>()))
            }
        };
        let is_of_file = |name: &str| schema.column_with_name(name).is_some() && !plan.folders.has(name);
        let fields = found.fields().iter().filter(|field| is_of_file(field.name())).cloned();
        let of_file = Schema::new(fields.collect::<Vec<_>>());
        for field in of_file.fields() {
            let wanted = schema.field_with_name(field.name()).map(|wanted| wanted.data_type());
            let is_text = plan.options.is_as_text(field.name());
            if wanted.is_ok_and(|wanted| !is_text && !is_readable(field.data_type(), wanted)) {
                let message = format!(
                    "column `{}` of `{name}` has the type {}, which cannot be decoded: leave it out, or read it as text",
                    field.name(),
                    field.data_type()
                );
                return Err(Error::new(ErrorCode::UnsupportedType, message));
            }
        }
        Ok(Self { plan: plan.clone(), schema: schema.clone(), file, name, of_file })
    }

    /// The batch with the columns of the relation.
    ///
    /// # Errors
    /// [`ErrorCode::SourceInvalid`] for a value that its column cannot hold.
    pub(crate) fn adapt(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let columns = self.schema.fields().iter().map(|field| {
            let (name, of) = (field.name().as_str(), field.data_type());
            if self.plan.folders.has(name) {
                return self.plan.folders.column(name, self.file, rows);
            }
            match batch.column_by_name(name) {
                None => Ok(new_null_array(of, rows)),
                Some(column) => self.converted(name, column, of),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(|error| {
            Error::new(
                ErrorCode::SourceInvalid,
                format!("`{}` does not hold what it declares: {error}", self.name),
            )
        })
    }

    fn converted(&self, name: &str, column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        let wrong = |error: arrow::error::ArrowError| {
            let message = format!(
                "column `{name}` of `{}` has a value of {} that {to} cannot hold: {error}",
                self.name,
                column.data_type()
            );
            Error::new(ErrorCode::SourceInvalid, message)
        };
        if column.data_type() == to {
            return Ok(column.clone());
        }
        if self.plan.options.is_as_text(name) {
            return shown(column).map_err(wrong);
        }
        // Not `safe`, which would make nulls of values that do not fit.
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let decoded = crate::reconcile::decoded(column.data_type());
        let column = cast_with_options(column, &decoded, &options).map_err(wrong)?;
        cast_with_options(&column, to, &options).map_err(wrong)
    }
}

/// A column as texts, in the form in which its values are shown.
fn shown(column: &ArrayRef) -> std::result::Result<ArrayRef, arrow::error::ArrowError> {
    let options = FormatOptions::new().with_display_error(false);
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let (mut builder, mut text) = (StringBuilder::new(), String::new());
    let nulls = column.logical_nulls();
    for row in 0..column.len() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            builder.append_null();
            continue;
        }
        text.clear();
        formatter.value(row).write(&mut text)?;
        builder.append_value(&text);
    }
    Ok(Arc::new(builder.finish()))
}

/// A batch in pieces of limited size.
pub(crate) fn pieces(batch: &RecordBatch) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    let bytes_of_row = batch.get_array_memory_size() / rows.max(1);
    let piece = (BATCH_BYTES / bytes_of_row.max(1)).clamp(1, BATCH_ROWS);
    // Memory has some room to spare, which is not a reason to divide.
    if rows <= BATCH_ROWS && batch.get_array_memory_size() <= 2 * BATCH_BYTES {
        return vec![batch.clone()];
    }
    (0..rows).step_by(piece).map(|start| batch.slice(start, piece.min(rows - start))).collect()
}
