//! Rows as a table for people.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::layout::{Layout, printable};
use super::rows::{Encoded, RowWriter};
use super::sink::Sink;
use super::units;

/// How many rows are held to find the widths of the columns; later rows are written as they come, with these widths.
pub(crate) const ROWS_HELD: usize = 1000;
/// How many bytes of text are held at most for the same purpose.
const BYTES_HELD: usize = 4 << 20;

/// Writes a table. Memory is bounded by [`ROWS_HELD`] and [`BYTES_HELD`].
pub(crate) struct TableWriter {
    sink: Sink,
    layout: Layout,
    /// `None` once the widths are settled and the header is written.
    held: Option<Vec<Vec<String>>>,
    bytes_held: usize,
    rows: u64,
}

impl TableWriter {
    pub(crate) fn new(schema: &Schema, sink: Sink) -> Self {
        let columns =
            schema.fields().iter().map(|field| (field.name().as_str(), field.data_type().is_numeric()));
        Self { sink, layout: Layout::new(columns), held: Some(Vec::new()), bytes_held: 0, rows: 0 }
    }

    fn settle(&mut self) -> Encoded<()> {
        if let Some(held) = self.held.take() {
            self.layout.write_header(&mut self.sink)?;
            for row in held {
                self.layout.write_row(&mut self.sink, &row)?;
            }
        }
        Ok(())
    }
}

impl RowWriter for TableWriter {
    fn write(&mut self, batch: &RecordBatch) -> Encoded<()> {
        let options = FormatOptions::new().with_null("null");
        let columns = batch.columns().iter();
        let columns: Vec<_> = columns
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns
                .iter()
                .map(|column| column.value(row).try_to_string().map(|text| printable(&text)))
                .collect::<Result<_, _>>()?;
            self.rows += 1;
            match &mut self.held {
                None => self.layout.write_row(&mut self.sink, &cells)?,
                Some(held) => {
                    self.layout.fit(&cells);
                    self.bytes_held += cells.iter().map(String::len).sum::<usize>();
                    held.push(cells);
                    if held.len() >= ROWS_HELD || self.bytes_held >= BYTES_HELD {
                        self.settle()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Encoded<()> {
        self.settle()?;
        writeln!(self.sink, "({})", units::rows(self.rows))?;
        Ok(())
    }
}
