//! Whether rows fit a table.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::util::display::array_value_to_string;

use super::TableShape;
use crate::storage::key::KEY_LEN_MAX;
use crate::types::cell::value_at;
use crate::types::error::{Error, ErrorCode, Result, suggestion};

impl TableShape {
    /// The batch with the table's columns in their order. `seen` counts the rows so far.
    ///
    /// # Errors
    /// [`ErrorCode::NullKey`], with the number of the row; [`ErrorCode::SchemaMismatch`], naming the first column that
    /// does not fit.
    pub(crate) fn conform(&self, batch: &RecordBatch, seen: &mut u64) -> Result<RecordBatch> {
        self.refuse_null_keys(batch, *seen)?;
        let batch = conform(&self.schema, batch)?;
        *seen += batch.num_rows() as u64;
        Ok(batch)
    }

    /// The error of a call that needs a primary key.
    pub(crate) fn no_primary_key(&self) -> Error {
        Error::new(
            ErrorCode::NoPrimaryKey,
            format!("table `{}` has no primary key; define it with one, or use SQL", self.name),
        )
    }

    /// The error of a key that two rows have; `cell` returns the array that holds a column of the row at `index`.
    pub(crate) fn duplicate_key<'a>(
        &self,
        index: usize,
        cell: impl Fn(usize) -> Result<&'a dyn Array>,
    ) -> Error {
        let values = self.primary_key.iter().map(|&column| {
            let cell = cell(column)?;
            // Arrow cannot show a timestamp whose time zone it does not know.
            let value = match array_value_to_string(cell, index) {
                Ok(value) => value,
                Err(_) => value_at(cell, index)?.to_string(),
            };
            Ok(format!("{}={value}", self.schema.field(column).name()))
        });
        match values.collect::<Result<Vec<_>>>() {
            Ok(values) => Error::new(
                ErrorCode::DuplicateKey,
                format!(
                    "the primary key of `{}` is not unique: two rows have {}; \
                     choose a key that is, or define the table without one",
                    self.name,
                    values.join(", ")
                ),
            ),
            Err(error) => error,
        }
    }

    /// Refuses an encoded key of `len` bytes if that is more than a row's key may have.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidKey`].
    pub(crate) fn refuse_long_key(&self, len: usize) -> Result<()> {
        if len <= KEY_LEN_MAX {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::InvalidKey,
            format!(
                "a key of `{}` has {len} bytes and may have at most {KEY_LEN_MAX}; shorten it, or choose another key, \
                 such as a checksum of the text",
                self.name
            ),
        ))
    }

    fn refuse_null_keys(&self, batch: &RecordBatch, rows_before: u64) -> Result<()> {
        for &column in &self.primary_key {
            let name = self.schema.field(column).name();
            // `conform` reports a column that is missing.
            let Some(array) = batch.column_by_name(name) else { continue };
            if array.logical_null_count() > 0 {
                let row = (0..array.len()).find(|&row| array.is_null(row)).unwrap_or_default();
                return Err(Error::new(
                    ErrorCode::NullKey,
                    format!(
                        "row {} has no value in `{name}`, which is part of the primary key of `{}`; \
                         fill it in, leave the row out, or choose another key",
                        rows_before + row as u64 + 1,
                        self.name
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// The batch with the columns of `schema` in its order.
///
/// # Errors
/// [`ErrorCode::SchemaMismatch`], naming the first column that does not fit.
fn conform(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let mismatch = |what: String| Error::new(ErrorCode::SchemaMismatch, what);
    let found = batch.schema();
    for field in found.fields() {
        if schema.index_of(field.name()).is_err() {
            let hint = suggestion(field.name(), schema.fields().iter().map(|field| field.name().as_str()));
            return Err(mismatch(format!("the table has no column `{}`{hint}", field.name())));
        }
    }
    let columns = schema.fields().iter().map(|field| {
        let Ok(column) = found.index_of(field.name()) else {
            return Err(mismatch(format!("the rows lack the column `{}`", field.name())));
        };
        let array = batch.column(column);
        if array.data_type() != field.data_type() {
            let (name, is, wanted) = (field.name(), array.data_type(), field.data_type());
            return Err(mismatch(format!("column `{name}` is {wanted} and the rows bring {is}; cast it")));
        }
        if !field.is_nullable() && array.logical_null_count() > 0 {
            return Err(mismatch(format!(
                "column `{}` must not be null and the rows bring nulls",
                field.name()
            )));
        }
        Ok(array.clone())
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_>>()?)
        .map_err(|error| mismatch("the rows do not fit the table".to_owned()).with_source(error))
}
