//! The records of a CSV file, one after another.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use csv_core::{ReadFieldResult, Reader};

use super::at_line;
use super::format::{self, CsvFormat};
use super::rows::TextRows;
use crate::input::file;
use crate::types::error::Result;

const NOT_CSV: &str = "is not a CSV file with a header line";
/// Bytes that are read from the file at a time.
const CHUNK_LEN: usize = 256 << 10;
/// The most bytes of one record.
const RECORD_LEN_MAX: usize = 1 << 30;
/// What some programs write before the first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// The least free room for texts when a field is read.
const ROOM: usize = 4 << 10;

/// Reads CSV record by record from anything that gives its bytes: [`TextColumns`](super::TextColumns) makes values of them.
///
/// Lines end with `\n`, `\r\n` or `\r`. Empty lines between records are skipped. But if records have a single field, an
/// empty line is a record whose field is null, because there is no other way to write it.
pub struct CsvReader {
    path: PathBuf,
    source: Box<dyn Read + Send>,
    format: CsvFormat,
    names: Vec<String>,
    /// The first record of a file without a header line, until it is read again.
    first: Option<TextRows>,
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
    /// Whether nobody said which delimiter it has.
    has_looked: bool,
}

impl CsvReader {
    /// Reads the start of a file: its header line, or its first record if it has no such line. Errors name the file `path`.
    ///
    /// # Errors
    /// [`SourceInvalid`](crate::ErrorCode::SourceInvalid), also for a file without its header line;
    /// [`InvalidArgument`](crate::ErrorCode::InvalidArgument) if several delimiters fit and `format` names none.
    pub fn new(
        path: impl Into<PathBuf>,
        source: impl Read + Send + 'static,
        format: &CsvFormat,
    ) -> Result<Self> {
        let mut reader = Self {
            path: path.into(),
            source: Box::new(source),
            format: format.clone(),
            names: Vec::new(),
            first: None,
            chunk: vec![0; CHUNK_LEN],
            start: 0,
            end: 0,
            has_read: false,
            is_at_end: false,
            parser: Reader::new(),
            line: 1,
            after_return: false,
            has_looked: format.delimiter.is_none(),
        };
        let delimiter = match format.delimiter {
            Some(delimiter) => delimiter,
            None => reader.look_for_delimiter()?,
        };
        reader.parser = format.parser(delimiter);
        reader.read_names()?;
        Ok(reader)
    }

    /// The names of the columns, from the header line. Without one: `column_1` and so on.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Replaces what `rows` holds by the next rows: at most `rows_max`, and no more after so many bytes. Returns whether there
    /// are any.
    ///
    /// # Errors
    /// [`SourceInvalid`](crate::ErrorCode::SourceInvalid), with the line.
    pub fn read(&mut self, rows: &mut TextRows, rows_max: usize, bytes_max: usize) -> Result<bool> {
        match self.first.take() {
            Some(first) => *rows = first,
            None => rows.clear(),
        }
        rows.columns = Some(self.names.len());
        rows.is_escaped = false;
        while rows.rows() < rows_max && rows.len < bytes_max && self.read_record(rows)? {}
        Ok(rows.rows() > 0)
    }

    fn look_for_delimiter(&mut self) -> Result<u8> {
        self.fill(CHUNK_LEN)?;
        format::look(&self.path, &self.format, &self.chunk[..self.end], self.is_at_end)
    }

    fn read_names(&mut self) -> Result<()> {
        let mut records = TextRows::default();
        let has_first = self.read_record(&mut records)?;
        if !self.format.header {
            let columns = if has_first { records.columns.unwrap_or_default() } else { 0 };
            self.names = (1..=columns).map(|number| format!("column_{number}")).collect();
            self.first = has_first.then_some(records);
            return Ok(());
        }
        if !has_first {
            return Err(file::invalid(&self.path, NOT_CSV, "it is empty"));
        }
        let texts = records.texts(&self.path, &[])?;
        let names = (0..texts.columns()).map(|index| texts.column(index).text_of(0).to_owned());
        self.names = names.collect();
        Ok(())
    }

    fn read_record(&mut self, records: &mut TextRows) -> Result<bool> {
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
                let first = if self.format.header { "header" } else { "first line" };
                let mut message = format!("it has {fields} fields and the {first} {columns}");
                if self.has_looked {
                    message.push_str(format::TRIED);
                }
                Err(at_line(&self.path, line, &message))
            }
            _ => {
                records.columns = Some(fields);
                Ok(true)
            }
        }
    }

    /// Reads a field of a record that begins at `line`. Returns whether it is the record's last field.
    fn read_field(&mut self, records: &mut TextRows, line: u64, first_byte: usize) -> Result<bool> {
        let field_start = records.len;
        let is_quoted = self.peek()?.is_some_and(|byte| Some(byte) == self.format.quote);
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
            self.start += if is_at_end { 0 } else { read };
            match result {
                ReadFieldResult::Field { record_end } => {
                    let text = &records.texts[field_start..records.len];
                    if !is_quoted && self.format.is_null(text) {
                        records.len = field_start;
                    } else if text.is_empty() && is_quoted {
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
            self.fill(BYTE_ORDER_MARK.len())?;
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

    /// Reads until the chunk has so many bytes, or all that there are.
    fn fill(&mut self, len: usize) -> Result<()> {
        while self.end < len && !self.is_at_end {
            let read = self.source.read(&mut self.chunk[self.end..]);
            match read {
                Ok(0) => self.is_at_end = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(file::invalid(&self.path, "cannot be read", error)),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for CsvReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CsvReader");
        shown
            .field("path", &self.path)
            .field("names", &self.names)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}
