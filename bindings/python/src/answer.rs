//! Answers of scans and queries, read batch by batch.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::StreamExt;
use futures::executor::block_on;
use pillion::{BatchStream, Batches, Canceller, ErrorCode};
use pillion_rows::{contained, words};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::arrow_out::{schema_capsule, stream_capsule};
use crate::batch::Batch;
use crate::cells::Columns;
use crate::certificate::Certificate;
use crate::errors::{raise, refuse};
use crate::fork::Held;
use crate::info::{Schema, Version};
use crate::waiting::{interruptible, interruptible_below};

/// The answer of a scan or a query: rows of one version, read batch by batch.
///
/// It is read once: by a loop, by :meth:`read_all`, or by a library that takes Arrow, such as ``polars.DataFrame(answer)``,
/// ``pyarrow.table(answer)`` or ``duckdb.sql("FROM answer")``. Rows that a query did not change are views of the mapped files of
/// the cache: nobody copies them, and they stay as long as someone uses them. Dropping it ends the query.
#[pyclass(frozen, module = "pillion")]
pub(crate) struct Answer {
    state: Mutex<State>,
    columns: Arc<Columns>,
    version: pillion::Version,
    as_of: Option<SystemTime>,
    certificate: pillion::Certificate,
    canceller: Canceller,
}

/// What the batches come from.
enum Reading {
    Batches(Batches),
    /// Of a query whose first rows could be given up while they were waited for.
    Stream(BatchStream),
}

impl Reading {
    fn next(&mut self) -> Option<pillion::Result<RecordBatch>> {
        match self {
            Self::Batches(batches) => batches.next(),
            Self::Stream(stream) => block_on(stream.next()),
        }
    }
}

enum State {
    Open(Held<Reading>),
    /// It was read to its end, or closed.
    Ended,
    /// Something else reads it.
    Taken,
}

impl Answer {
    pub(crate) fn new(py: Python<'_>, batches: Batches) -> Self {
        Self {
            columns: Arc::new(Columns::new(py, batches.schema().clone())),
            version: batches.version(),
            as_of: batches.freshness().map(|freshness| freshness.as_of),
            certificate: batches.certificate().clone(),
            canceller: batches.canceller(),
            state: Mutex::new(State::Open(Held::new(Reading::Batches(batches)))),
        }
    }

    pub(crate) fn of_stream(py: Python<'_>, stream: BatchStream) -> Self {
        Self {
            columns: Arc::new(Columns::new(py, stream.schema().clone())),
            version: stream.version(),
            as_of: stream.freshness().map(|freshness| freshness.as_of),
            certificate: stream.certificate().clone(),
            canceller: stream.canceller(),
            state: Mutex::new(State::Open(Held::new(Reading::Stream(stream)))),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes the batches out if they are there, and says how the answer stood. Makes no exception: that runs code of Python, and
    /// other threads meanwhile, which may want the lock.
    fn claim(&self) -> State {
        let mut state = self.state();
        match &*state {
            State::Open(_) => std::mem::replace(&mut *state, State::Taken),
            State::Ended => State::Ended,
            State::Taken => State::Taken,
        }
    }

    fn is_open(&self) -> bool {
        matches!(&*self.state(), State::Open(_))
    }

    /// Takes the batches out, for somebody else to read.
    fn take(&self) -> PyResult<Held<Reading>> {
        match self.claim() {
            State::Open(batches) => Ok(batches),
            State::Ended | State::Taken => Err(read_already()),
        }
    }

    /// The next batch; Ctrl-C ends the query.
    fn next_batch(&self, py: Python<'_>) -> PyResult<Option<RecordBatch>> {
        let mut batches = match self.claim() {
            State::Open(batches) => batches,
            State::Ended => return Ok(None),
            State::Taken => {
                return Err(refuse(ErrorCode::InvalidArgument, "something else reads the answer already"));
            }
        };
        // Planned queries may do their work on the thread that asks, so a helper asks, and this thread looks for Ctrl-C.
        let canceller = self.canceller.clone();
        let work = move || {
            let next = batches.get_mut()?.next();
            Ok((batches, next))
        };
        let outcome = interruptible(py, work, move || canceller.cancel());
        let (batches, next) = outcome.inspect_err(|_| *self.state() = State::Ended)?;
        match next {
            Some(Ok(batch)) => {
                *self.state() = State::Open(batches);
                Ok(Some(batch))
            }
            ended => {
                *self.state() = State::Ended;
                py.detach(|| drop(batches));
                ended.transpose().map_err(raise)
            }
        }
    }

    fn all(&self, py: Python<'_>) -> PyResult<Batch> {
        if !self.is_open() {
            return Err(read_already());
        }
        let mut batches = Vec::new();
        while let Some(batch) = self.next_batch(py)? {
            batches.push(batch);
        }
        Ok(Batch::new(self.columns.clone(), batches))
    }
}

fn read_already() -> PyErr {
    let message = "the answer was read already; run the query again, or keep what read_all() returns";
    refuse(ErrorCode::InvalidArgument, message)
}

#[pymethods]
impl Answer {
    /// Its columns.
    #[getter]
    fn schema(&self) -> Schema {
        Schema(self.columns.schema.clone())
    }

    /// The version of the cache that is read.
    #[getter]
    fn version(&self) -> Version {
        self.version.into()
    }

    /// The sources of the tables held the same rows at this moment; ``None`` if nobody knows.
    #[getter]
    fn as_of(&self) -> Option<SystemTime> {
        self.as_of
    }

    /// Whether the answer has all rows that the sources of its tables would have given, and what shows it.
    #[getter]
    fn certificate(&self) -> Certificate {
        (&self.certificate).into()
    }

    /// Ends the query, from any thread. Whoever reads the answer gets :class:`CancelledError`.
    fn cancel(&self, py: Python<'_>) {
        py.detach(|| self.canceller.cancel());
    }

    /// Ends the query and frees what it holds.
    fn close(&self, py: Python<'_>) {
        let before = std::mem::replace(&mut *self.state(), State::Ended);
        py.detach(|| drop(before));
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, pyo3::types::PyTuple>) {
        self.close(py);
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        Ok(self.next_batch(py)?.map(|batch| Batch::new(self.columns.clone(), vec![batch])))
    }

    /// All rows. Ctrl-C ends the query.
    fn read_all(&self, py: Python<'_>) -> PyResult<Batch> {
        self.all(py)
    }

    /// All rows as dicts.
    fn to_pylist<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Bound::new(slf.py(), slf.get().all(slf.py())?)?.call_method0("to_pylist")
    }

    /// All rows as tuples.
    fn to_tuples<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Bound::new(slf.py(), slf.get().all(slf.py())?)?.call_method0("to_tuples")
    }

    /// All rows as a ``pyarrow.Table``.
    fn to_pyarrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Bound::new(slf.py(), slf.get().all(slf.py())?)?.call_method0("to_pyarrow")
    }

    /// All rows as a ``polars.DataFrame``.
    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Bound::new(slf.py(), slf.get().all(slf.py())?)?.call_method0("to_polars")
    }

    /// All rows as a ``pandas.DataFrame`` whose columns are Arrow's.
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Bound::new(slf.py(), slf.get().all(slf.py())?)?.call_method0("to_pandas")
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.columns.schema)
    }

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let reader = AnswerReader {
            batches: Some(self.take()?),
            schema: self.columns.schema.clone(),
            canceller: self.canceller.clone(),
        };
        stream_capsule(py, reader)
    }

    fn __repr__(&self) -> String {
        format!("Answer(columns={:?}, version='{}')", self.schema().0.fields().len(), self.version)
    }
}

/// An answer in the hands of another library, which asks for batches from any thread.
struct AnswerReader {
    batches: Option<Held<Reading>>,
    schema: SchemaRef,
    canceller: Canceller,
}

impl AnswerReader {
    fn read(&mut self) -> pillion::Result<Option<RecordBatch>> {
        let Some(mut batches) = self.batches.take() else { return Ok(None) };
        let work = move || {
            let next = batches.get_mut()?.next();
            Ok((batches, next))
        };
        let (batches, next) = interruptible_below(work, || self.canceller.cancel())?;
        if matches!(next, Some(Ok(_))) {
            self.batches = Some(batches);
        }
        next.transpose()
    }
}

impl Iterator for AnswerReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let failed = |error: pillion::Error| {
            // Libraries show only the words, so these have the code.
            let text = format!("{} ({:?})", words(&error), error.code());
            ArrowError::ExternalError(text.into())
        };
        contained(|| self.read()).map_err(failed).transpose()
    }
}

impl RecordBatchReader for AnswerReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
