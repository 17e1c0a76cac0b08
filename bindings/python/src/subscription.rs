//! Changes of a table as they are committed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::batch::Batch;
use crate::cells::Columns;
use crate::errors::raise;
use crate::fork::Held;
use crate::info::Version;
use crate::shared::Shared;
use crate::waiting::LOOK;

/// Changes of a table as they are committed: an iterator that waits for the next ones. Made by :meth:`Table.subscribe`.
///
/// Ctrl-C ends the wait; :meth:`close` ends the iteration, from any thread. Nothing is lost: ask again from :attr:`version`.
#[pyclass(frozen, module = "pillion")]
pub(crate) struct Subscription {
    shared: Arc<Shared>,
    subscription: Mutex<Held<pillion::Subscription>>,
    closed: AtomicBool,
}

impl Subscription {
    pub(crate) fn new(shared: Arc<Shared>, subscription: pillion::Subscription) -> Self {
        Self { shared, subscription: Mutex::new(Held::new(subscription)), closed: AtomicBool::new(false) }
    }

    fn held(&self) -> MutexGuard<'_, Held<pillion::Subscription>> {
        self.subscription.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next changes, if some come before `deadline`.
    fn wait(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<Option<Batch>> {
        loop {
            self.shared.cache()?;
            if self.closed.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let left = deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
            let next = py.detach(|| self.held().get_mut()?.next(left.min(LOOK))).map_err(raise)?;
            if let Some(changes) = next {
                return Ok(Some(batch(py, changes)));
            }
            py.check_signals()?;
            if left.is_zero() {
                return Ok(None);
            }
        }
    }
}

fn batch(py: Python<'_>, changes: RecordBatch) -> Batch {
    Batch::new(Arc::new(Columns::new(py, changes.schema())), vec![changes])
}

#[pymethods]
impl Subscription {
    /// The version up to which all changes were handed out: where to go on after a restart.
    #[getter]
    fn version(&self, py: Python<'_>) -> PyResult<Version> {
        // Before the lock, which a thread of the parent may have held when this process was forked.
        self.shared.same_process().map_err(raise)?;
        Ok(py.detach(|| self.held().get().map(pillion::Subscription::version)).map_err(raise)?.into())
    }

    /// The next changes; ``None`` if none were committed within so many seconds.
    #[pyo3(signature = (timeout = None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Batch>> {
        let seconds =
            timeout.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
        self.wait(py, seconds.and_then(|seconds| Instant::now().checked_add(seconds)))
    }

    /// Ends the iteration; a thread that waits stops waiting.
    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        self.wait(py, None)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {
        self.close();
    }
}
