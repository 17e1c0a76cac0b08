//! Held versions, and queries that were planned once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use pillion::{Error, ErrorCode};

use crate::answer::Answer;
use crate::errors::raise;
use crate::fork::Held;
use crate::info::{TableInfo, Version};
use crate::shared::Shared;
use crate::table::SnapshotTable;
use crate::values::parameters;
use crate::waiting::{detached, interruptible};

/// One version of the cache, held for several reads: all of them see the same rows. Use it with ``with``, or close it.
#[pyclass(frozen, module = "pillion")]
pub(crate) struct Snapshot {
    shared: Arc<Shared>,
    /// `None` once it was closed.
    snapshot: Mutex<Option<Held<pillion::Snapshot>>>,
}

impl Snapshot {
    pub(crate) fn new(shared: Arc<Shared>, snapshot: pillion::Snapshot) -> Self {
        Self { shared, snapshot: Mutex::new(Some(Held::new(snapshot))) }
    }

    fn held(&self) -> MutexGuard<'_, Option<Held<pillion::Snapshot>>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// [`ErrorCode::Closed`] after it, or its cache, was closed.
    fn open(&self) -> PyResult<pillion::Snapshot> {
        let held = self.held();
        let closed = || raise(Error::new(ErrorCode::Closed, "the snapshot was closed; take another one"));
        self.shared.checked(held.as_ref().ok_or_else(closed)?).cloned()
    }
}

#[pymethods]
impl Snapshot {
    /// The version.
    #[getter]
    fn version(&self, py: Python<'_>) -> PyResult<Version> {
        let snapshot = self.open()?;
        Ok(detached(py, || snapshot.version())?.into())
    }

    /// A table by its exact name.
    fn table(&self, py: Python<'_>, name: &str) -> PyResult<SnapshotTable> {
        let snapshot = self.open()?;
        let table = detached(py, || snapshot.table(name))?;
        Ok(SnapshotTable::new(py, self.shared.clone(), table))
    }

    /// Describes every table.
    fn tables(&self, py: Python<'_>) -> PyResult<Vec<TableInfo>> {
        let snapshot = self.open()?;
        Ok(detached(py, || snapshot.tables())?.iter().map(Into::into).collect())
    }

    /// Runs a query at this version; see :meth:`Cache.sql`.
    #[pyo3(signature = (text, params = None))]
    fn sql(&self, py: Python<'_>, text: String, params: Option<&Bound<'_, PyAny>>) -> PyResult<Answer> {
        let (snapshot, values) = (self.open()?, parameters(params)?);
        queried(py, &self.shared, move || snapshot.sql(&text, &values))
    }

    /// Lets the version go. The space of rows that were replaced since can then be used again.
    fn close(&self, py: Python<'_>) {
        let snapshot = self.held().take();
        py.detach(|| drop(snapshot));
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        "Snapshot()".to_owned()
    }
}

/// Plans a query, or asks a sidecar for its first rows.
///
/// # Errors
/// Those of the query.
pub(crate) fn queried(
    py: Python<'_>,
    shared: &Shared,
    query: impl FnOnce() -> pillion::Result<pillion::Batches> + Send + 'static,
) -> PyResult<Answer> {
    let batches = if shared.is_local() { detached(py, query)? } else { interruptible(py, query, || {})? };
    Ok(Answer::new(py, batches))
}

/// A query that was planned once, to be run many times, from any thread. Made by :meth:`Cache.prepare`.
#[pyclass(frozen, module = "pillion")]
pub(crate) struct Prepared {
    shared: Arc<Shared>,
    prepared: Held<pillion::Prepared>,
}

impl Prepared {
    pub(crate) fn new(shared: Arc<Shared>, prepared: pillion::Prepared) -> Self {
        Self { shared, prepared: Held::new(prepared) }
    }
}

#[pymethods]
impl Prepared {
    /// How many parameters it takes.
    #[getter]
    fn parameters(&self) -> PyResult<usize> {
        Ok(self.shared.checked(&self.prepared)?.parameters())
    }

    /// Runs it at the newest version, or at the one that a snapshot holds.
    #[pyo3(signature = (params = None, *, snapshot = None))]
    fn execute(
        &self,
        py: Python<'_>,
        params: Option<&Bound<'_, PyAny>>,
        snapshot: Option<&Snapshot>,
    ) -> PyResult<Answer> {
        let (prepared, values) = (self.shared.checked(&self.prepared)?.clone(), parameters(params)?);
        let snapshot = snapshot.map(Snapshot::open).transpose()?;
        queried(py, &self.shared, move || match snapshot {
            None => prepared.execute(&values),
            Some(snapshot) => prepared.execute_at(&snapshot, &values),
        })
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(format!("Prepared(parameters={})", self.parameters()?))
    }
}
