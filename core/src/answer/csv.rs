//! Rows as CSV.

use std::fmt::Display;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::compute::{cast, min};
use arrow::datatypes::{DataType, Schema, TimeUnit, TimestampSecondType};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::types::error::{Error, ErrorCode, Result};

/// The second from which all offsets of all time zones are whole minutes: the start of 1973.
const OFFSETS_WITHOUT_SECONDS: i64 = 94_694_400;

/// Writes rows as CSV: RFC 4180, with a header line, `\n` at the end of lines, and nothing where a value is null.
///
/// An empty text is quoted, so that it is not mistaken for null; a row of a single null is an empty line.
/// [`CsvReader`](crate::texts::CsvReader) reads the same values back.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{ArrayRef, RecordBatch, StringArray};
/// use pillion::texts::CsvEncoder;
///
/// let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a, b"), Some(""), None]));
/// let batch = RecordBatch::try_from_iter([("name", names.clone()), ("again", names)])?;
/// let mut text = Vec::new();
/// let mut encoder = CsvEncoder::new(&batch.schema(), &mut text)?;
/// for row in 0..batch.num_rows() {
///     encoder.write(&batch.slice(row, 1), &mut text)?;
/// }
/// assert_eq!(String::from_utf8(text)?, "name,again\n\"a, b\",\"a, b\"\n\"\",\"\"\n,\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CsvEncoder {
    text: String,
}

impl CsvEncoder {
    /// Begins with the header, which is appended to `lines`.
    ///
    /// # Errors
    /// [`ErrorCode::UnsupportedType`] for a column of a nested type, which CSV cannot hold.
    pub fn new(schema: &Schema, lines: &mut Vec<u8>) -> Result<Self> {
        if let Some(field) = schema.fields().iter().find(|field| field.data_type().is_nested()) {
            let message =
                format!("column `{}` of type {} has no form in CSV", field.name(), field.data_type());
            return Err(Error::new(ErrorCode::UnsupportedType, message));
        }
        for (index, field) in schema.fields().iter().enumerate() {
            delimit(lines, index);
            put(lines, field.name());
        }
        lines.push(b'\n');
        Ok(Self { text: String::new() })
    }

    /// Appends some rows to `lines`. The rows of a slice are written without looking at the others.
    ///
    /// # Errors
    /// [`ErrorCode::Execution`] for a value that has no text, such as a time beyond the calendar.
    pub fn write(&mut self, batch: &RecordBatch, lines: &mut Vec<u8>) -> Result<()> {
        let options = FormatOptions::new();
        let in_utc = batch.columns().iter().map(moments_in_utc).collect::<Result<Vec<_>, _>>();
        let in_utc = in_utc.map_err(no_text)?;
        let columns = batch.columns().iter().zip(&in_utc);
        let columns: Vec<_> = columns
            .map(|(array, in_utc)| Column::new(array, in_utc.as_ref(), &options))
            .collect::<Result<_, _>>()
            .map_err(no_text)?;
        for row in 0..batch.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                delimit(lines, index);
                if column.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    continue;
                }
                column.write(row, &mut self.text)?;
                put(lines, &self.text);
            }
            lines.push(b'\n');
        }
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

    fn write(&self, row: usize, text: &mut String) -> Result<()> {
        text.clear();
        self.values.value(row).write(text).map_err(no_text)?;
        // Until 1972 some offsets had seconds, and the formatter writes offsets without them.
        if let Some(in_utc) = &self.in_utc {
            let moment = in_utc.value(row).try_to_string().map_err(no_text)?;
            if !is_moment(text, &moment) {
                *text = moment;
            }
        }
        Ok(())
    }
}

fn no_text(error: impl Display) -> Error {
    Error::new(ErrorCode::Execution, format!("a value cannot be written as text: {error}"))
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

fn delimit(line: &mut Vec<u8>, index: usize) {
    if index > 0 {
        line.push(b',');
    }
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
