//! Writes the rows of an answer in a format, batch by batch.

use std::error::Error;

use super::csv::CsvWriter;
use super::format::Format;
use super::progress::Progress;
use super::sink::Sink;
use super::table::TableWriter;
use super::target::Target;
use crate::failure::Failure;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::json::writer::LineDelimited;
use arrow::json::{Writer as JsonWriter, WriterBuilder as JsonWriterBuilder};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// A row group of a Parquet file ends at this size, because it is in memory until then.
const ROW_GROUP_BYTES: usize = 128 << 20;

/// Result of encoding. The error comes from the rows, or from the stream, which remembers it.
pub(crate) type Encoded<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Encodes the rows of one answer.
pub(crate) trait RowWriter {
    /// Writes some rows.
    fn write(&mut self, batch: &RecordBatch) -> Encoded<()>;

    /// Writes what stands after the last row.
    fn finish(self: Box<Self>) -> Encoded<()>;
}

/// Writes an answer to a target as its batches come, and returns the number of its rows.
pub(crate) fn write_rows(
    schema: &SchemaRef,
    batches: impl Iterator<Item = pillion::Result<RecordBatch>>,
    format: Format,
    target: &mut Target,
    progress: &mut Progress,
) -> Result<u64, Failure> {
    let writer = writer(format, schema, target.sink().clone());
    let mut writer = writer.map_err(|error| target.explain(error.as_ref()))?;
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        writer.write(&batch).map_err(|error| target.explain(error.as_ref()))?;
        // So that a reader at the other end of a pipe sees the batch now.
        target.flush()?;
        rows += batch.num_rows() as u64;
        progress.at(rows, target.sink().bytes());
    }
    writer.finish().map_err(|error| target.explain(error.as_ref()))?;
    target.flush()?;
    Ok(rows)
}

fn writer(format: Format, schema: &SchemaRef, sink: Sink) -> Encoded<Box<dyn RowWriter>> {
    Ok(match format {
        Format::Table => Box::new(TableWriter::new(schema, sink)),
        Format::Csv => Box::new(CsvWriter::try_new(schema, sink)?),
        Format::Json => {
            let builder = JsonWriterBuilder::new().with_explicit_nulls(true);
            Box::new(builder.build::<_, LineDelimited>(sink))
        }
        Format::Arrow => Box::new(StreamWriter::try_new(sink, schema)?),
        Format::Feather => Box::new(FileWriter::try_new(sink, schema)?),
        Format::Parquet => {
            let properties = WriterProperties::builder()
                .set_compression(Compression::ZSTD(ZstdLevel::default()))
                .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
                .build();
            Box::new(ArrowWriter::try_new(sink, schema.clone(), Some(properties))?)
        }
    })
}

impl RowWriter for JsonWriter<Sink, LineDelimited> {
    fn write(&mut self, batch: &RecordBatch) -> Encoded<()> {
        Ok(Self::write(self, batch)?)
    }

    fn finish(mut self: Box<Self>) -> Encoded<()> {
        Ok(Self::finish(&mut self)?)
    }
}

impl RowWriter for StreamWriter<Sink> {
    fn write(&mut self, batch: &RecordBatch) -> Encoded<()> {
        Ok(Self::write(self, batch)?)
    }

    fn finish(mut self: Box<Self>) -> Encoded<()> {
        Ok(Self::finish(&mut self)?)
    }
}

impl RowWriter for FileWriter<Sink> {
    fn write(&mut self, batch: &RecordBatch) -> Encoded<()> {
        Ok(Self::write(self, batch)?)
    }

    fn finish(mut self: Box<Self>) -> Encoded<()> {
        Ok(Self::finish(&mut self)?)
    }
}

impl RowWriter for ArrowWriter<Sink> {
    fn write(&mut self, batch: &RecordBatch) -> Encoded<()> {
        Ok(Self::write(self, batch)?)
    }

    fn finish(self: Box<Self>) -> Encoded<()> {
        self.close()?;
        Ok(())
    }
}
