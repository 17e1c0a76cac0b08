//! Several changes in one commit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pillion::ErrorCode;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::errors::{raise, refuse};
use crate::fork::Held;
use crate::info::Version;
use crate::shared::Shared;
use crate::table::Table;
use crate::waiting::interruptible;

/// Changes that become visible together. Made by :meth:`Cache.transaction`.
///
/// With ``with``, the end of the block commits, and an exception drops the changes. Rows are taken when they are added; those of
/// files and streams are read by the commit.
///
/// >>> with cache.transaction() as tx:
/// ...     tx.upsert(flights, [{"carrier": "AA", "flight": 2, "delay": 0.0}])
/// ...     tx.delete(flights, [("UA", 1545)])
#[pyclass(frozen, module = "pillion")]
pub(crate) struct Transaction {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

struct State {
    /// `None` once it was committed or dropped.
    transaction: Option<Held<pillion::Transaction>>,
    version: Option<pillion::Version>,
    interrupters: Vec<Box<dyn FnOnce() + Send>>,
}

impl Transaction {
    pub(crate) fn new(shared: Arc<Shared>, transaction: pillion::Transaction) -> Self {
        let transaction = Some(Held::new(transaction));
        Self { shared, state: Mutex::new(State { transaction, version: None, interrupters: Vec::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(
        &self,
        change: impl FnOnce(pillion::Transaction) -> pillion::Result<pillion::Transaction>,
    ) -> PyResult<()> {
        self.shared.cache()?;
        // The lock is free while an exception is made or rows are dropped: both may run code of Python, and other threads meanwhile,
        // which may want it. A change itself runs none, so no other thread finds the transaction missing.
        let taken = self.state().transaction.take();
        let transaction = taken.ok_or_else(ended)?.into_inner().map_err(raise)?;
        // A change that is refused ends the transaction: whoever goes on would commit a part of what was meant.
        let changed = change(transaction).map_err(raise)?;
        self.state().transaction = Some(Held::new(changed));
        Ok(())
    }

    fn add_rows(
        &self,
        table: &Table,
        rows: &Bound<'_, PyAny>,
        change: impl FnOnce(pillion::Transaction, &pillion::Table, pillion::Input) -> pillion::Transaction,
    ) -> PyResult<()> {
        let rows = table.rows(rows)?;
        self.state().interrupters.push(Box::new(rows.interrupter()));
        let table = table.open()?;
        self.add(|transaction| Ok(change(transaction, table, rows.input)))
    }
}

fn ended() -> PyErr {
    refuse(ErrorCode::InvalidArgument, "the transaction was committed or dropped; begin another one")
}

#[pymethods]
impl Transaction {
    /// Adds rows to a table.
    fn append(&self, table: &Table, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_rows(table, rows, |transaction, table, input| transaction.append(table, input))
    }

    /// Adds rows to a table, replacing those with the same keys.
    fn upsert(&self, table: &Table, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_rows(table, rows, |transaction, table, input| transaction.upsert(table, input))
    }

    /// Replaces all rows of a table.
    fn replace(&self, table: &Table, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_rows(table, rows, |transaction, table, input| transaction.replace(table, input))
    }

    /// Removes the rows with some keys from a table.
    fn delete(&self, table: &Table, keys: &Bound<'_, PyAny>) -> PyResult<()> {
        let keys = table.keys(keys)?;
        let table = table.open()?;
        self.add(|transaction| transaction.delete(table, &keys))
    }

    /// Removes all rows of a table.
    fn truncate(&self, table: &Table) -> PyResult<()> {
        let table = table.open()?;
        self.add(|transaction| Ok(transaction.truncate(table)))
    }

    /// Says that the changes are everything from a source up to a position; see :meth:`Cache.source_position`.
    fn source_position(&self, source: String, position: Vec<u8>) -> PyResult<()> {
        self.add(|transaction| Ok(transaction.source_position(source, position)))
    }

    /// Makes the changes in one commit, and returns its version.
    fn commit(&self, py: Python<'_>) -> PyResult<Version> {
        self.shared.cache()?;
        let (taken, interrupters) = {
            let mut state = self.state();
            (state.transaction.take(), std::mem::take(&mut state.interrupters))
        };
        let transaction = taken.ok_or_else(ended)?.into_inner().map_err(raise)?;
        let give_up = move || interrupters.into_iter().for_each(|interrupt| interrupt());
        let version = interruptible(py, move || transaction.commit(), give_up)?;
        self.state().version = Some(version);
        Ok(version.into())
    }

    /// The version of the commit; ``None`` before it.
    #[getter]
    fn version(&self) -> Option<Version> {
        self.state().version.map(Into::into)
    }

    /// Drops the changes.
    fn rollback(&self) {
        // Dropped after the lock is free, because rows may be those of another library.
        let dropped = self.state().transaction.take();
        drop(dropped);
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (exception, *_rest))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exception: &Bound<'_, PyAny>,
        _rest: &Bound<'_, PyTuple>,
    ) -> PyResult<()> {
        if !exception.is_none() {
            self.rollback();
        } else if self.state().transaction.is_some() {
            self.commit(py)?;
        }
        Ok(())
    }
}
