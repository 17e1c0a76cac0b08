//! Rows that a program binds to a statement: values of parameters, or rows to add.

use adbc_core::error::Result;
use arrow::array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use pillion::{Error, ErrorCode, Value, ValueRef};
use pillion_rows::{Validated, validated};

/// Rows that were bound, which are read once.
pub(crate) struct Bound {
    reader: Validated<Box<dyn RecordBatchReader + Send>>,
}

impl Bound {
    /// # Errors
    /// For arrays that are not valid.
    pub(crate) fn batch(batch: RecordBatch) -> Result<Self> {
        let batch = validated(batch)?;
        let schema = batch.schema();
        Ok(Self::stream(Box::new(RecordBatchIterator::new([Ok(batch)], schema))))
    }

    pub(crate) fn stream(reader: Box<dyn RecordBatchReader + Send>) -> Self {
        Self { reader: Validated::new(reader) }
    }

    /// The values of the parameters, row by row: the first column is `$1`.
    pub(crate) fn into_parameters(self) -> Parameters {
        Parameters { bound: self, batch: None, row: 0 }
    }
}

impl Iterator for Bound {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reader.next()
    }
}

impl RecordBatchReader for Bound {
    fn schema(&self) -> SchemaRef {
        self.reader.schema()
    }
}

/// Values of parameters, one list for each row.
pub(crate) struct Parameters {
    bound: Bound,
    batch: Option<RecordBatch>,
    row: usize,
}

impl Iterator for Parameters {
    type Item = pillion::Result<Vec<Value>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = &self.batch
                && self.row < batch.num_rows()
            {
                self.row += 1;
                return Some(values(batch, self.row - 1));
            }
            match self.bound.next()? {
                Ok(batch) => (self.batch, self.row) = (Some(batch), 0),
                Err(error) => {
                    let failed = Error::new(ErrorCode::SourceInvalid, "the bound values cannot be read");
                    return Some(Err(failed.with_source(error)));
                }
            }
        }
    }
}

fn values(batch: &RecordBatch, row: usize) -> pillion::Result<Vec<Value>> {
    let schema = batch.schema_ref();
    let columns = batch.columns().iter().zip(schema.fields());
    let values = columns.map(|(column, field)| {
        let value = ValueRef::at(column.as_ref(), row).map_err(|error| {
            Error::new(ErrorCode::InvalidParameter, format!("column `{}` of the bound values", field.name()))
                .with_source(error)
        })?;
        Ok(value.into_owned())
    });
    values.collect()
}
