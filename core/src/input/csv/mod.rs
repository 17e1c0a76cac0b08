//! CSV files, and rows of texts of any origin.
//!
//! Each field becomes exactly the same value of its column, or the file is refused with the line, the column and the
//! field.

mod columns;
mod format;
mod infer;
#[cfg(feature = "csv")]
mod reader;
#[cfg(feature = "csv")]
mod records;
mod rows;
mod values;

use std::path::Path;

pub use self::columns::TextColumns;
pub use self::format::CsvFormat;
pub use self::infer::InferredType;
#[cfg(feature = "csv")]
pub(super) use self::reader::{look, open};
#[cfg(feature = "csv")]
pub use self::records::CsvReader;
pub use self::rows::TextRows;
use crate::types::error::{Error, ErrorCode};

/// Rows of a batch read from a file.
#[cfg(feature = "csv")]
pub(super) const BATCH_ROWS: usize = 16 << 10;
/// A batch of rows is complete when its texts have so many bytes.
#[cfg(feature = "csv")]
pub(super) const BATCH_LEN: usize = 4 << 20;

/// The error of something that is wrong in a line of a file.
fn at_line(path: &Path, line: u64, what: &str) -> Error {
    Error::new(ErrorCode::SourceInvalid, format!("`{}`, line {line}: {what}", path.display()))
}
