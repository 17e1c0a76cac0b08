//! Rows in a format, batch by batch.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{JsonArray, LineDelimited};
use arrow::json::{Writer as JsonWriter, WriterBuilder as JsonWriterBuilder};
use bytes::Bytes;
use pillion::texts::CsvEncoder;
use pillion::{Error, ErrorCode, Result};
use pillion_door::compact;

use super::format::Format;
use super::moments::Moments;

/// Values of a part of a body in bytes, if it has more than one row. As text they take some times as much at most.
const PART_LEN: u64 = 256 << 10;
/// The most rows of a part.
pub(crate) const PART_ROWS: usize = 64 << 10;

/// Writes rows in one of the formats. Each call returns the bytes that became ready.
pub(crate) enum Encoder {
    Json(JsonWriter<Vec<u8>, JsonArray>, Moments),
    NdJson(JsonWriter<Vec<u8>, LineDelimited>, Moments),
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
        let moments = Moments::default();
        let json = || {
            JsonWriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(moments.clone()))
        };
        Ok(match format {
            Format::Json => {
                refuse_equal_names(schema)?;
                Self::Json(json().build(Vec::new()), moments)
            }
            Format::NdJson => {
                refuse_equal_names(schema)?;
                Self::NdJson(json().build(Vec::new()), moments)
            }
            Format::Csv => {
                let mut lines = Vec::new();
                Self::Csv(CsvEncoder::new(schema, &mut lines)?, lines)
            }
            Format::Arrow => Self::Arrow(StreamWriter::try_new(Vec::new(), schema).map_err(failed)?),
        })
    }

    /// The next rows; not more than [`rows_at_once`] says.
    ///
    /// # Errors
    /// [`ErrorCode::Execution`] for a value that the format cannot hold.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<Bytes> {
        match self {
            Self::Json(writer, moments) => {
                writer.write(batch).map_err(failed)?;
                check(moments)?;
            }
            Self::NdJson(writer, moments) => {
                writer.write(batch).map_err(failed)?;
                check(moments)?;
            }
            Self::Csv(encoder, lines) => encoder.write(batch, lines)?,
            Self::Arrow(writer) => writer.write(&compact(batch).map_err(failed)?).map_err(failed)?,
        }
        Ok(self.take())
    }

    /// What stands behind the last row.
    ///
    /// # Errors
    /// [`ErrorCode::Execution`].
    pub(crate) fn finish(&mut self) -> Result<Bytes> {
        match self {
            Self::Json(writer, _) => {
                writer.finish().map_err(failed)?;
                writer.get_mut().push(b'\n');
            }
            Self::NdJson(writer, _) => writer.finish().map_err(failed)?,
            Self::Csv(..) => {}
            Self::Arrow(writer) => writer.finish().map_err(failed)?,
        }
        Ok(self.take())
    }

    fn take(&mut self) -> Bytes {
        let bytes = match self {
            Self::Json(writer, _) => writer.get_mut(),
            Self::NdJson(writer, _) => writer.get_mut(),
            Self::Csv(_, lines) => lines,
            Self::Arrow(writer) => writer.get_mut(),
        };
        std::mem::take(bytes).into()
    }
}

/// How many of the next rows of a batch go into one part of a body, at most `most`, and how many bytes their values have.
///
/// # Errors
/// [`ErrorCode::TooLarge`] for a row that alone takes too much memory.
pub(crate) fn rows_at_once(batch: &RecordBatch, from: usize, most: usize) -> Result<(usize, u64)> {
    pillion_door::rows_at_once(batch, from, most, PART_LEN)
}

/// One row as a JSON object.
///
/// # Errors
/// As [`Encoder::write`].
pub(crate) fn object(row: &RecordBatch) -> Result<Bytes> {
    // A line is an object and a line end.
    Encoder::new(Format::NdJson, row.schema_ref())?.write(row)
}

/// Rows as an answer of their own.
///
/// # Errors
/// Those of [`Encoder::new`] and [`Encoder::write`].
pub(crate) fn whole(format: Format, rows: &RecordBatch) -> Result<Bytes> {
    let mut encoder = Encoder::new(format, rows.schema_ref())?;
    let mut bytes = encoder.write(rows)?.to_vec();
    bytes.extend_from_slice(&encoder.finish()?);
    Ok(bytes.into())
}

fn check(moments: &Moments) -> Result<()> {
    moments.failure().map_or(Ok(()), |message| Err(Error::new(ErrorCode::Execution, message)))
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

#[cfg(test)]
mod tests {
    use arrow::array::{
        Array, ArrayRef, Date32Array, DictionaryArray, ListArray, StringViewArray, StructArray,
        TimestampSecondArray, UInt8Array,
    };
    use arrow::datatypes::{DataType, Date32Type, Field};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn one(column: impl Array + 'static) -> RecordBatch {
        RecordBatch::try_from_iter([("a", Arc::new(column) as ArrayRef)]).unwrap()
    }

    #[test]
    fn moments_without_a_form_fail_at_any_depth() {
        let far = || Date32Array::from(vec![0, i32::MAX]);
        let nested: ArrayRef = Arc::new(far());
        let fields = vec![(Arc::new(Field::new("day", DataType::Date32, true)), nested)];
        let batches = [
            one(far()),
            one(TimestampSecondArray::from(vec![0, i64::MAX])),
            one(StructArray::from(fields)),
            one(ListArray::from_iter_primitive::<Date32Type, _, _>([Some([Some(i32::MAX)])])),
            one(DictionaryArray::new(UInt8Array::from(vec![0, 1]), Arc::new(far()))),
        ];
        for batch in &batches {
            for format in [Format::Json, Format::NdJson] {
                let mut encoder = Encoder::new(format, batch.schema_ref()).unwrap();
                let error = encoder.write(batch).unwrap_err();
                assert_eq!(error.code(), ErrorCode::Execution);
                assert!(error.message().contains("no text of ISO 8601 stands for"), "{error}");
            }
        }
        let whole = object(&one(TimestampSecondArray::from(vec![Some(0)]))).unwrap();
        assert_eq!(&whole[..], b"{\"a\":\"1970-01-01T00:00:00\"}\n");
        let null = object(&one(Date32Array::from(vec![None]))).unwrap();
        assert_eq!(&null[..], b"{\"a\":null}\n");
    }

    #[test]
    fn parts_of_views_do_not_repeat_what_others_have() {
        let texts: Vec<String> =
            (0..10_000).map(|row| format!("a text that is long enough: {row}")).collect();
        let batch = one(StringViewArray::from_iter_values(&texts));
        let mut encoder = Encoder::new(Format::Arrow, batch.schema_ref()).unwrap();
        let mut bytes = Vec::new();
        for from in (0..10_000).step_by(100) {
            bytes.extend_from_slice(&encoder.write(&batch.slice(from, 100)).unwrap());
        }
        bytes.extend_from_slice(&encoder.finish().unwrap());
        assert!(bytes.len() < 1 << 20, "{}", bytes.len());
        let read: Vec<RecordBatch> =
            StreamReader::try_new(&bytes[..], None).unwrap().map(Result::unwrap).collect();
        assert_eq!(arrow::compute::concat_batches(batch.schema_ref(), &read).unwrap(), batch);
    }
}
