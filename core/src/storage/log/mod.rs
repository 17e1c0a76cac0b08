//! The log: the one commit point. Every commit since the manifest, in numbered files.
//!
//! A file is a header and records, each at a multiple of 64 bytes; the space behind the last record is
//! preallocated and zero. Only the owner appends, only at the end; nothing is overwritten.

mod reader;
mod record;
mod writer;

pub(crate) use reader::{LogFile, newer_format};
pub(crate) use record::{Record, RecordKind};
pub(crate) use writer::LogWriter;

/// Name of a log file below `log/`.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number}.log")
}

/// Number of a log file by its name.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    name.strip_suffix(".log")?.parse().ok()
}
