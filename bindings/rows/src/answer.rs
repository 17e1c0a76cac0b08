//! Answers as readers of Arrow, for the C stream interface.

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::StreamExt;
use pillion::BatchStream;

use crate::contain::{contained, words};

/// An answer in the hands of another library, which asks for batches from any thread, one at a time.
///
/// Batches are handed over as they are: rows of a cache that a query did not change are views of its mapped files, which they keep
/// alive. Dropping it ends the query.
pub struct AnswerReader {
    schema: SchemaRef,
    /// A batch that was read already.
    first: Option<RecordBatch>,
    /// `None` once it has ended.
    stream: Option<BatchStream>,
}

impl AnswerReader {
    /// An answer whose batches come when they are asked for.
    pub fn new(stream: BatchStream) -> Self {
        Self { schema: stream.schema().clone(), first: None, stream: Some(stream) }
    }

    /// Waits for the first batch, so that what fails early fails here.
    ///
    /// # Errors
    /// Those of the query.
    pub fn begin(&mut self) -> pillion::Result<()> {
        if self.first.is_none() {
            self.first = self.read()?;
        }
        Ok(())
    }

    fn read(&mut self) -> pillion::Result<Option<RecordBatch>> {
        let Some(mut stream) = self.stream.take() else { return Ok(None) };
        let next = contained(|| pollster::block_on(stream.next()).transpose())?;
        if next.is_some() {
            self.stream = Some(stream);
        }
        Ok(next)
    }
}

impl Iterator for AnswerReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(batch) = self.first.take() {
            return Some(Ok(batch));
        }
        let failed = |error| ArrowError::ExternalError(words(&error).into());
        self.read().map_err(failed).transpose()
    }
}

impl RecordBatchReader for AnswerReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
