//! A statement whose end is told to a recorder.

use std::time::Instant;

use arrow::array::RecordBatch;

use crate::types::error::{ErrorCode, Result};
use crate::types::recorder::{Event, Recording};

/// A statement that has begun. When this is dropped, the statement has ended.
pub(crate) struct Observed {
    recording: Recording,
    text: String,
    began: Instant,
    rows: u64,
    error: Option<ErrorCode>,
    /// Says for which request the statement runs.
    span: tracing::Span,
}

impl Observed {
    /// A statement that begins now; `None` if nobody wants to know.
    #[cfg(feature = "sql")]
    pub(crate) fn begin(recording: &Recording, text: &str) -> Option<Box<Self>> {
        let began = recording.begin()?;
        let (recording, text, span) = (recording.clone(), text.to_owned(), tracing::Span::current());
        Some(Box::new(Self { recording, text, began, rows: 0, error: None, span }))
    }

    /// Counts what the statement gave; an error ends it.
    pub(crate) fn came(&mut self, next: &Option<Result<RecordBatch>>) {
        match next {
            Some(Ok(batch)) => self.rows += batch.num_rows() as u64,
            Some(Err(error)) => self.failed(error.code()),
            None => {}
        }
    }

    /// Somebody else answers the statement, and tells its end.
    #[cfg(all(feature = "sql", feature = "sidecar"))]
    pub(crate) fn left(mut self) {
        self.recording = Recording::default();
    }

    /// Why the statement fails.
    pub(crate) fn failed(&mut self, code: ErrorCode) {
        self.error = Some(code);
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let duration = self.began.elapsed();
        let event = Event::Statement { text: &self.text, duration, rows: self.rows, error: self.error };
        self.span.in_scope(|| self.recording.record(&event));
    }
}
