//! Pillion for Python: the module `pillion._pillion`, which the package `pillion` shows.

mod answer;
mod arrow_in;
mod arrow_out;
mod batch;
mod cache;
mod cells;
mod certificate;
mod errors;
mod fork;
mod gil;
mod info;
mod input;
mod open;
mod records;
mod row;
mod shared;
mod snapshot;
mod sources;
mod subscription;
mod table;
mod transaction;
mod values;
mod waiting;

/// The compiled part of the package `pillion`.
#[pyo3::pymodule]
mod _pillion {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::answer::Answer;
    #[pymodule_export]
    use crate::batch::Batch;
    #[pymodule_export]
    use crate::cache::Cache;
    #[pymodule_export]
    use crate::certificate::{Certificate, TableCertificate};
    #[pymodule_export]
    use crate::info::{Executed, Refresh, Schema, Status, TableInfo, Version};
    #[pymodule_export]
    use crate::input::{Files, files};
    #[pymodule_export]
    use crate::open::{connect, from_env, from_url, open, open_read_only};
    #[pymodule_export]
    use crate::row::{Row, Rows};
    #[pymodule_export]
    use crate::snapshot::{Prepared, Snapshot};
    #[pymodule_export]
    use crate::subscription::Subscription;
    #[pymodule_export]
    use crate::table::{SnapshotTable, Table};
    #[pymodule_export]
    use crate::transaction::Transaction;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::waiting::imported();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    /// Every error code with its number, name and kind.
    #[pyfunction]
    fn _codes() -> Vec<(u16, String, &'static str)> {
        crate::errors::all_codes()
    }

    /// Whether a statement is one for `Cache.execute`, by its first word.
    #[pyfunction]
    fn _modifies(text: &str) -> bool {
        pillion::modifies(text)
    }

    /// Says that this process is the child of a fork.
    #[pyfunction]
    fn _forked() {
        crate::fork::forked();
    }
}
