//! Rows of another library, which are checked before they are used.

use arrow::array::{Array, RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use pillion::Error;

use crate::contain::{contained, words};

/// Batches that came through the C interfaces of Arrow. Every buffer is checked: a wrong offset would be read as memory of this
/// process. An error or a panic of the reader ends it.
pub struct Validated<R> {
    schema: SchemaRef,
    /// `None` once it has ended.
    reader: Option<R>,
}

impl<R: RecordBatchReader> Validated<R> {
    /// The batches of a reader.
    pub fn new(reader: R) -> Self {
        Self { schema: reader.schema(), reader: Some(reader) }
    }
}

impl<R: RecordBatchReader> Iterator for Validated<R> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = self.reader.take()?;
        let failed = |error: &Error| ArrowError::ExternalError(words(error).into());
        // The readers of Arrow panic at an exporter that fails without words.
        let next = contained(|| Ok(reader.next().map(|batch| batch.and_then(validated))));
        match next {
            Ok(Some(Ok(batch))) => {
                self.reader = Some(reader);
                Some(Ok(batch))
            }
            Ok(ended) => ended,
            Err(error) => Some(Err(failed(&error))),
        }
    }
}

impl<R: RecordBatchReader> RecordBatchReader for Validated<R> {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// The same batch, if its buffers are what its columns say.
///
/// # Errors
/// If an offset, a length or a text is not valid.
pub fn validated(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    for column in batch.columns() {
        column.to_data().validate_full()?;
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatchIterator};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    struct Panicking(SchemaRef);

    impl Iterator for Panicking {
        type Item = Result<RecordBatch, ArrowError>;

        fn next(&mut self) -> Option<Self::Item> {
            panic!("no words")
        }
    }

    impl RecordBatchReader for Panicking {
        fn schema(&self) -> SchemaRef {
            self.0.clone()
        }
    }

    #[test]
    fn what_is_right_passes_and_an_error_ends_the_reader() {
        let batch =
            RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
        let failed = ArrowError::ComputeError("broken".to_owned());
        let reader =
            RecordBatchIterator::new([Ok(batch.clone()), Err(failed), Ok(batch.clone())], batch.schema());
        let mut reader = Validated::new(reader);
        assert_eq!(reader.schema(), batch.schema());
        assert_eq!(reader.next().unwrap().unwrap(), batch);
        assert!(reader.next().unwrap().unwrap_err().to_string().contains("broken"));
        assert!(reader.next().is_none());
    }

    #[test]
    fn a_panic_is_an_error_of_the_rows() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let mut reader = Validated::new(Panicking(schema));
        assert!(reader.next().unwrap().unwrap_err().to_string().contains("no words"));
        assert!(reader.next().is_none());
    }
}
