//! Rows in a format, batch by batch.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{JsonArray, LineDelimited};
use arrow::json::{Writer as JsonWriter, WriterBuilder as JsonWriterBuilder};
use bytes::Bytes;
use pillion::texts::CsvEncoder;
use pillion::{Error, ErrorCode, Result};

use super::format::Format;

/// Writes rows in one of the formats. Each call returns the bytes that became ready.
pub(crate) enum Encoder {
    Json(JsonWriter<Vec<u8>, JsonArray>),
    NdJson(JsonWriter<Vec<u8>, LineDelimited>),
    Csv(CsvEncoder, Vec<u8>),
    Arrow(StreamWriter<Vec<u8>>),
}

impl Encoder {
    /// Begins an answer with these columns.
    ///
    /// # Errors
    /// [`ErrorCode::UnsupportedType`] for columns that the format cannot hold; [`ErrorCode::InvalidSql`] for two columns of
    /// one name, of which an object of JSON would show one.
    pub(crate) fn new(format: Format, schema: &Schema) -> Result<Self> {
        let json = || JsonWriterBuilder::new().with_explicit_nulls(true);
        Ok(match format {
            Format::Json => {
                refuse_equal_names(schema)?;
                Self::Json(json().build(Vec::new()))
            }
            Format::NdJson => {
                refuse_equal_names(schema)?;
                Self::NdJson(json().build(Vec::new()))
            }
            Format::Csv => {
                let mut lines = Vec::new();
                Self::Csv(CsvEncoder::new(schema, &mut lines)?, lines)
            }
            Format::Arrow => Self::Arrow(StreamWriter::try_new(Vec::new(), schema).map_err(failed)?),
        })
    }

    /// Rows that go into one part of the body: as many as take a moderate amount of memory as text.
    pub(crate) fn rows_at_once(&self) -> usize {
        match self {
            Self::Arrow(_) => 64 << 10,
            _ => 1024,
        }
    }

    /// The next rows.
    ///
    /// # Errors
    /// [`ErrorCode::Execution`] for a value that the format cannot hold.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<Bytes> {
        match self {
            Self::Json(writer) => writer.write(batch).map_err(failed)?,
            Self::NdJson(writer) => writer.write(batch).map_err(failed)?,
            Self::Csv(encoder, lines) => encoder.write(batch, lines)?,
            Self::Arrow(writer) => writer.write(batch).map_err(failed)?,
        }
        Ok(self.take())
    }

    /// What stands behind the last row.
    ///
    /// # Errors
    /// [`ErrorCode::Execution`].
    pub(crate) fn finish(&mut self) -> Result<Bytes> {
        match self {
            Self::Json(writer) => {
                writer.finish().map_err(failed)?;
                writer.get_mut().push(b'\n');
            }
            Self::NdJson(writer) => writer.finish().map_err(failed)?,
            Self::Csv(..) => {}
            Self::Arrow(writer) => writer.finish().map_err(failed)?,
        }
        Ok(self.take())
    }

    fn take(&mut self) -> Bytes {
        let bytes = match self {
            Self::Json(writer) => writer.get_mut(),
            Self::NdJson(writer) => writer.get_mut(),
            Self::Csv(_, lines) => lines,
            Self::Arrow(writer) => writer.get_mut(),
        };
        std::mem::take(bytes).into()
    }
}

/// One row as a JSON object.
///
/// # Errors
/// As [`Encoder::write`].
pub(crate) fn object(row: &RecordBatch) -> Result<Bytes> {
    // A line is an object and a line end.
    Encoder::new(Format::NdJson, row.schema_ref())?.write(row)
}

fn refuse_equal_names(schema: &Schema) -> Result<()> {
    let mut names = HashSet::new();
    match schema.fields().iter().find(|field| !names.insert(field.name())) {
        None => Ok(()),
        Some(field) => Err(Error::new(
            ErrorCode::InvalidSql,
            format!(
                "two columns are called `{}`, and an object of JSON can have one of them: give them names with AS, or ask for CSV or Arrow",
                field.name()
            ),
        )),
    }
}

fn failed(error: ArrowError) -> Error {
    Error::new(ErrorCode::Execution, "the rows cannot be written in this format").with_source(error)
}
