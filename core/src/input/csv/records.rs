//! The records of a CSV file: the texts of their fields, which of the empty ones were quoted, and the lines they begin
//! in.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use csv_core::{ReadFieldResult, Reader};

use super::{NOT_CSV, at_line};
use crate::input::file;
use crate::types::error::Result;

/// Bytes that are read from the file at a time.
const CHUNK_LEN: usize = 256 << 10;
/// A batch of records is complete when its texts have so many bytes.
const BATCH_LEN: usize = 16 << 20;
/// The most bytes of one record.
const RECORD_LEN_MAX: usize = 1 << 30;
/// What some programs write before the first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// The least free room for texts when a field is read.
const ROOM: usize = 4 << 10;

/// Reads a file record by record.
///
/// Lines end with `\n`, `\r\n` or `\r`. Empty lines between records are skipped. But if records have a single field, an
/// empty line is a record whose field is null, because there is no other way to write it.
pub(super) struct RecordReader {
    path: PathBuf,
    file: File,
    chunk: Vec<u8>,
    start: usize,
    end: usize,
    has_read: bool,
    is_at_end: bool,
    parser: Reader,
    /// The line of the byte at `start`.
    line: u64,
    /// Whether the byte before `start` was a `\r` that ended a line.
    after_return: bool,
}

/// Records of equal length, one after another.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Fields of each record. `None`: the first record may have any number.
    columns: Option<usize>,
    /// The texts of all fields; the bytes from `len` on are room for more.
    texts: Vec<u8>,
    len: usize,
    /// Where the text of each field ends.
    ends: Vec<usize>,
    /// Numbers of the fields that are empty and quoted, ascending.
    quoted: Vec<usize>,
    /// The line in which each record begins.
    lines: Vec<u64>,
}

/// Records whose texts are UTF-8.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts<'a> {
    columns: usize,
    texts: &'a str,
    ends: &'a [usize],
    quoted: &'a [usize],
    lines: &'a [u64],
}

/// The fields of one column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column<'a> {
    records: Texts<'a>,
    index: usize,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// Nothing between the delimiters.
    Null,
    /// Text, which is empty only if it was quoted.
    Text(&'a str),
}

impl RecordReader {
    /// Opens a file.
    ///
    /// # Errors
    /// [`SourceNotFound`](crate::ErrorCode::SourceNotFound).
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: file::open_for_reading(path)?,
            chunk: vec![0; CHUNK_LEN],
            start: 0,
            end: 0,
            has_read: false,
            is_at_end: false,
            parser: Reader::new(),
            line: 1,
            after_return: false,
        })
    }

    /// The first record: the names of the columns.
    ///
    /// # Errors
    /// [`SourceInvalid`](crate::ErrorCode::SourceInvalid), also if there is none.
    pub(super) fn header(&mut self) -> Result<Vec<String>> {
        let mut records = Records::default();
        if !self.read(&mut records, 1)? {
            return Err(file::invalid(&self.path, NOT_CSV, "it is empty"));
        }
        let texts = records.texts(&self.path, &[])?;
        let names = (0..texts.columns).map(|index| match texts.column(index).field(0) {
            Field::Null => String::new(),
            Field::Text(name) => name.to_owned(),
        });
        Ok(names.collect())
    }

    /// Replaces what `records` holds by the next records, at most `rows_max`. Returns whether there are any.
    ///
    /// # Errors
    /// [`SourceInvalid`](crate::ErrorCode::SourceInvalid).
    pub(super) fn read(&mut self, records: &mut Records, rows_max: usize) -> Result<bool> {
        records.clear();
        while records.rows() < rows_max && records.len < BATCH_LEN && self.read_record(records)? {}
        Ok(records.rows() > 0)
    }

    fn read_record(&mut self, records: &mut Records) -> Result<bool> {
        loop {
            match self.peek()? {
                None => return Ok(false),
                Some(b'\n') if self.after_return => {
                    self.start += 1;
                    self.after_return = false;
                }
                Some(end @ (b'\n' | b'\r')) => {
                    self.start += 1;
                    self.after_return = end == b'\r';
                    self.line += 1;
                    if records.columns == Some(1) {
                        records.lines.push(self.line - 1);
                        records.ends.push(records.len);
                        return Ok(true);
                    }
                }
                Some(_) => break,
            }
        }
        let (first_field, first_byte, line) = (records.ends.len(), records.len, self.line);
        let lines_before = self.parser.line();
        records.lines.push(line);
        while !self.read_field(records, line, first_byte)? {}
        let last_byte = self.start.checked_sub(1).and_then(|last| self.chunk.get(last));
        self.after_return = last_byte == Some(&b'\r');
        self.line += self.parser.line() - lines_before + u64::from(self.after_return);
        let fields = records.ends.len() - first_field;
        match records.columns {
            Some(columns) if columns != fields => {
                let message = format!("it has {fields} fields and the header {columns}");
                Err(at_line(&self.path, line, &message))
            }
            _ => {
                records.columns = Some(fields);
                Ok(true)
            }
        }
    }

    /// Reads a field of a record that begins at `line`. Returns whether it is the record's last field.
    fn read_field(&mut self, records: &mut Records, line: u64, first_byte: usize) -> Result<bool> {
        let field_start = records.len;
        let mut has_quote = false;
        loop {
            let is_at_end = self.peek()?.is_none();
            if records.texts.len() - records.len < ROOM {
                records.texts.resize(2 * records.texts.len() + ROOM, 0);
            }
            // The last line may lack its end, which is added here. Only a quoted value that never ends goes on behind
            // it.
            let input = if is_at_end { b"\n" } else { &self.chunk[self.start..self.end] };
            let (result, read, written) = self.parser.read_field(input, &mut records.texts[records.len..]);
            records.len += written;
            has_quote |= records.len == field_start && input[..read].contains(&b'"');
            self.start += if is_at_end { 0 } else { read };
            match result {
                ReadFieldResult::Field { record_end } => {
                    if has_quote && records.len == field_start {
                        records.quoted.push(records.ends.len());
                    }
                    records.ends.push(records.len);
                    return Ok(record_end);
                }
                _ if is_at_end => return Err(at_line(&self.path, line, "a quoted value in it has no end")),
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull | ReadFieldResult::End => {}
            }
            if records.len - first_byte > RECORD_LEN_MAX {
                let message = format!("it is longer than {RECORD_LEN_MAX} bytes; is a quote missing?");
                return Err(at_line(&self.path, line, &message));
            }
        }
    }

    /// The next byte, or `None` at the end of the file.
    fn peek(&mut self) -> Result<Option<u8>> {
        if self.start == self.end && !self.is_at_end {
            (self.start, self.end) = (0, 0);
            while self.end < BYTE_ORDER_MARK.len() && !self.is_at_end {
                let read = self.file.read(&mut self.chunk[self.end..]);
                match read {
                    Ok(0) => self.is_at_end = true,
                    Ok(read) => self.end += read,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(file::invalid(&self.path, "cannot be read", error)),
                }
            }
        }
        if !self.has_read {
            self.has_read = true;
            if self.chunk[..self.end].starts_with(BYTE_ORDER_MARK) {
                self.start = BYTE_ORDER_MARK.len();
                return self.peek();
            }
        }
        Ok(self.chunk[self.start..self.end].first().copied())
    }
}

impl Records {
    /// Records of so many fields.
    pub(super) fn new(columns: usize) -> Self {
        Self { columns: Some(columns), ..Self::default() }
    }

    fn rows(&self) -> usize {
        self.lines.len()
    }

    fn clear(&mut self) {
        self.len = 0;
        self.ends.clear();
        self.quoted.clear();
        self.lines.clear();
    }

    /// The records as texts; `names` are those of the columns.
    ///
    /// # Errors
    /// [`SourceInvalid`](crate::ErrorCode::SourceInvalid) for what is not UTF-8.
    pub(super) fn texts(&self, path: &Path, names: &[&str]) -> Result<Texts<'_>> {
        let columns = self.columns.unwrap_or_default().max(1);
        let wrong = |byte: usize| {
            let field = self.ends.partition_point(|end| *end <= byte);
            let line = self.lines.get(field / columns).copied().unwrap_or_default();
            let column = match names.get(field % columns) {
                Some(name) => format!("column `{name}`"),
                None => format!("field {}", field % columns + 1),
            };
            at_line(path, line, &format!("{column} is not text in UTF-8"))
        };
        let texts =
            std::str::from_utf8(&self.texts[..self.len]).map_err(|error| wrong(error.valid_up_to()))?;
        // Two fields that are not UTF-8 by themselves can be so together.
        if let Some(end) = self.ends.iter().find(|end| !texts.is_char_boundary(**end)) {
            return Err(wrong(end.saturating_sub(1)));
        }
        Ok(Texts { columns, texts, ends: &self.ends, quoted: &self.quoted, lines: &self.lines })
    }
}

impl<'a> Texts<'a> {
    pub(super) fn rows(&self) -> usize {
        self.lines.len()
    }

    /// The fields of a column.
    pub(super) fn column(self, index: usize) -> Column<'a> {
        Column { records: self, index }
    }
}

impl<'a> Column<'a> {
    /// The fields from the first record to the last.
    pub(super) fn fields(self) -> impl ExactSizeIterator<Item = Field<'a>> {
        (0..self.records.rows()).map(move |row| self.field(row))
    }

    #[inline]
    fn field(self, row: usize) -> Field<'a> {
        let field = row * self.records.columns + self.index;
        let text = self.text(field);
        if text.is_empty() && self.records.quoted.binary_search(&field).is_err() {
            return Field::Null;
        }
        Field::Text(text)
    }

    #[inline]
    fn text(self, field: usize) -> &'a str {
        let Texts { texts, ends, .. } = self.records;
        let start = if field == 0 { 0 } else { ends[field - 1] };
        &texts[start..ends[field]]
    }

    /// The line in which the column's field of a record begins.
    pub(super) fn line(self, row: usize) -> u64 {
        let first = row * self.records.columns;
        let before = (first..first + self.index).map(|field| self.text(field));
        let ends = before.map(|text| text.bytes().filter(|byte| *byte == b'\n').count() as u64);
        self.records.lines.get(row).copied().unwrap_or_default() + ends.sum::<u64>()
    }
}
