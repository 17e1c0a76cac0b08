//! Rows of the binary protocol as columns of Arrow.

pub(crate) mod cells;
mod decimal;
mod rows;
mod times;

pub(crate) use self::rows::RowDecoder;

/// Why a value cannot be in its column: the end of a sentence that begins with the column.
pub(crate) type Fault = String;
