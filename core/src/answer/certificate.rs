//! Whether an answer is complete, and what shows it.

use std::fmt;
use std::sync::Arc;

use crate::types::version::{Freshness, Tier};

/// Says of an answer whether it has all rows that the sources of its tables would have given, as of the moments that it
/// names.
///
/// Tables that hold all rows of their source, or have none, need no proof and are not listed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificate {
    tables: Option<Arc<Vec<TableCertificate>>>,
}

/// What a [`Certificate`] says of one working set that was read. Rows of the cache are of the [version](crate::Batches::version) of the
/// answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TableCertificate {
    /// The table.
    pub table: String,
    /// Who gave its rows: the cache, or their source.
    pub tier: Tier,
    /// Whether all rows that the answer needed of it are in it.
    pub is_complete: bool,
    /// What it holds: the condition of the working set with the values that its moving parts had at the last refresh; `None` if that
    /// is not known now.
    pub coverage: Option<String>,
    /// What proved that nothing is missing, or why nothing did: then the source was asked, or the answer is partial.
    pub reason: String,
    /// As of which moment its rows are complete within the coverage; of rows that the source gave, the moment at which the fetch began.
    pub freshness: Option<Freshness>,
}

impl Certificate {
    pub(crate) fn new(tables: Vec<TableCertificate>) -> Self {
        Self { tables: (!tables.is_empty()).then(|| Arc::new(tables)) }
    }

    /// Whether no row is missing. None is, unless a table or a read allows it
    /// ([`OnMiss::Local`](crate::OnMiss::Local)).
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.tables().iter().all(|table| table.is_complete)
    }

    /// The working sets that were read; several entries for one that was read several times in different ways.
    #[must_use]
    pub fn tables(&self) -> &[TableCertificate] {
        self.tables.as_ref().map_or(&[], |tables| tables.as_slice())
    }
}

impl fmt::Display for TableCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent = match (self.is_complete, self.tier) {
            (true, Tier::Local) => "complete",
            (true, _) => "delegated",
            (false, _) => "partial",
        };
        write!(f, "{}: {extent} ({})", self.table, self.reason)
    }
}
