//! Rows as CSV: RFC 4180, with a header line, `\n` at the end of lines, and nothing where a value is null.
//!
//! An empty text is quoted, so that it is not taken for null; a row that is one null is an empty line. The library reads
//! what is written here as what it was.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::rows::{Encoded, RowWriter};
use super::sink::Sink;

/// Lines are handed on when they have so many bytes.
const GATHERED_LEN: usize = 64 << 10;

/// Writes rows as lines.
pub(crate) struct CsvWriter {
    sink: Sink,
    lines: Vec<u8>,
    text: String,
}

impl CsvWriter {
    /// Writes the header.
    pub(crate) fn try_new(schema: &Schema, sink: Sink) -> Encoded<Self> {
        if let Some(field) = schema.fields().iter().find(|field| field.data_type().is_nested()) {
            let message =
                format!("column `{}` of type {} has no form in CSV", field.name(), field.data_type());
            return Err(ArrowError::CsvError(message).into());
        }
        let mut writer = Self { sink, lines: Vec::new(), text: String::new() };
        for (index, field) in schema.fields().iter().enumerate() {
            writer.delimit(index);
            put(&mut writer.lines, field.name());
        }
        writer.lines.push(b'\n');
        writer.hand_on()?;
        Ok(writer)
    }

    fn delimit(&mut self, index: usize) {
        if index > 0 {
            self.lines.push(b',');
        }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.lines)?;
        self.lines.clear();
        Ok(())
    }
}

impl RowWriter for CsvWriter {
    fn write(&mut self, batch: &RecordBatch) -> Encoded<()> {
        let options = FormatOptions::new();
        let columns = batch.columns().iter();
        let columns: Vec<_> = columns
            .map(|array| Ok((array.logical_nulls(), ArrayFormatter::try_new(array.as_ref(), &options)?)))
            .collect::<Result<_, ArrowError>>()?;
        for row in 0..batch.num_rows() {
            for (index, (nulls, values)) in columns.iter().enumerate() {
                self.delimit(index);
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    continue;
                }
                self.text.clear();
                values.value(row).write(&mut self.text)?;
                put(&mut self.lines, &self.text);
            }
            self.lines.push(b'\n');
            if self.lines.len() >= GATHERED_LEN {
                self.hand_on()?;
            }
        }
        self.hand_on()?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Encoded<()> {
        Ok(())
    }
}

/// Puts a value, quoted where it is empty or holds what ends values, lines or quotes, or may not stand first in a file.
fn put(line: &mut Vec<u8>, text: &str) {
    let ends_something = |byte: u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if !text.is_empty() && !text.starts_with('\u{feff}') && !text.bytes().any(ends_something) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    line.push(b'"');
    for (index, part) in text.split('"').enumerate() {
        line.extend_from_slice(if index > 0 { b"\"\"" } else { b"" });
        line.extend_from_slice(part.as_bytes());
    }
    line.push(b'"');
}
