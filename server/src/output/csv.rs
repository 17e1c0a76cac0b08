//! Rows as CSV, in the form in which the library reads them back.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use pillion::texts::CsvEncoder;

use super::rows::{Encoded, RowWriter};
use super::sink::Sink;

/// Lines of this many rows go to the sink together, so that long texts are not in memory twice.
const ROWS_AT_ONCE: usize = 256;

/// Writes rows as lines.
pub(crate) struct CsvWriter {
    sink: Sink,
    encoder: CsvEncoder,
    lines: Vec<u8>,
}

impl CsvWriter {
    /// Writes the header.
    pub(crate) fn try_new(schema: &Schema, mut sink: Sink) -> Encoded<Self> {
        let mut lines = Vec::new();
        let encoder = CsvEncoder::new(schema, &mut lines)?;
        sink.write_all(&lines)?;
        Ok(Self { sink, encoder, lines })
    }
}

impl RowWriter for CsvWriter {
    fn write(&mut self, batch: &RecordBatch) -> Encoded<()> {
        for first in (0..batch.num_rows()).step_by(ROWS_AT_ONCE) {
            let rows = batch.slice(first, ROWS_AT_ONCE.min(batch.num_rows() - first));
            self.lines.clear();
            self.encoder.write(&rows, &mut self.lines)?;
            self.sink.write_all(&self.lines)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Encoded<()> {
        Ok(())
    }
}
