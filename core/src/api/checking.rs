//! What a table needs of its source, found out before a load.

use crate::refresh::{check, check_capabilities};
use crate::source::{Call, Description, Source, TableSource};
use crate::types::error::{Error, ErrorCode, Result};
use crate::way::definition::TableDefinition;

impl TableDefinition {
    /// Asks a source whether it has what this definition [needs of it](Self::from_source): the relation, the columns, those of the key,
    /// the order and the retention, a column by which rows can be appended, and a condition that it understands. Returns what a
    /// load would fetch. Blocks as long as the call allows; reads no rows, and needs no cache.
    ///
    /// # Errors
    /// Those that the load would fail with, as far as rows have no part in them;
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for a definition without a source.
    pub fn check_source(&self, table: &str, source: &dyn Source, call: &Call) -> Result<Description> {
        check(table, self.source(table)?, &self.rules, source, call)
    }

    /// Checks whether a source can do what this definition [needs of it](Self::from_source), as
    /// [`check_source`](Self::check_source) does, but as far as it is known without asking the source: connects to nothing, and
    /// does not block.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorCode::Unsupported) for what the source cannot do, such as to tell changes;
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for a definition without a source, without a column or with one twice.
    pub fn check_capabilities(&self, table: &str, source: &dyn Source) -> Result<()> {
        check_capabilities(table, self.source(table)?, source.capabilities())
    }

    fn source(&self, table: &str) -> Result<&TableSource> {
        self.origin.as_deref().ok_or_else(|| {
            let message =
                format!("table `{table}` has no source: define it with `TableDefinition::from_source`");
            Error::new(ErrorCode::InvalidArgument, message)
        })
    }
}
