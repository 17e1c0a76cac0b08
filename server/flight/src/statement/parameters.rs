//! Parameters that clients bind, and rows that they send: messages of Arrow, looked at before they are decoded.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayData, RecordBatch};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::ipc::root_as_message;
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, stream};
use pillion::files::check_arrow_message;
use pillion::{Error, ErrorCode, Result, Value, ValueRef};
use tokio::time::{Duration, timeout};
use tonic::Status;

use crate::status;

/// Batches of parameters that are made one.
const BATCHES_MAX: usize = 256;
/// The most rows of parameters of one statement.
const ROWS_MAX: usize = 1 << 20;

/// Parameters of a statement: it runs once for each row, whose first column is `$1`.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    /// `None` of a statement without parameters, which runs once.
    batches: Option<Vec<RecordBatch>>,
}

impl Parameters {
    /// How many times a statement runs with them.
    pub(crate) fn runs(&self) -> usize {
        self.batches.as_ref().map_or(1, |batches| batches.iter().map(RecordBatch::num_rows).sum())
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        let mut seen = HashSet::new();
        let columns = self.batches.iter().flatten().flat_map(RecordBatch::columns);
        columns.map(|column| column_bytes(&column.to_data(), &mut seen)).sum()
    }

    /// The values of a run.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidParameter`] for a value that is no parameter, such as a list.
    pub(crate) fn values(&self, run: usize) -> Result<Vec<Value>> {
        let mut row = run;
        for batch in self.batches.iter().flatten() {
            if row < batch.num_rows() {
                return values(batch, row);
            }
            row -= batch.num_rows();
        }
        Ok(Vec::new())
    }

    /// Reads them from what a client puts.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`; `RESOURCE_EXHAUSTED` for too many.
    pub(crate) async fn read(mut incoming: Incoming) -> Result<Self, Status> {
        let (mut batches, mut rows) = (Vec::new(), 0);
        while let Some(batch) = incoming.next().await? {
            rows += batch.num_rows();
            if rows > ROWS_MAX {
                return Err(status::too_large(format!(
                    "a statement takes at most {ROWS_MAX} rows of parameters at a time"
                )));
            }
            batches.push(batch);
            if batches.len() == BATCHES_MAX {
                batches = joined(batches)?;
            }
        }
        let batches = joined(batches)?;
        // Without columns there are no parameters.
        let is_none = incoming.schema().is_none_or(|schema| schema.fields().is_empty());
        Ok(Self { batches: (!is_none).then_some(batches) })
    }
}

/// Batches as one: each of many small ones takes far more than its rows do.
fn joined(batches: Vec<RecordBatch>) -> std::result::Result<Vec<RecordBatch>, Status> {
    let [first, _, ..] = &*batches else { return Ok(batches) };
    let joined = concat_batches(first.schema_ref(), &batches);
    let joined =
        joined.map_err(|error| status::invalid(format!("the parameters cannot be kept: {error}")))?;
    Ok(vec![joined])
}

/// Bytes of a column. Columns that came in one message share its bytes, which count once.
fn column_bytes(column: &ArrayData, seen: &mut HashSet<usize>) -> usize {
    let nulls = column.nulls().map(NullBuffer::buffer);
    let own = column.buffers().iter().chain(nulls).filter(|of| seen.insert(of.data_ptr().addr().get()));
    let own: usize = own.map(Buffer::capacity).sum();
    own + column.child_data().iter().map(|child| column_bytes(child, seen)).sum::<usize>()
}

fn values(batch: &RecordBatch, row: usize) -> Result<Vec<Value>> {
    let columns = batch.columns().iter().zip(batch.schema_ref().fields());
    let values = columns.map(|(column, field)| {
        let value = ValueRef::at(column.as_ref(), row).map_err(|error| {
            Error::new(ErrorCode::InvalidParameter, format!("the parameter `{}`", field.name()))
                .with_source(error)
        })?;
        Ok(value.into_owned())
    });
    values.collect()
}

/// Batches that a client sends.
pub(crate) struct Incoming {
    batches: FlightRecordBatchStream,
    patience: Duration,
}

impl Incoming {
    /// Those of a call: its first message, and the others. Messages of more than `max` bytes together are refused, and so is a client
    /// that sends nothing for `patience`.
    pub(crate) fn new(
        first: FlightData,
        others: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
        max: u64,
        patience: Duration,
    ) -> Self {
        let taken = Arc::new(AtomicU64::new(0));
        // A first message that only names the command has no rows.
        let first = (!first.data_header.is_empty()).then_some(Ok(first));
        let all = stream::iter(first).chain(others);
        let checked: BoxStream<'static, Result<FlightData, FlightError>> = all
            .map(move |message| {
                let message = message.map_err(|status| FlightError::Tonic(Box::new(status)))?;
                let len = message.data_header.len() + message.data_body.len();
                let taken = taken.fetch_add(len as u64, Ordering::Relaxed) + len as u64;
                check(&message, taken, max).map_err(|status| FlightError::Tonic(Box::new(status)))?;
                Ok(message)
            })
            .boxed();
        Self { batches: FlightRecordBatchStream::new_from_flight_data(checked), patience }
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what is no stream of Arrow; `DEADLINE_EXCEEDED`.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Status> {
        // The decoder panics at some of what is damaged.
        let decoding = AssertUnwindSafe(self.batches.next()).catch_unwind();
        match timeout(self.patience, decoding).await {
            Ok(Ok(next)) => next.transpose().map_err(|error| match error {
                FlightError::Tonic(status) => *status,
                error => status::invalid(format!("the rows cannot be decoded: {error}")),
            }),
            Ok(Err(_)) => Err(status::invalid("the rows are damaged, and cannot be decoded")),
            Err(_) => Err(status::late("the client sent nothing for too long")),
        }
    }

    /// Their columns, once a message came.
    pub(crate) fn schema(&self) -> Option<SchemaRef> {
        self.batches.schema().cloned()
    }
}

/// Looks at a message before it is decoded.
fn check(message: &FlightData, taken: u64, max: u64) -> Result<(), Status> {
    if taken > max {
        return Err(status::too_large(format!("at most {max} bytes of rows are taken at a time")));
    }
    if message.data_header.is_empty() {
        return Ok(());
    }
    let damaged = |why: String| status::invalid(format!("a message of Arrow is not valid: {why}"));
    let header = root_as_message(&message.data_header).map_err(|error| damaged(error.to_string()))?;
    let len = (message.data_header.len() + message.data_body.len()) as u64;
    pillion_door::check_rows(&header, len).map_err(damaged)?;
    check_arrow_message(&message.data_header, &message.data_body)
        .map_err(|error| damaged(format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn a_statement_runs_once_for_each_row_of_parameters() {
        let none = Parameters::default();
        assert_eq!((none.runs(), none.values(0).unwrap()), (1, Vec::new()));
        let batch = |ids: Vec<i64>| {
            let texts: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>; ids.len()]));
            let ids: ArrayRef = Arc::new(Int64Array::from(ids));
            RecordBatch::try_from_iter([("1", ids), ("2", texts)]).unwrap()
        };
        let some = Parameters { batches: Some(vec![batch(vec![1, 2]), batch(vec![]), batch(vec![3])]) };
        assert_eq!(some.runs(), 3);
        assert_eq!(some.values(2).unwrap(), [Value::Int(3), Value::Null]);
        assert_eq!(Parameters { batches: Some(Vec::new()) }.runs(), 0);
        let joined = joined(some.batches.unwrap()).unwrap();
        assert_eq!(joined.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [3], "many become one");
        // What columns share counts once.
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        let twice = RecordBatch::try_from_iter([("1", ids.slice(0, 990)), ("2", ids.slice(10, 990))]);
        let bytes = |batch| Parameters { batches: Some(vec![batch]) }.bytes();
        let once = bytes(RecordBatch::try_from_iter([("1", ids)]).unwrap());
        assert!(once >= 8000, "{once}");
        assert_eq!(once, bytes(twice.unwrap()));
    }
}
