//! Rows that were looked up, as mappings whose values are made when they are asked for.

use std::sync::Arc;

use arrow::array::RecordBatch;
use pillion::{ErrorCode, ValueRef};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyIterator, PyList, PyMapping, PyString, PyTuple};

use crate::arrow_out::{BatchReader, schema_capsule, stream_capsule};
use crate::batch::Batch;
use crate::cells::Columns;
use crate::errors::{raise, refuse};
use crate::info::{Schema, Version};

/// One row of a table at one version: a mapping of column names to values.
///
/// Makes a value when it is asked for, from the mapped file, which it keeps alive. Keep it as long as you like, but prefer
/// :meth:`to_dict` for what you keep for hours, so that the space of replaced files can be used again.
#[pyclass(frozen, mapping, module = "pillion")]
pub(crate) struct Row {
    row: pillion::Row,
    columns: Arc<Columns>,
}

impl Row {
    pub(crate) fn new(row: pillion::Row, columns: Arc<Columns>) -> Self {
        Self { row, columns }
    }

    fn value<'py>(&self, py: Python<'py>, column: usize) -> PyResult<Bound<'py, PyAny>> {
        if self.columns.is_single(column) {
            let value = self.row.get::<ValueRef<'_>>(column).map_err(raise)?;
            return self.columns.object(py, column, value);
        }
        let batch = self.row.to_batch().map_err(raise)?;
        self.columns.cell(py, column, batch.column(column), 0)
    }

    fn values_of<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        (0..self.columns.names.len()).map(|column| self.value(py, column)).collect()
    }
}

#[pymethods]
impl Row {
    fn __getitem__<'py>(&self, column: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = column.py();
        if let Ok(name) = column.cast::<PyString>() {
            return self.value(py, self.columns.position(name.to_str()?)?);
        }
        let Ok(position) = column.extract::<isize>() else {
            return Err(refuse(
                ErrorCode::ColumnNotFound,
                "columns are named by texts, or by their positions",
            ));
        };
        self.value(py, at(position, self.columns.names.len())?)
    }

    /// The value in a column, or ``default`` if there is no such column.
    #[pyo3(signature = (name, default = None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.columns.positions.get(name) {
            Some(column) => self.value(py, *column).map(Some),
            None => Ok(default),
        }
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> bool {
        name.extract::<&str>().is_ok_and(|name| self.columns.positions.contains_key(name))
    }

    fn __len__(&self) -> usize {
        self.columns.names.len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.keys(py)?.try_iter()
    }

    /// The names of the columns.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, &self.columns.names)
    }

    /// The values of all columns.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.values_of(py)?)
    }

    /// Pairs of names and values.
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pairs = self.columns.names.iter().zip(self.values_of(py)?);
        let pairs = pairs.map(|(name, value)| PyTuple::new(py, [name.bind(py).as_any().clone(), value]));
        PyList::new(py, pairs.collect::<PyResult<Vec<_>>>()?)
    }

    /// The row as a dict, which keeps nothing of the cache.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in self.columns.names.iter().zip(self.values_of(py)?) {
            dict.set_item(name, value)?;
        }
        Ok(dict)
    }

    /// The row as Arrow, with values of every type.
    fn to_arrow(&self) -> PyResult<Batch> {
        Ok(Batch::new(self.columns.clone(), vec![self.row.to_batch().map_err(raise)?]))
    }

    /// Its columns.
    #[getter]
    fn schema(&self) -> Schema {
        Schema(self.columns.schema.clone())
    }

    /// The version that it was read at.
    #[getter]
    fn version(&self) -> Version {
        self.row.version().into()
    }

    /// The source of the table held the same row at this moment; ``None`` if nobody knows.
    #[getter]
    fn as_of(&self) -> Option<std::time::SystemTime> {
        self.row.freshness().map(|freshness| freshness.as_of)
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        if let Ok(other) = other.cast::<Self>() {
            return self.to_dict(py)?.eq(other.get().to_dict(py)?);
        }
        match other.cast::<PyMapping>() {
            Ok(other) => self.to_dict(py)?.eq(py.get_type::<PyDict>().call1((other,))?),
            Err(_) => Ok(false),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Row({})", self.to_dict(py)?.repr()?))
    }
}

/// The rows of several keys, in the order of the keys; ``None`` where there is none.
///
/// As Arrow, these are the rows that were found.
#[pyclass(frozen, sequence, module = "pillion")]
pub(crate) struct Rows {
    rows: Vec<Option<pillion::Row>>,
    columns: Arc<Columns>,
}

impl Rows {
    pub(crate) fn new(rows: Vec<Option<pillion::Row>>, columns: Arc<Columns>) -> Self {
        Self { rows, columns }
    }

    /// The rows that were found, as at most one batch.
    fn found(&self, py: Python<'_>) -> PyResult<Vec<RecordBatch>> {
        let found: Vec<&pillion::Row> = self.rows.iter().flatten().collect();
        if found.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![py.detach(|| pillion::Row::gather(&found)).map_err(raise)?])
    }
}

#[pymethods]
impl Rows {
    fn __len__(&self) -> usize {
        self.rows.len()
    }

    fn __getitem__(&self, position: isize) -> PyResult<Option<Row>> {
        // The error of a sequence ends a loop over it.
        let position = at(position, self.rows.len()).map_err(|_| PyIndexError::new_err("no such row"))?;
        let row = self.rows.get(position).and_then(Option::as_ref);
        Ok(row.map(|row| Row::new(row.clone(), self.columns.clone())))
    }

    /// The positions of the keys that have no row.
    #[getter]
    fn missing(&self) -> Vec<usize> {
        self.rows.iter().enumerate().filter(|(_, row)| row.is_none()).map(|(position, _)| position).collect()
    }

    /// The rows that were found, as one batch.
    fn to_arrow(&self, py: Python<'_>) -> PyResult<Batch> {
        Ok(Batch::new(self.columns.clone(), self.found(py)?))
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
        stream_capsule(py, BatchReader::new(self.columns.schema.clone(), self.found(py)?))
    }

    fn __repr__(&self) -> String {
        format!("Rows({} of {} keys found)", self.rows.iter().flatten().count(), self.rows.len())
    }
}

/// A position that may count from the end.
fn at(position: isize, len: usize) -> PyResult<usize> {
    let from_start = if position < 0 { position.checked_add_unsigned(len) } else { Some(position) };
    from_start
        .and_then(|position| usize::try_from(position).ok())
        .filter(|position| *position < len)
        .ok_or_else(|| {
            refuse(ErrorCode::ColumnNotFound, format!("there is no column {position}; there are {len}"))
        })
}
