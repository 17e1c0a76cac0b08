//! Batches of one file as batches of all files together.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder, new_null_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::plan::{FilePlan, of_file};
use super::storable::{check_len, convert, is_convertible, rows_at_once};
use crate::types::decoded_len::{converted_len, rows_len};
use crate::types::error::{Error, ErrorCode, Result};

/// About as many bytes as the name of a folder takes as a value.
const FOLDER_LEN: u64 = 64;

/// How columns of a plan come from one of its files.
#[derive(Debug)]
pub struct FileAdapter {
    plan: Arc<FilePlan>,
    schema: SchemaRef,
    file: usize,
    of_file: Schema,
}

impl FileAdapter {
    /// For the file of a plan with that number, and those of the plan's columns that `schema` has.
    ///
    /// # Errors
    /// [`UnsupportedType`](ErrorCode::UnsupportedType) for a column that cannot be decoded.
    pub fn new(plan: &Arc<FilePlan>, schema: &SchemaRef, file: usize) -> Result<Self> {
        let Some(planned) = plan.files.get(file) else {
            return Err(Error::new(ErrorCode::InvalidArgument, format!("the plan has no file {file}")));
        };
        let found = of_file(planned, &plan.texts);
        let is_of_file = |name: &str| schema.column_with_name(name).is_some() && !plan.folders.has(name);
        let fields = found.fields().iter().filter(|field| is_of_file(field.name())).cloned();
        let of_file = Schema::new(fields.collect::<Vec<_>>());
        for field in of_file.fields() {
            let wanted = schema.field_with_name(field.name()).map(|wanted| wanted.data_type());
            let is_text = plan.options.is_as_text(field.name());
            if wanted.is_ok_and(|wanted| !is_text && !is_convertible(field.data_type(), wanted)) {
                let message = format!(
                    "column `{}` of `{}` has the type {}, which cannot be decoded: leave it out, or read it as text",
                    field.name(),
                    planned.name,
                    field.data_type()
                );
                return Err(Error::new(ErrorCode::UnsupportedType, message));
            }
        }
        Ok(Self { plan: plan.clone(), schema: schema.clone(), file, of_file })
    }

    /// The columns that the file has to give, with the types in which it gives them.
    pub fn wanted(&self) -> &Schema {
        &self.of_file
    }

    /// Cuts a batch of the file into pieces, each of which takes a moderate amount of memory as [`adapt`](Self::adapt) gives it. Few
    /// bytes of a file can stand for very many rows; most batches stay whole.
    pub fn pieces(&self, batch: RecordBatch) -> impl Iterator<Item = RecordBatch> + use<> {
        let mut sizes = Vec::new();
        for field in self.schema.fields() {
            let is_of_folder = self.plan.folders.has(field.name());
            let column = batch.column_by_name(field.name()).filter(|_| !is_of_folder).cloned();
            // What comes as it is takes no memory of its own.
            if column.as_ref().is_none_or(|column| column.data_type() != field.data_type()) {
                sizes.push((column, field.data_type().clone()));
            }
        }
        let len = move |start: usize, rows: usize| {
            let lens = sizes.iter().map(|(column, to)| match column {
                Some(column) => converted_len(&column.slice(start, rows), to),
                None => rows_len(rows, to).saturating_add(rows as u64 * FOLDER_LEN),
            });
            lens.fold(0, u64::saturating_add)
        };
        let (mut start, mut is_first) = (0, true);
        std::iter::from_fn(move || {
            let left = batch.num_rows() - start;
            // A batch without rows may still be wrong.
            if left == 0 && !is_first {
                return None;
            }
            is_first = false;
            let rows = rows_at_once(left, |rows| len(start, rows));
            let piece = batch.slice(start, rows);
            start += rows;
            Some(piece)
        })
    }

    /// A batch of the file with the columns of the plan. Columns that the file does not have are null. Hand it the
    /// [`pieces`](Self::pieces) of a batch.
    ///
    /// # Errors
    /// [`SourceInvalid`](ErrorCode::SourceInvalid) for a value that its column cannot hold.
    pub fn adapt(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let columns = self.schema.fields().iter().map(|field| {
            let (name, of) = (field.name().as_str(), field.data_type());
            if self.plan.folders.has(name) {
                return self.plan.folders.column(name, self.file, rows);
            }
            match batch.column_by_name(name) {
                None => self.absent(name, of, rows),
                Some(column) => self.converted(name, column, of),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(|error| {
            let message = format!("`{}` does not hold what it declares: {error}", self.name());
            Error::new(ErrorCode::SourceInvalid, message)
        })
    }

    /// Nulls, for a column that the file does not have.
    fn absent(&self, name: &str, of: &DataType, rows: usize) -> Result<ArrayRef> {
        check_len(rows_len(rows, of)).map_err(|error| {
            let message = format!("`{}` has {rows} rows without column `{name}`: {error}", self.name());
            Error::new(ErrorCode::SourceInvalid, message)
        })?;
        Ok(new_null_array(of, rows))
    }

    fn name(&self) -> &str {
        self.plan.files.get(self.file).map_or("", |file| &file.name)
    }

    fn converted(&self, name: &str, column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        let converted = match self.plan.options.is_as_text(name) && column.data_type() != to {
            true => shown(column),
            false => convert(column, to),
        };
        converted.map_err(|error| {
            let message = format!(
                "column `{name}` of `{}` has a value of {} that {to} cannot hold: {error}",
                self.name(),
                column.data_type()
            );
            Error::new(ErrorCode::SourceInvalid, message)
        })
    }
}

/// A column as texts, in the form in which its values are shown.
fn shown(column: &ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
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

#[cfg(test)]
mod tests {
    use arrow::array::NullArray;
    use arrow::datatypes::Field;

    use super::*;
    use crate::input::{FileColumns, FileOptions, PlannedFile};

    #[test]
    fn few_bytes_that_stand_for_many_rows_come_in_pieces() {
        let of_file = Arc::new(Schema::new(vec![Field::new("a", DataType::Null, true)]));
        let planned = PlannedFile {
            path: "a.arrow".to_owned(),
            name: "a.arrow".to_owned(),
            columns: Arc::new(FileColumns::Declared(of_file.clone(), None)),
        };
        let plan = Arc::new(FilePlan::new(vec![planned], FileOptions::new()).unwrap());
        let wanted =
            [Field::new("a", DataType::Int64, true), Field::new("lacking", DataType::Decimal128(9, 2), true)];
        let adapter = FileAdapter::new(&plan, &Arc::new(Schema::new(wanted.to_vec())), 0).unwrap();
        let nulls =
            |rows| RecordBatch::try_new(of_file.clone(), vec![Arc::new(NullArray::new(rows))]).unwrap();
        let refused = adapter.adapt(&nulls(1 << 34)).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::SourceInvalid, "{refused}");
        let first = adapter.pieces(nulls(1 << 34)).next().unwrap();
        assert!((10_000..1 << 20).contains(&first.num_rows()), "{}", first.num_rows());
        assert_eq!(adapter.adapt(&first).unwrap().num_rows(), first.num_rows());
        let rows: usize = adapter.pieces(nulls(1 << 34)).map(|piece| piece.num_rows()).sum();
        assert_eq!(rows, 1 << 34);
        // Ordinary batches stay whole, and one without rows is looked at too.
        assert_eq!(adapter.pieces(nulls(10_000)).count(), 1);
        assert_eq!(adapter.pieces(nulls(0)).map(|piece| piece.num_rows()).collect::<Vec<_>>(), [0]);
    }
}
