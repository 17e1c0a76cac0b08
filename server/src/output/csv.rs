//! Rows as CSV: RFC 4180, with a header line, `\n` at the end of lines, and nothing where a value is null.
//!
//! An empty text is quoted, so that it is not mistaken for null; a row of a single null is an empty line. The library
//! reads this CSV back as the same values.

use std::io::{self, Write};

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::compute::{cast, min};
use arrow::datatypes::{DataType, Schema, TimeUnit, TimestampSecondType};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::rows::{Encoded, RowWriter};
use super::sink::Sink;

/// Lines go to the sink when they have this many bytes.
const GATHERED_LEN: usize = 64 << 10;

/// The second from which all offsets of all time zones are whole minutes: the start of 1973.
const OFFSETS_WITHOUT_SECONDS: i64 = 94_694_400;

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
        let in_utc = batch.columns().iter().map(moments_in_utc).collect::<Result<Vec<_>, _>>()?;
        let columns = batch.columns().iter().zip(&in_utc);
        let columns: Vec<_> = columns
            .map(|(array, in_utc)| Column::new(array, in_utc.as_ref(), &options))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                self.delimit(index);
                if column.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    continue;
                }
                column.write(row, &mut self.text)?;
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

/// The values of a column as text.
struct Column<'a> {
    nulls: Option<NullBuffer>,
    values: ArrayFormatter<'a>,
    /// The same moments in UTC, if text in their own time zone may not be read back as the same moment.
    in_utc: Option<ArrayFormatter<'a>>,
}

impl<'a> Column<'a> {
    fn new(
        array: &'a ArrayRef,
        in_utc: Option<&'a ArrayRef>,
        options: &FormatOptions<'a>,
    ) -> Result<Self, ArrowError> {
        Ok(Self {
            nulls: array.logical_nulls(),
            values: ArrayFormatter::try_new(array.as_ref(), options)?,
            in_utc: in_utc.map(|array| ArrayFormatter::try_new(array.as_ref(), options)).transpose()?,
        })
    }

    fn write(&self, row: usize, text: &mut String) -> Encoded<()> {
        text.clear();
        self.values.value(row).write(text)?;
        // Until 1972 some offsets had seconds, and the formatter writes offsets without them.
        if let Some(in_utc) = &self.in_utc {
            let moment = in_utc.value(row).try_to_string()?;
            if !is_moment(text, &moment) {
                *text = moment;
            }
        }
        Ok(())
    }
}

fn is_moment(text: &str, moment: &str) -> bool {
    let read = |text| string_to_datetime::<Tz>(&"+00:00".parse().ok()?, text).ok();
    matches!((read(text), read(moment)), (Some(text), Some(moment)) if text == moment)
}

/// Moments of a named time zone, in UTC, if any of them is from before 1973, when offsets could have seconds.
fn moments_in_utc(array: &ArrayRef) -> Result<Option<ArrayRef>, ArrowError> {
    let DataType::Timestamp(unit, Some(zone)) = array.data_type() else { return Ok(None) };
    if zone.starts_with(['+', '-']) || **zone == *"UTC" {
        return Ok(None);
    }
    let in_utc = cast(array, &DataType::Timestamp(*unit, Some("+00:00".into())))?;
    let seconds = cast(&in_utc, &DataType::Timestamp(TimeUnit::Second, Some("+00:00".into())))?;
    let first = min(seconds.as_primitive::<TimestampSecondType>());
    Ok(first.is_some_and(|first| first < OFFSETS_WITHOUT_SECONDS).then_some(in_utc))
}

/// Appends a value. Quotes it if it is empty, if it contains a comma, a quote or a line end, or if it begins with a
/// byte order mark.
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
