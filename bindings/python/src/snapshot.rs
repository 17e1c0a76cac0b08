//! Held versions, and queries that were planned once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::executor::block_on;
use futures::future::{AbortHandle, Abortable};
use pillion::{AsyncPrepared, AsyncSnapshot, BatchStream, Batches, Error, ErrorCode};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::answer::Answer;
use crate::errors::{raise, refuse};
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
    snapshot: Mutex<Option<Held<HeldVersion>>>,
}

/// A version that this process holds itself, or lets a sidecar hold.
#[derive(Clone)]
enum HeldVersion {
    Local(pillion::Snapshot),
    Remote(AsyncSnapshot),
}

impl HeldVersion {
    fn blocking(&self) -> &pillion::Snapshot {
        match self {
            Self::Local(snapshot) => snapshot,
            Self::Remote(snapshot) => snapshot.blocking(),
        }
    }
}

impl Snapshot {
    /// Holds the newest version.
    ///
    /// # Errors
    /// Those of [`pillion::Cache::snapshot`].
    pub(crate) fn of_newest(py: Python<'_>, shared: Arc<Shared>) -> PyResult<Self> {
        let cache = shared.cache()?.clone();
        let version = if shared.is_local() {
            HeldVersion::Local(detached(py, move || cache.snapshot())?)
        } else {
            let cache = cache.into_async();
            HeldVersion::Remote(detached(py, move || block_on(cache.snapshot()))?)
        };
        Ok(Self { shared, snapshot: Mutex::new(Some(Held::new(version))) })
    }

    fn held(&self) -> MutexGuard<'_, Option<Held<HeldVersion>>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// [`ErrorCode::Closed`] after it, or its cache, was closed.
    fn open(&self) -> PyResult<HeldVersion> {
        // Exceptions are made after the lock is free: that runs code of Python, and other threads meanwhile, which may want it.
        let held = self.held().as_ref().map(|held| held.get().cloned());
        let closed = || refuse(ErrorCode::Closed, "the snapshot was closed; take another one");
        let version = held.ok_or_else(closed)?;
        self.shared.cache()?;
        version.map_err(raise)
    }
}

#[pymethods]
impl Snapshot {
    /// The version.
    #[getter]
    fn version(&self, py: Python<'_>) -> PyResult<Version> {
        let snapshot = self.open()?;
        Ok(detached(py, || snapshot.blocking().version())?.into())
    }

    /// A table by its exact name.
    fn table(&self, py: Python<'_>, name: &str) -> PyResult<SnapshotTable> {
        let snapshot = self.open()?;
        let table = detached(py, || snapshot.blocking().table(name))?;
        Ok(SnapshotTable::new(py, self.shared.clone(), table))
    }

    /// Describes every table.
    fn tables(&self, py: Python<'_>) -> PyResult<Vec<TableInfo>> {
        let snapshot = self.open()?;
        Ok(detached(py, || snapshot.blocking().tables())?.iter().map(Into::into).collect())
    }

    /// Runs a query at this version; see :meth:`Cache.sql`.
    #[pyo3(signature = (text, params = None))]
    fn sql(&self, py: Python<'_>, text: String, params: Option<&Bound<'_, PyAny>>) -> PyResult<Answer> {
        let (version, values) = (self.open()?, parameters(params)?);
        match version {
            HeldVersion::Local(snapshot) => planned(py, move || snapshot.sql(&text, &values)),
            HeldVersion::Remote(snapshot) => {
                asked(py, move || async move { snapshot.sql(&text, &values).await })
            }
        }
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

/// Plans a query in this process; its rows are computed when they are read.
///
/// # Errors
/// Those of the query.
pub(crate) fn planned(
    py: Python<'_>,
    query: impl FnOnce() -> pillion::Result<Batches> + Send,
) -> PyResult<Answer> {
    Ok(Answer::new(py, detached(py, query)?))
}

/// Asks a sidecar, which answers with the first rows; so Ctrl-C must end the call itself.
///
/// # Errors
/// Those of the query.
pub(crate) fn asked<F: Future<Output = pillion::Result<BatchStream>> + 'static>(
    py: Python<'_>,
    ask: impl FnOnce() -> F + Send + 'static,
) -> PyResult<Answer> {
    let (abort, registration) = AbortHandle::new_pair();
    let work = move || {
        block_on(Abortable::new(ask(), registration)).unwrap_or_else(|_| {
            Err(Error::new(ErrorCode::Cancelled, "the query was given up before its first rows came"))
        })
    };
    Ok(Answer::of_stream(py, interruptible(py, work, move || abort.abort())?))
}

/// A query that was planned once, to be run many times, from any thread. Made by :meth:`Cache.prepare`.
#[pyclass(frozen, module = "pillion")]
pub(crate) struct Prepared {
    shared: Arc<Shared>,
    prepared: Held<AsyncPrepared>,
}

impl Prepared {
    pub(crate) fn new(shared: Arc<Shared>, prepared: AsyncPrepared) -> Self {
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
        let at = snapshot.map(Snapshot::open).transpose()?;
        match (self.shared.is_local(), at) {
            (false, None) => asked(py, move || async move { prepared.execute(&values).await }),
            (false, Some(HeldVersion::Remote(at))) => {
                asked(py, move || async move { prepared.execute_at(&at, &values).await })
            }
            (_, None) => planned(py, move || prepared.blocking().execute(&values)),
            // A snapshot of another cache is refused.
            (_, Some(at)) => planned(py, move || prepared.blocking().execute_at(at.blocking(), &values)),
        }
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(format!("Prepared(parameters={})", self.parameters()?))
    }
}
