//! Keeps the rows that a coverage is of.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Schema;

use super::decode::cells;
use super::region::Region;
use super::set::Cell;
use crate::types::error::{Error, ErrorCode, Result};

/// Keeps the rows of batches that are in a region.
#[derive(Clone, Debug)]
pub(crate) struct RowFilter {
    region: Region,
    /// The columns that decide, by their places in a batch.
    columns: Vec<(String, usize)>,
}

impl RowFilter {
    /// # Errors
    /// [`ErrorCode::ColumnNotFound`] if a column that decides is not among those of the batches.
    pub(crate) fn new(region: Region, schema: &Schema) -> Result<Self> {
        let mut names: Vec<&str> = region.columns().collect();
        names.sort_unstable();
        names.dedup();
        let columns = names.into_iter().map(|name| match schema.index_of(name) {
            Ok(at) => Ok((name.to_owned(), at)),
            Err(_) => Err(Error::new(
                ErrorCode::ColumnNotFound,
                format!(
                    "the condition of the table needs the column `{name}`, which is not among those fetched"
                ),
            )),
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok(Self { region, columns })
    }

    /// The rows of a batch that are in the region.
    pub(crate) fn keep(&self, batch: RecordBatch) -> Result<RecordBatch> {
        if self.region.is_everything() {
            return Ok(batch);
        }
        let mut columns: Vec<(&str, Vec<Cell>)> = Vec::with_capacity(self.columns.len());
        for (name, at) in &self.columns {
            let found = cells(batch.column(*at).as_ref()).ok_or_else(|| {
                Error::new(
                    ErrorCode::UnsupportedType,
                    format!("the condition of the table cannot be about values of column `{name}`"),
                )
            })?;
            columns.push((name, found));
        }
        let is_kept = (0..batch.num_rows()).map(|row| {
            self.region.contains(|column| {
                columns.iter().find(|(name, _)| *name == column).and_then(|(_, cells)| cells.get(row))
            })
        });
        let is_kept = BooleanArray::from(is_kept.collect::<Vec<bool>>());
        filter_record_batch(&batch, &is_kept)
            .map_err(|error| Error::internal("rows of a working set").with_source(error))
    }
}

impl Region {
    /// Whether a row is in it, by its cells. A cell that is not there is in no set.
    pub(super) fn contains<'a>(&self, cell: impl Fn(&str) -> Option<&'a Cell>) -> bool {
        self.cases
            .iter()
            .any(|case| case.iter().all(|(column, set)| cell(column).is_some_and(|cell| set.contains(cell))))
    }
}
