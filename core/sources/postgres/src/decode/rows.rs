//! Rows as they are sent, and batches.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use pillion::{Error, ErrorCode, Result};

use super::cells::Cells;
use super::list::field;

/// A batch ends with the row that reaches one of these.
const BATCH_ROWS: usize = 8192;
const BATCH_LEN: usize = 4 << 20;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Makes batches of the messages of a `COPY`.
pub(crate) struct RowDecoder {
    schema: SchemaRef,
    columns: Vec<Box<dyn Cells>>,
    rows: usize,
    bytes: usize,
    stage: Stage,
    /// Where the rows are from, for messages.
    place: Arc<str>,
}

#[derive(PartialEq)]
enum Stage {
    Header,
    Rows,
    End,
}

impl RowDecoder {
    pub(crate) fn new(schema: SchemaRef, columns: Vec<Box<dyn Cells>>, place: Arc<str>) -> Self {
        Self { schema, columns, rows: 0, bytes: 0, stage: Stage::Header, place }
    }

    /// Adds the rows of a message, which holds whole rows.
    pub(crate) fn add(&mut self, message: &[u8]) -> Result<()> {
        let mut rest = message;
        if self.stage == Stage::Header {
            rest = self.header(rest)?;
            self.stage = Stage::Rows;
        }
        while !rest.is_empty() {
            let (count, tail) =
                rest.split_first_chunk::<2>().ok_or_else(|| self.damaged("a row ends too early"))?;
            rest = tail;
            match (&self.stage, i16::from_be_bytes(*count)) {
                (Stage::Rows, -1) => self.stage = Stage::End,
                (Stage::Rows, count) if usize::try_from(count) == Ok(self.columns.len()) => {
                    self.row(&mut rest)?;
                }
                _ => return Err(self.damaged("a row has another number of columns than was announced")),
            }
        }
        self.bytes += message.len();
        Ok(())
    }

    fn header<'a>(&self, message: &'a [u8]) -> Result<&'a [u8]> {
        let wrong = || self.damaged("the rows have no header of a binary COPY");
        let rest = message.strip_prefix(SIGNATURE).ok_or_else(wrong)?;
        let (flags, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        let (extension, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        if *flags != [0; 4] {
            return Err(wrong());
        }
        let extension = usize::try_from(u32::from_be_bytes(*extension)).map_err(|_| wrong())?;
        rest.get(extension..).ok_or_else(wrong)
    }

    fn row(&mut self, rest: &mut &[u8]) -> Result<()> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            let added = field(rest).and_then(|bytes| match bytes {
                Some(bytes) => column.append(bytes),
                None if self.schema.field(index).is_nullable() => {
                    column.append_null();
                    Ok(())
                }
                None => Err("holds a null although it is declared NOT NULL".to_owned()),
            });
            if let Err(fault) = added {
                let name = self.schema.field(index).name();
                return Err(Error::new(
                    ErrorCode::SourceInvalid,
                    format!("{}: column `{name}` {fault}", self.place),
                ));
            }
        }
        self.rows += 1;
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_LEN
    }

    /// Whether the server said that all rows were sent.
    pub(crate) fn has_ended(&self) -> bool {
        self.stage == Stage::End
    }

    /// The rows since the last batch, if there are any.
    pub(crate) fn batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let columns = self.columns.iter_mut().map(|column| column.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map(Some).map_err(|error| {
            Error::new(ErrorCode::Internal, "columns do not make a batch").with_source(error)
        })
    }

    fn damaged(&self, what: &str) -> Error {
        Error::new(ErrorCode::SourceInvalid, format!("{}: {what}", self.place))
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::super::cells::text;
    use super::*;

    fn decoder() -> RowDecoder {
        let schema = Arc::new(Schema::new(vec![Field::new("word", DataType::Utf8, false)]));
        RowDecoder::new(schema, vec![text()], "t".into())
    }

    fn header() -> Vec<u8> {
        [SIGNATURE.as_slice(), &[0; 8]].concat()
    }

    #[test]
    fn rows_of_several_messages_are_one_batch() {
        let mut decoder = decoder();
        decoder.add(&[&header()[..], b"\0\x01\0\0\0\x02ab\0\x01\0\0\0\0"].concat()).unwrap();
        decoder.add(b"\0\x01\0\0\0\x01c").unwrap();
        assert!(!decoder.has_ended());
        decoder.add(b"\xff\xff").unwrap();
        assert!(decoder.has_ended());
        assert_eq!(decoder.batch().unwrap().unwrap().num_rows(), 3);
        assert!(decoder.batch().unwrap().is_none());
    }

    #[test]
    fn damaged_rows_are_refused() {
        for (message, why) in [
            (&b"\0\x02"[..], "number of columns"),
            (b"\0", "ends too early"),
            (b"\0\x01\0\0\0\x05ab", "ends too early"),
            (b"\0\x01\xff\xff\xff\xff", "column `word` holds a null"),
            (b"\xff\xff\0\x01", "number of columns"),
        ] {
            let mut decoder = decoder();
            decoder.add(&header()).unwrap();
            let error = decoder.add(message).unwrap_err();
            assert_eq!(error.code(), ErrorCode::SourceInvalid);
            assert!(error.message().contains(why), "{error}");
        }
        assert!(decoder().add(b"PGCOPY").is_err());
    }
}
