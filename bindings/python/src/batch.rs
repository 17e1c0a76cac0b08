//! Rows in memory: of an answer that was read, or a part of one.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use pillion::ErrorCode;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyList, PyTuple};

use crate::arrow_out::{BatchReader, array_capsules, schema_capsule, stream_capsule};
use crate::cells::Columns;
use crate::errors::refuse;
use crate::info::Schema;

/// Rows in memory, as Arrow. Rows of the cache that a query did not change are views of its mapped files.
///
/// Everything that takes Arrow takes it, any number of times and without a copy: ``polars.DataFrame(batch)``,
/// ``pyarrow.table(batch)``, ``duckdb.sql("FROM batch")``. The buffers live as long as someone uses them.
#[pyclass(frozen, module = "pillion")]
pub(crate) struct Batch {
    columns: Arc<Columns>,
    batches: Vec<RecordBatch>,
    rows: usize,
}

impl Batch {
    pub(crate) fn new(columns: Arc<Columns>, batches: Vec<RecordBatch>) -> Self {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        Self { columns, batches, rows }
    }

    /// Calls `each` for every row with the batch that it is in, and its position there.
    fn each_row<T>(&self, mut each: impl FnMut(&RecordBatch, usize) -> PyResult<T>) -> PyResult<Vec<T>> {
        let mut made = Vec::with_capacity(self.rows);
        for batch in &self.batches {
            for index in 0..batch.num_rows() {
                made.push(each(batch, index)?);
            }
        }
        Ok(made)
    }
}

#[pymethods]
impl Batch {
    /// Its columns.
    #[getter]
    fn schema(&self) -> Schema {
        Schema(self.columns.schema.clone())
    }

    /// The names of its columns.
    #[getter]
    fn column_names(&self) -> Vec<&str> {
        self.columns.schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    /// Rows.
    #[getter]
    fn num_rows(&self) -> usize {
        self.rows
    }

    fn __len__(&self) -> usize {
        self.rows
    }

    /// The rows as dicts.
    fn to_pylist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let rows = self.each_row(|batch, index| {
            let dict = PyDict::new(py);
            for (column, (name, array)) in self.columns.names.iter().zip(batch.columns()).enumerate() {
                dict.set_item(name, self.columns.cell(py, column, array, index)?)?;
            }
            Ok(dict)
        });
        PyList::new(py, rows?)
    }

    /// The rows as tuples.
    fn to_tuples<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let rows = self.each_row(|batch, index| {
            let cells = batch.columns().iter().enumerate();
            let cells = cells.map(|(column, array)| self.columns.cell(py, column, array, index));
            PyTuple::new(py, cells.collect::<PyResult<Vec<_>>>()?)
        });
        PyList::new(py, rows?)
    }

    /// The values of a column, by name.
    fn column<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        let column = self.columns.position(name)?;
        let cells = self.each_row(|batch, index| self.columns.cell(py, column, batch.column(column), index));
        PyList::new(py, cells?)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.columns.schema)
    }

    /// The buffers are handed over as they are; a wish for other types is not granted, as the interface allows.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        stream_capsule(py, BatchReader::new(self.columns.schema.clone(), self.batches.clone()))
    }

    /// One array of all rows; copies them where they are in several batches.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema;
        let batch = match &self.batches[..] {
            [batch] => batch.clone(),
            batches => py.detach(|| concat_batches(&self.columns.schema, batches)).map_err(|error| {
                refuse(ErrorCode::TooLarge, format!("the rows do not fit into one array: {error}"))
            })?,
        };
        array_capsules(py, batch)
    }

    /// The rows as a ``pyarrow.Table``.
    fn to_pyarrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("pyarrow")?.getattr("table")?.call1((slf,))
    }

    /// The rows as a ``polars.DataFrame``.
    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("polars")?.getattr("DataFrame")?.call1((slf,))
    }

    /// The rows as a ``pandas.DataFrame`` whose columns are Arrow's, by way of pyarrow.
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let kwargs = PyDict::new(py);
        kwargs.set_item("types_mapper", py.import("pandas")?.getattr("ArrowDtype")?)?;
        Self::to_pyarrow(slf)?.call_method("to_pandas", (), Some(&kwargs))
    }

    fn __repr__(&self) -> String {
        format!("Batch(rows={}, columns={:?})", self.rows, self.column_names())
    }
}
