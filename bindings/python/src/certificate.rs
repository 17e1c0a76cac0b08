//! Whether an answer is complete, and what shows it.

use std::time::SystemTime;

use pyo3::prelude::*;

/// Says of an answer whether it has all rows that the sources of its tables would have given.
///
/// Tables that hold all rows of their source, or have none, need no proof and are not listed.
#[pyclass(frozen, get_all, module = "pillion")]
pub(crate) struct Certificate {
    /// Whether no row is missing. Answers are complete, unless a working set answers with ``on_miss="local"``.
    is_complete: bool,
    /// The working sets that were read.
    tables: Vec<TableCertificate>,
}

#[pymethods]
impl Certificate {
    fn __repr__(&self) -> String {
        let tables: Vec<String> = self.tables.iter().map(TableCertificate::__repr__).collect();
        let is_complete = if self.is_complete { "True" } else { "False" };
        format!("Certificate(is_complete={is_complete}, tables=[{}])", tables.join(", "))
    }
}

impl From<&pillion::Certificate> for Certificate {
    fn from(certificate: &pillion::Certificate) -> Self {
        let tables = certificate.tables().iter().map(Into::into).collect();
        Self { is_complete: certificate.is_complete(), tables }
    }
}

/// What a certificate says of one working set that was read.
#[pyclass(frozen, get_all, module = "pillion")]
#[derive(Clone)]
pub(crate) struct TableCertificate {
    /// The table.
    table: String,
    /// Who gave its rows: ``"local"``, or ``"delegated"`` if its source did.
    tier: String,
    /// Whether it holds all rows that the answer needed of it.
    is_complete: bool,
    /// What it holds, as a condition; ``None`` if that is not known now.
    coverage: Option<String>,
    /// What proved that nothing is missing, or why nothing did.
    reason: String,
    /// Its rows are complete within the coverage as of this moment.
    as_of: Option<SystemTime>,
}

#[pymethods]
impl TableCertificate {
    fn __repr__(&self) -> String {
        let is_complete = if self.is_complete { "True" } else { "False" };
        format!(
            "TableCertificate(table='{}', is_complete={is_complete}, reason={:?})",
            self.table, self.reason
        )
    }
}

impl From<&pillion::TableCertificate> for TableCertificate {
    fn from(table: &pillion::TableCertificate) -> Self {
        Self {
            table: table.table.clone(),
            tier: table.tier.to_string(),
            is_complete: table.is_complete,
            coverage: table.coverage.clone(),
            reason: table.reason.clone(),
            as_of: table.freshness.map(|freshness| freshness.as_of),
        }
    }
}
