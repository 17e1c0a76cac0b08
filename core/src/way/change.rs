//! What a commit is asked for.

use crate::input::Input;
use crate::types::mode::WriteMode;
use crate::types::value::Value;

/// One change, as it is asked of a way in. An owner makes it a [`Change`](crate::storage::Change) of its files.
#[derive(Debug)]
pub(crate) enum ChangeRequest {
    /// Adds rows: see [`Table::append`](crate::Table::append), [`Table::upsert`](crate::Table::upsert) and
    /// [`Table::replace`](crate::Table::replace).
    Rows { table: u64, mode: WriteMode, rows: Input },
    /// See [`Table::delete_many`](crate::Table::delete_many).
    Delete { table: u64, keys: Vec<Vec<Value>> },
    /// See [`Table::invalidate`](crate::Table::invalidate).
    Invalidate { table: u64, keys: Vec<Vec<Value>> },
    /// See [`Table::truncate`](crate::Table::truncate).
    Truncate { table: u64 },
    /// See [`Transaction::source_position`](crate::Transaction::source_position).
    Position { source: String, position: Vec<u8> },
}
