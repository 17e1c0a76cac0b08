//! Changes of one table on their way into a batch.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use pillion::source::{RowChanges, RowOperation};
use pillion::{Error, ErrorCode, Result};

use super::table::FollowedTable;
use crate::changes::{Cell, Tuple};
use crate::decode::cells::Cells;

/// A batch ends with the change that reaches one of these.
const BATCH_ROWS: usize = 8192;
const BATCH_LEN: usize = 4 << 20;

/// Why a row is not taken: a column has become another one, or a value cannot be held.
pub(super) type Refusal = String;

/// Collects changes of the rows of a table.
pub(super) struct RowCollector {
    relation: usize,
    table: Arc<FollowedTable>,
    schema: SchemaRef,
    /// Where each column stands in a row that comes.
    places: Vec<usize>,
    cells: Vec<Box<dyn Cells>>,
    operations: Vec<RowOperation>,
    unchanged: Vec<(usize, usize)>,
    bytes: usize,
}

impl RowCollector {
    pub(super) fn new(relation: usize, table: Arc<FollowedTable>, places: Vec<usize>) -> Result<Self> {
        let nullable = table.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let cells = table.cells()?;
        let (operations, unchanged) = (Vec::new(), Vec::new());
        Ok(Self { relation, table, schema, places, cells, operations, unchanged, bytes: 0 })
    }

    /// Adds a row. After a refusal nothing can be added any more.
    pub(super) fn add(
        &mut self,
        operation: RowOperation,
        row: &Tuple<'_>,
    ) -> std::result::Result<(), Refusal> {
        let sent: Vec<Cell<'_>> = row.cells().collect();
        let number = self.operations.len();
        let is_whole = matches!(operation, RowOperation::Insert | RowOperation::Update);
        for (index, (cells, place)) in self.cells.iter_mut().zip(&self.places).enumerate() {
            let field = self.table.schema().field(index);
            match sent.get(*place).unwrap_or(&Cell::Null) {
                Cell::Null if is_whole && !field.is_nullable() => {
                    return Err(format!("column `{}` allows nulls now", field.name()));
                }
                Cell::Null => cells.append_null(),
                Cell::Unchanged if operation == RowOperation::Update => {
                    self.unchanged.push((number, index));
                    cells.append_null();
                }
                Cell::Binary(bytes) => {
                    self.bytes += bytes.len();
                    cells.append(bytes).map_err(|fault| self.table.invalid(field.name(), &fault))?;
                }
                Cell::Unchanged => {
                    return Err(self
                        .table
                        .invalid(field.name(), "is not sent with a row that is not changed"));
                }
                Cell::Text(_) => {
                    return Err(self.table.invalid(field.name(), "is sent as text, and not in binary form"));
                }
            }
        }
        self.operations.push(operation);
        Ok(())
    }

    pub(super) fn relation(&self) -> usize {
        self.relation
    }

    pub(super) fn is_full(&self) -> bool {
        self.operations.len() >= BATCH_ROWS || self.bytes >= BATCH_LEN
    }

    /// The changes so far, if there are any.
    pub(super) fn finish(&mut self) -> Result<Option<RowChanges>> {
        if self.operations.is_empty() {
            return Ok(None);
        }
        let columns = self.cells.iter_mut().map(|cells| cells.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.operations.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        let batch = batch.map_err(|error| {
            Error::new(ErrorCode::Internal, "columns do not make a batch").with_source(error)
        })?;
        self.bytes = 0;
        let (operations, unchanged) =
            (std::mem::take(&mut self.operations), std::mem::take(&mut self.unchanged));
        RowChanges::new(self.relation, operations, batch, unchanged).map(Some)
    }
}

impl FollowedTable {
    fn invalid(&self, column: &str, fault: &str) -> Refusal {
        format!("column `{column}` of table {} {fault}", self.qualified())
    }
}
