//! Tables, at the newest version and at a held one.

use std::sync::Arc;

use arrow::array::RecordBatch;
use pillion::{ErrorCode, Input, TableSnapshot, Value, ValueRef};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::answer::Answer;
use crate::arrow_in::import_stream;
use crate::arrow_out::schema_capsule;
use crate::cells::Columns;
use crate::errors::{raise, refuse};
use crate::fork::Held;
use crate::info::{Schema, TableInfo, Version};
use crate::input::{Rows as GivenRows, rows};
use crate::row::{Row, Rows};
use crate::shared::Shared;
use crate::subscription::Subscription;
use crate::values::KeyColumns;
use crate::waiting::{detached, interruptible};

/// A table, at whatever version is newest when a call is made. Made by :meth:`Cache.table`.
///
/// A key is a value, or a tuple of one value for each column of the primary key.
#[pyclass(frozen, mapping, module = "pillion")]
pub(crate) struct Table {
    pub(crate) shared: Arc<Shared>,
    pub(crate) table: Held<pillion::Table>,
    columns: Arc<Columns>,
    keys: KeyColumns,
}

impl Table {
    /// Describes the table once: its key decides what keys may be. Waits for a sidecar if there is one.
    ///
    /// # Errors
    /// Those of [`pillion::Table::info`].
    pub(crate) fn new(py: Python<'_>, shared: Arc<Shared>, table: pillion::Table) -> PyResult<Self> {
        let info = detached(py, || table.info())?;
        let columns = Arc::new(Columns::new(py, info.schema.clone()));
        Ok(Self { shared, table: Held::new(table), columns, keys: KeyColumns::of(&info) })
    }

    #[inline]
    pub(crate) fn open(&self) -> PyResult<&pillion::Table> {
        self.shared.checked(&self.table)
    }

    /// The keys of rows to look up or to delete: an iterable of keys, or Arrow with the columns of the key.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidKey`] for other objects.
    pub(crate) fn keys(&self, object: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<Value>>> {
        keys(&self.keys, object)
    }

    /// Rows for a write to this table.
    ///
    /// # Errors
    /// Those of [`rows`].
    pub(crate) fn rows(&self, object: &Bound<'_, PyAny>) -> PyResult<GivenRows> {
        rows(object, Some(&self.columns.schema))
    }

    fn write(
        &self,
        given: &Bound<'_, PyAny>,
        write: impl FnOnce(&pillion::Table, Input) -> pillion::Result<pillion::Version> + Send + 'static,
    ) -> PyResult<Version> {
        let table = self.open()?.clone();
        let rows = self.rows(given)?;
        written(given.py(), rows, move |input| write(&table, input)).map(Into::into)
    }
}

/// Makes a change of rows. Rows that come from elsewhere may be slow: Ctrl-C then ends the load, which changes nothing.
///
/// # Errors
/// Those of the change.
pub(crate) fn written<T: Send + 'static>(
    py: Python<'_>,
    rows: GivenRows,
    write: impl FnOnce(Input) -> pillion::Result<T> + Send + 'static,
) -> PyResult<T> {
    let interrupter = rows.interrupter();
    let is_slow = rows.is_slow;
    let input = rows.input;
    if is_slow {
        return interruptible(py, move || write(input), interrupter);
    }
    detached(py, move || write(input))
}

fn keys(columns: &KeyColumns, object: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<Value>>> {
    if object.hasattr("__arrow_c_stream__")? {
        let reader = import_stream(object)?;
        let failed = |error: arrow::error::ArrowError| {
            refuse(ErrorCode::SourceInvalid, format!("the keys cannot be read: {error}"))
        };
        let batches = object.py().detach(|| reader.collect::<Result<Vec<_>, _>>()).map_err(failed)?;
        let mut keys = Vec::new();
        for batch in &batches {
            keys_of(columns, batch, &mut keys)?;
        }
        return Ok(keys);
    }
    let items = object.try_iter().map_err(|_| {
        refuse(ErrorCode::InvalidKey, "keys are a list of keys, or Arrow with the columns of the key")
    })?;
    items.map(|key| columns.key(&key?)).collect()
}

/// The keys in the columns of a batch.
fn keys_of(columns: &KeyColumns, batch: &RecordBatch, keys: &mut Vec<Vec<Value>>) -> PyResult<()> {
    let found = columns.arrays(batch)?;
    for index in 0..batch.num_rows() {
        let parts = found.iter().map(|array| {
            if array.is_null(index) {
                return Ok(Value::Null);
            }
            ValueRef::at(array.as_ref(), index).map(Into::into).map_err(raise)
        });
        keys.push(parts.collect::<PyResult<Vec<_>>>()?);
    }
    Ok(())
}

#[pymethods]
impl Table {
    /// Its name.
    #[getter]
    fn name(&self) -> PyResult<&str> {
        Ok(self.open()?.name())
    }

    /// Its columns.
    #[getter]
    fn schema(&self) -> Schema {
        Schema(self.columns.schema.clone())
    }

    /// The columns of its primary key.
    #[getter]
    fn primary_key(&self) -> Vec<&str> {
        self.keys.names().collect()
    }

    /// Describes the table as it is now.
    fn info(&self, py: Python<'_>) -> PyResult<TableInfo> {
        let table = self.open()?;
        Ok((&detached(py, || table.info())?).into())
    }

    /// The row with a primary key, or ``None``.
    ///
    /// A function call where the files are mapped: no message, no copy. Only the values that you ask for are made.
    ///
    /// >>> flights.get(("UA", 1545))["delay"]
    /// 2.0
    fn get(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Option<Row>> {
        let table = self.open()?;
        let key = self.keys.key(key)?;
        // What waits for a source or a sidecar lets other threads of Python run.
        let at_once = if self.shared.is_local() { table.get_at_once(key.as_slice()) } else { None };
        let found = match at_once {
            Some(found) => found.map_err(raise)?,
            None => detached(py, || table.get(key.as_slice()))?,
        };
        Ok(found.map(|row| Row::new(row, self.columns.clone())))
    }

    fn __getitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Row> {
        self.get(py, key)?.ok_or_else(|| PyKeyError::new_err(key.clone().unbind()))
    }

    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.get(py, key)?.is_some())
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let table = self.open()?;
        Ok(usize::try_from(detached(py, || table.info())?.rows)?)
    }

    /// The rows with some primary keys, all of one version, in the order of the keys.
    ///
    /// Takes a list of keys, or anything that exports Arrow with the columns of the key. The answer is a sequence of rows, and
    /// Arrow of those that were found.
    fn get_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<Rows> {
        let table = self.open()?;
        let keys = self.keys(keys)?;
        let found = detached(py, || table.get_many(&keys))?;
        Ok(Rows::new(found, self.columns.clone()))
    }

    /// All rows, with all columns or some.
    #[pyo3(signature = (columns = None))]
    fn scan(&self, py: Python<'_>, columns: Option<Vec<String>>) -> PyResult<Answer> {
        let table = self.open()?.clone();
        let work = move || match columns {
            None => table.scan(),
            Some(columns) => table.scan_columns(columns),
        };
        Ok(Answer::new(py, detached(py, work)?))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.columns.schema)
    }

    /// All rows at the newest version, any number of times: ``duckdb.sql("FROM flights")``.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        slf: &Bound<'py, Self>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.call_method0("scan")?.call_method1("__arrow_c_stream__", (requested_schema,))
    }

    /// Adds rows in one commit, and returns its version.
    ///
    /// Rows are anything that exports Arrow (a DataFrame, a ``pyarrow.Table``, a DuckDB relation), dicts, or paths of files.
    fn append(&self, rows: &Bound<'_, PyAny>) -> PyResult<Version> {
        self.write(rows, |table, input| table.append(input))
    }

    /// Adds rows, replacing those with the same primary keys, in one commit, and returns its version.
    fn upsert(&self, rows: &Bound<'_, PyAny>) -> PyResult<Version> {
        self.write(rows, |table, input| table.upsert(input))
    }

    /// Replaces all rows in one commit, and returns its version.
    fn replace(&self, rows: &Bound<'_, PyAny>) -> PyResult<Version> {
        self.write(rows, |table, input| table.replace(input))
    }

    /// Removes the row with a primary key in one commit, and returns its version. A missing row is no error.
    fn delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Version> {
        let (table, key) = (self.open()?, self.keys.key(key)?);
        Ok(detached(py, || table.delete(key.as_slice()))?.into())
    }

    /// Removes the rows with some primary keys in one commit, and returns its version. Takes keys as :meth:`get_many` does.
    fn delete_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<Version> {
        let (table, keys) = (self.open()?, self.keys(keys)?);
        Ok(detached(py, || table.delete_many(&keys))?.into())
    }

    /// Removes rows because they are wrong: whoever feeds the table brings back the right ones.
    fn invalidate(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<Version> {
        let (table, keys) = (self.open()?, self.keys(keys)?);
        Ok(detached(py, || table.invalidate(&keys))?.into())
    }

    /// Removes all rows in one commit, and returns its version.
    fn truncate(&self, py: Python<'_>) -> PyResult<Version> {
        let table = self.open()?;
        Ok(detached(py, || table.truncate())?.into())
    }

    /// What commits changed after a version, in their order. The first columns are ``_change`` (``upsert``, ``delete`` or
    /// ``truncate``) and ``_sequence``; ask from the ``version`` of the answer the next time.
    fn changes(&self, py: Python<'_>, since: &Version) -> PyResult<Answer> {
        let (table, since) = (self.open()?, since.into());
        Ok(Answer::new(py, detached(py, || table.changes(since))?))
    }

    /// Changes as they are committed after a version, by default after the newest one: an iterator that waits.
    #[pyo3(signature = (since = None))]
    fn subscribe(&self, py: Python<'_>, since: Option<&Version>) -> PyResult<Subscription> {
        let table = self.open()?;
        let since = match since {
            Some(since) => since.into(),
            None => {
                let cache = self.shared.cache()?;
                detached(py, || cache.version())?
            }
        };
        Ok(Subscription::new(self.shared.clone(), table.subscribe(since)))
    }

    /// Refreshes the table from its source now, and waits. Ctrl-C gives the refresh up.
    fn refresh(&self, py: Python<'_>) -> PyResult<Version> {
        crate::cache::refresh(py, &self.shared, self.open()?.name().to_owned())
    }

    /// Waits until a table that follows its source has everything that the source had committed at a position, for at most
    /// ``limit`` seconds. The position is what the source gives, such as ``SELECT pg_current_wal_lsn()`` of PostgreSQL.
    #[pyo3(signature = (position, limit))]
    fn wait_for(
        &self,
        py: Python<'_>,
        position: &Bound<'_, PyAny>,
        limit: &Bound<'_, PyAny>,
    ) -> PyResult<Version> {
        let table = self.open()?.clone();
        let position = match position.extract::<String>() {
            Ok(text) => text.into_bytes(),
            Err(_) => position.extract::<Vec<u8>>()?,
        };
        let limit = crate::cache::duration(limit, "`limit`")?;
        interruptible(py, move || table.wait_for(position, limit), || {}).map(Into::into)
    }

    /// The table as a ``polars.LazyFrame`` that reads only the columns and rows that its query needs, or all of it as a
    /// ``polars.DataFrame``.
    #[pyo3(signature = (*, lazy = false))]
    fn to_polars<'py>(slf: &Bound<'py, Self>, lazy: bool) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if lazy {
            let cache = Bound::new(py, crate::cache::Cache::new(slf.get().shared.clone()))?;
            return py.import("pillion._polars")?.getattr("scan")?.call1((cache, slf));
        }
        slf.call_method0("scan")?.call_method0("to_polars")
    }

    /// All rows as a ``pyarrow.Table``.
    fn to_pyarrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.call_method0("scan")?.call_method0("to_pyarrow")
    }

    /// All rows as a ``pandas.DataFrame`` whose columns are Arrow's.
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.call_method0("scan")?.call_method0("to_pandas")
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(format!("Table('{}', key={:?})", self.open()?.name(), self.primary_key()))
    }
}

/// A table at the version that a snapshot holds.
#[pyclass(frozen, mapping, module = "pillion")]
pub(crate) struct SnapshotTable {
    shared: Arc<Shared>,
    table: Held<TableSnapshot>,
    columns: Arc<Columns>,
    keys: KeyColumns,
}

impl SnapshotTable {
    pub(crate) fn new(py: Python<'_>, shared: Arc<Shared>, table: TableSnapshot) -> Self {
        let columns = Arc::new(Columns::new(py, table.info().schema.clone()));
        let keys = KeyColumns::of(table.info());
        Self { shared, table: Held::new(table), columns, keys }
    }
}

#[pymethods]
impl SnapshotTable {
    /// Describes the table at this version.
    fn info(&self) -> PyResult<TableInfo> {
        Ok(self.shared.checked(&self.table)?.info().into())
    }

    /// Its columns.
    #[getter]
    fn schema(&self) -> Schema {
        Schema(self.columns.schema.clone())
    }

    /// The row with a primary key, or ``None``.
    fn get(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Option<Row>> {
        let (table, key) = (self.shared.checked(&self.table)?, self.keys.key(key)?);
        let found = detached(py, || table.get(key.as_slice()))?;
        Ok(found.map(|row| Row::new(row, self.columns.clone())))
    }

    fn __getitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Row> {
        self.get(py, key)?.ok_or_else(|| PyKeyError::new_err(key.clone().unbind()))
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(usize::try_from(self.shared.checked(&self.table)?.info().rows)?)
    }

    /// The rows with some primary keys, in the order of the keys.
    fn get_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<Rows> {
        let table = self.shared.checked(&self.table)?;
        let keys = self::keys(&self.keys, keys)?;
        Ok(Rows::new(detached(py, || table.get_many(&keys))?, self.columns.clone()))
    }

    /// All rows with all columns.
    fn scan(&self, py: Python<'_>) -> PyResult<Answer> {
        let table = self.shared.checked(&self.table)?;
        Ok(Answer::new(py, detached(py, || table.scan())?))
    }

    fn __repr__(&self) -> PyResult<String> {
        let info = self.shared.checked(&self.table)?.info();
        Ok(format!("SnapshotTable('{}', version='{}')", info.name, info.version))
    }
}
