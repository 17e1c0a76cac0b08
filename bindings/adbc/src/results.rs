//! The rows of a statement: one answer, or one for each row of bound parameters.

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use pillion::{AsyncCache, AsyncPrepared, Error, ErrorCode, Value};
use pillion_rows::{AnswerReader, contained, words};

use crate::binding::Parameters;
use crate::cancelling::Cancelling;

/// A query, as a text or planned.
#[derive(Clone)]
pub(crate) enum Query {
    Text(AsyncCache, String),
    Prepared(AsyncPrepared),
}

impl Query {
    /// Runs it, and waits for its first rows.
    ///
    /// # Errors
    /// Those of the query.
    pub(crate) fn run(&self, parameters: &[Value], cancelling: &Cancelling) -> pillion::Result<AnswerReader> {
        let stream = match self {
            Self::Text(cache, text) => cancelling.wait(cache.sql(text, parameters)),
            Self::Prepared(prepared) => cancelling.wait(prepared.execute(parameters)),
        }?;
        let canceller = stream.canceller();
        cancelling.begin(move || canceller.cancel());
        let mut answer = AnswerReader::new(stream);
        answer.begin()?;
        Ok(answer)
    }

    /// The columns of its answer; reads no row of it.
    ///
    /// # Errors
    /// Those of the query.
    pub(crate) fn columns(&self, parameters: &[Value], cancelling: &Cancelling) -> pillion::Result<Schema> {
        let stream = match self {
            Self::Text(cache, text) => cancelling.wait(cache.sql(text, parameters)),
            Self::Prepared(prepared) => cancelling.wait(prepared.execute(parameters)),
        }?;
        Ok(stream.schema().as_ref().clone())
    }
}

/// The answers of a query for several rows of parameters, one after another. All have the columns of the first.
pub(crate) struct Answers {
    schema: SchemaRef,
    now: AnswerReader,
    rest: Parameters,
    query: Query,
    cancelling: Cancelling,
}

impl Answers {
    pub(crate) fn new(first: AnswerReader, rest: Parameters, query: Query, cancelling: Cancelling) -> Self {
        Self { schema: first.schema(), now: first, rest, query, cancelling }
    }

    /// Runs the query for the next row of parameters, if there is one.
    fn advance(&mut self) -> pillion::Result<bool> {
        let Some(parameters) = self.rest.next() else { return Ok(false) };
        self.now = self.query.run(&parameters?, &self.cancelling)?;
        if self.now.schema().fields() != self.schema.fields() {
            let message =
                "the parameters of a later row give the answer other columns; bind columns of one type";
            return Err(Error::new(ErrorCode::InvalidParameter, message));
        }
        Ok(true)
    }
}

impl Iterator for Answers {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(next) = self.now.next() {
                return Some(next);
            }
            match contained(|| self.advance()) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(ArrowError::ExternalError(words(&error).into()))),
            }
        }
    }
}

impl RecordBatchReader for Answers {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
