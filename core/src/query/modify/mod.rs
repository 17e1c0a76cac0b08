//! Statements that change tables: which there are, and the rows that they bring.

mod delete;
mod insert;
mod options;
mod plan;
mod statement;

use datafusion::arrow::datatypes::SchemaRef;

use crate::answer::batches::Batches;
use crate::types::mode::WriteMode;
use crate::types::rules::TableRules;

pub(crate) use statement::ModifyingStatement;

/// What a statement asks for, ready to be committed.
#[derive(Debug)]
pub(crate) enum Modification {
    /// Defines a table with these columns and rows; with `unless_exists` it may be there by then.
    Create { name: String, unless_exists: bool, rules: TableRules, schema: SchemaRef, rows: Batches },
    /// Removes a table.
    Drop { name: String },
    /// Adds rows. With `skips_existing`, those whose key the table has, or an earlier row of the statement, are left out.
    Rows { table: u64, mode: WriteMode, skips_existing: bool, rows: Batches },
    /// Deletes rows: `keys` has the columns of the table's key, in its order.
    Delete { table: u64, keys: Batches },
    /// Deletes all rows of a table.
    Truncate { table: u64 },
    /// Changes nothing: what is asked for is so already.
    Nothing,
}
