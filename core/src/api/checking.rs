//! What a table needs of its source, found out before a load.

use crate::refresh::check;
use crate::source::{Call, Description, Source};
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
        let Some(origin) = &self.origin else {
            let message =
                format!("table `{table}` has no source: define it with `TableDefinition::from_source`");
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        };
        check(table, origin, &self.rules, source, call)
    }
}
