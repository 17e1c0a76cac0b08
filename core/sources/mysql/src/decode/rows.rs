//! Rows as the client reads them, and batches.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use mysql_async::{Row, Value};
use pillion::{Error, ErrorCode, Result};

use super::cells::Cells;

/// A batch ends with the row that reaches one of these.
const BATCH_ROWS: usize = 8192;
const BATCH_LEN: usize = 4 << 20;

/// Makes batches of rows.
pub(crate) struct RowDecoder {
    schema: SchemaRef,
    columns: Vec<Box<dyn Cells>>,
    rows: usize,
    bytes: usize,
    /// Where the rows are from, for messages.
    place: Arc<str>,
}

impl RowDecoder {
    pub(crate) fn new(schema: SchemaRef, columns: Vec<Box<dyn Cells>>, place: Arc<str>) -> Self {
        Self { schema, columns, rows: 0, bytes: 0, place }
    }

    pub(crate) fn add(&mut self, row: Row) -> Result<()> {
        let values = row.unwrap();
        self.add_values(&values)
    }

    fn add_values(&mut self, values: &[Value]) -> Result<()> {
        // A relation of no columns is fetched as one that says only how many rows there are.
        if !self.columns.is_empty() && values.len() != self.columns.len() {
            let message = format!("{}: a row has another number of columns than was announced", self.place);
            return Err(Error::new(ErrorCode::SourceInvalid, message));
        }
        for (index, (column, value)) in self.columns.iter_mut().zip(values).enumerate() {
            let added = match value {
                Value::NULL if self.schema.field(index).is_nullable() => {
                    column.append_null();
                    Ok(())
                }
                Value::NULL => Err("holds a null although it is declared NOT NULL".to_owned()),
                value => {
                    self.bytes += if let Value::Bytes(bytes) = value { bytes.len() } else { 8 };
                    column.append(value)
                }
            };
            if let Err(fault) = added {
                let name = self.schema.field(index).name();
                return Err(Error::new(
                    ErrorCode::SourceInvalid,
                    format!("{}: column `{name}` {fault}", self.place),
                ));
            }
        }
        self.rows += 1;
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_LEN
    }

    /// The rows since the last batch, if there are any.
    pub(crate) fn batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let columns = self.columns.iter_mut().map(|column| column.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map(Some).map_err(|error| {
            Error::new(ErrorCode::Internal, "columns do not make a batch").with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::super::cells::text;
    use super::*;

    fn decoder() -> RowDecoder {
        let schema = Arc::new(Schema::new(vec![Field::new("word", DataType::Utf8, false)]));
        RowDecoder::new(schema, vec![text()], "t".into())
    }

    #[test]
    fn rows_become_a_batch() {
        let mut decoder = decoder();
        for word in ["a", "", "\u{e4}"] {
            decoder.add_values(&[Value::Bytes(word.into())]).unwrap();
        }
        assert_eq!(decoder.batch().unwrap().unwrap().num_rows(), 3);
        assert!(decoder.batch().unwrap().is_none());
        decoder.add_values(&[Value::Bytes(vec![b'x'; BATCH_LEN])]).unwrap();
        assert!(decoder.is_full());
    }

    #[test]
    fn damaged_rows_are_refused() {
        for (row, why) in [
            (vec![], "number of columns"),
            (vec![Value::NULL], "column `word` holds a null"),
            (vec![Value::Int(1)], "column `word` has"),
            (vec![Value::Bytes(vec![0xff])], "not UTF-8"),
        ] {
            let error = decoder().add_values(&row).unwrap_err();
            assert_eq!(error.code(), ErrorCode::SourceInvalid);
            assert!(error.message().contains(why), "{error}");
        }
    }
}
