//! Rows of `COPY … (FORMAT BINARY)` as columns of Arrow.

#![expect(clippy::big_endian_bytes, reason = "the server sends numbers so")]

pub(crate) mod cells;
mod list;
mod numeric;
mod rows;

pub(crate) use self::rows::RowDecoder;

/// Why a value cannot be in its column: the end of a sentence that begins with the column.
pub(crate) type Fault = String;
