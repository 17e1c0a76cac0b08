//! A query that was planned once.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use super::snapshot::Snapshot;
use crate::answer::batches::Batches;
use crate::types::bounds::ReadBounds;
use crate::types::error::Result;
use crate::types::recorder::{Operation, Recording};
use crate::types::value::Value;
use crate::way::Statement;

/// A query that was planned once, to be run many times.
///
/// Cloning is cheap, and many threads can run it at a time. It keeps only what does not depend on the data: every run
/// reads the version that is then newest, `now()` is the time of the run, and a table that was dropped and defined
/// again is found.
#[derive(Clone, Debug)]
pub struct Prepared {
    statement: Arc<dyn Statement>,
    recording: Recording,
}

impl Prepared {
    pub(crate) fn new(statement: Arc<dyn Statement>, recording: Recording) -> Self {
        Self { statement, recording }
    }

    /// How many parameters it takes.
    pub fn parameters(&self) -> usize {
        self.statement.parameters()
    }

    /// Columns of its answers, as they followed from the text when it was planned, if this process planned it; `None` if a sidecar
    /// did. A column whose type depends on a parameter may get another type when it runs.
    pub fn schema(&self) -> Option<SchemaRef> {
        self.statement.planned().map(|(schema, _)| schema)
    }

    /// Types of $1, $2, … as far as they follow from where they stand in the text, if this process planned it; `None` if a
    /// sidecar did.
    pub fn parameter_types(&self) -> Option<Vec<Option<DataType>>> {
        self.statement.planned().map(|(_, types)| types)
    }

    /// Runs it at the newest version.
    ///
    /// # Errors
    /// [`InvalidParameter`](crate::ErrorCode::InvalidParameter); [`TableNotFound`](crate::ErrorCode::TableNotFound)
    /// or [`InvalidSql`](crate::ErrorCode::InvalidSql) if its tables have changed so that it can no longer be
    /// planned. Errors of the run come with the batches.
    pub fn execute(&self, parameters: &[Value]) -> Result<Batches> {
        self.recording.handled(Operation::Execute, || self.statement.execute(None, parameters))
    }

    /// As [`execute`](Self::execute), within bounds of this run alone.
    ///
    /// # Errors
    /// As [`execute`](Self::execute); [`Stale`](crate::ErrorCode::Stale), and those of sources.
    pub fn execute_within(&self, bounds: ReadBounds, parameters: &[Value]) -> Result<Batches> {
        bounds.run(|| self.execute(parameters))
    }

    /// Runs it at the version that a snapshot of the same cache holds.
    ///
    /// # Errors
    /// As [`execute`](Self::execute); [`InvalidArgument`](crate::ErrorCode::InvalidArgument) for a snapshot of
    /// another cache.
    pub fn execute_at(&self, snapshot: &Snapshot, parameters: &[Value]) -> Result<Batches> {
        let at = Some(snapshot.reader.as_ref());
        self.recording.handled(Operation::Execute, || self.statement.execute(at, parameters))
    }
}
