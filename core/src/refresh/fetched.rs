//! Rows on their way from a source into a load.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::progress::Progress;
use crate::input::stored_schema;
use crate::source::{Call, Capabilities, Fetch, Fetched, TableSource};
use crate::storage::batch_len;
use crate::types::error::{Error, ErrorCode, Result};

/// Batches of a fetch with the wanted columns only, counted, until the call is given up.
pub(super) struct Incoming {
    rows: Fetched,
    columns: Option<Vec<usize>>,
    schema: SchemaRef,
    call: Call,
    progress: Arc<Progress>,
    /// An error came: nothing comes after it.
    has_failed: bool,
}

impl Incoming {
    /// # Errors
    /// [`ErrorCode::ColumnNotFound`] if a wanted column does not come.
    pub(super) fn new(
        rows: Fetched,
        wanted: Option<&[String]>,
        call: &Call,
        progress: &Arc<Progress>,
    ) -> Result<Self> {
        let all = rows.schema().clone();
        let columns = wanted.map(|wanted| positions(&all, wanted)).transpose()?;
        let schema = columns.as_ref().map_or_else(|| all.clone(), |columns| project(&all, columns));
        Ok(Self { rows, columns, schema, call: call.clone(), progress: progress.clone(), has_failed: false })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn conform(&self, batch: RecordBatch) -> Result<RecordBatch> {
        if batch.schema_ref().fields() != self.rows.schema().fields() {
            return Err(Error::new(
                ErrorCode::SourceInvalid,
                format!(
                    "the source announced other columns than it sends: {} and {}",
                    names(self.rows.schema()),
                    names(batch.schema_ref())
                ),
            ));
        }
        match &self.columns {
            None => Ok(batch),
            Some(columns) => batch
                .project(columns)
                .map_err(|error| Error::internal("columns of a fetch").with_source(error)),
        }
    }
}

impl Iterator for Incoming {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let batch = self.call.check().and_then(|()| self.progress.ask(|| self.rows.next()).transpose());
        let batch = batch.and_then(|batch| {
            // What a source sends after the end of its call is not complete.
            self.call.check()?;
            batch.map(|batch| self.conform(batch)).transpose()
        });
        match batch {
            Ok(batch) => {
                let batch = batch?;
                self.progress.add(batch.num_rows(), batch_len(&batch));
                Some(Ok(batch))
            }
            Err(error) => {
                self.has_failed = true;
                Some(Err(error))
            }
        }
    }
}

/// What is fetched for a table, unless only some of it is wanted.
pub(super) fn fetch_of(origin: &TableSource, capabilities: Capabilities) -> Fetch {
    let mut fetch = Fetch::of(origin.relation.clone());
    if let Some(columns) = origin.columns.as_ref().filter(|_| capabilities.columns) {
        fetch = fetch.columns(columns.iter().cloned());
    }
    match &origin.condition {
        Some(condition) => fetch.condition(condition.clone()),
        None => fetch,
    }
}

/// The columns of a table as it stores them, of those that the source describes.
///
/// # Errors
/// [`ErrorCode::ColumnNotFound`].
pub(super) fn wanted(origin: &TableSource, described: &SchemaRef) -> Result<SchemaRef> {
    let wanted = match &origin.columns {
        None => described.clone(),
        Some(names) => project(described, &positions(described, names)?),
    };
    Ok(stored_schema(&wanted, None))
}

fn positions(schema: &Schema, wanted: &[String]) -> Result<Vec<usize>> {
    let position = |name: &String| {
        schema.index_of(name).map_err(|_| {
            Error::new(
                ErrorCode::ColumnNotFound,
                format!("the source has no column `{name}`; it has {}", names(schema)),
            )
        })
    };
    wanted.iter().map(position).collect()
}

fn project(schema: &Schema, columns: &[usize]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|&column| schema.fields()[column].clone()).collect::<Vec<_>>()))
}

fn names(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| format!("`{}` {}", field.name(), field.data_type()));
    columns.collect::<Vec<_>>().join(", ")
}
