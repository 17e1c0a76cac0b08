//! Rows of texts: the texts of their fields, which of the empty ones are no nulls, and the lines they begin in.

use std::path::Path;

use super::at_line;
use crate::types::error::Result;

/// Rows whose fields are texts or nulls, with the line of the file in which each row begins.
#[derive(Debug, Default)]
pub struct TextRows {
    /// Fields of each row. `None`: the first row may have any number.
    pub(super) columns: Option<usize>,
    /// The texts of all fields; the bytes from `len` on are room for more.
    pub(super) texts: Vec<u8>,
    pub(super) len: usize,
    /// Where the text of each field ends.
    pub(super) ends: Vec<usize>,
    /// Numbers of the fields that are an empty text and not a null, ascending.
    pub(super) quoted: Vec<usize>,
    /// The line in which each row begins.
    pub(super) lines: Vec<u64>,
    /// Whether a line feed in a text does not begin a line of the file.
    pub(super) is_escaped: bool,
}

/// Records whose texts are UTF-8.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts<'a> {
    columns: usize,
    texts: &'a str,
    ends: &'a [usize],
    quoted: &'a [usize],
    lines: &'a [u64],
    is_escaped: bool,
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

impl TextRows {
    /// No rows yet, each of so many fields.
    #[must_use]
    pub fn new(columns: usize) -> Self {
        Self { columns: Some(columns), ..Self::default() }
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// Bytes of all texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len
    }

    /// Adds a row that begins in a line of the file. Fields that are missing are null, and surplus ones are ignored.
    pub fn push<'a>(&mut self, line: u64, fields: impl IntoIterator<Item = Option<&'a str>>) {
        self.is_escaped = true;
        self.lines.push(line);
        self.texts.truncate(self.len);
        let mut fields = fields.into_iter();
        for _ in 0..self.columns.unwrap_or_default() {
            let text = fields.next().flatten();
            if text.is_some_and(str::is_empty) {
                self.quoted.push(self.ends.len());
            }
            self.texts.extend_from_slice(text.unwrap_or_default().as_bytes());
            self.len = self.texts.len();
            self.ends.push(self.len);
        }
    }

    /// Removes all rows, and keeps the memory for others.
    pub fn clear(&mut self) {
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
                Some(name) if !name.is_empty() => format!("column `{name}`"),
                _ => format!("field {}", field % columns + 1),
            };
            at_line(path, line, &format!("{column} is not text in UTF-8"))
        };
        let texts =
            std::str::from_utf8(&self.texts[..self.len]).map_err(|error| wrong(error.valid_up_to()))?;
        // Two fields that are not UTF-8 by themselves can be so together.
        if let Some(end) = self.ends.iter().find(|end| !texts.is_char_boundary(**end)) {
            return Err(wrong(end.saturating_sub(1)));
        }
        Ok(Texts {
            columns,
            texts,
            ends: &self.ends,
            quoted: &self.quoted,
            lines: &self.lines,
            is_escaped: self.is_escaped,
        })
    }
}

impl<'a> Texts<'a> {
    pub(super) fn rows(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
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

    /// The text of a row, empty for a null.
    #[cfg(feature = "csv")]
    pub(super) fn text_of(self, row: usize) -> &'a str {
        self.text(row * self.records.columns + self.index)
    }

    #[inline]
    fn text(self, field: usize) -> &'a str {
        let Texts { texts, ends, .. } = self.records;
        let start = if field == 0 { 0 } else { ends[field - 1] };
        &texts[start..ends[field]]
    }

    /// The line in which the column's field of a record begins.
    pub(super) fn line(self, row: usize) -> u64 {
        let line = self.records.lines.get(row).copied().unwrap_or_default();
        if self.records.is_escaped {
            return line;
        }
        let first = row * self.records.columns;
        let before = (first..first + self.index).map(|field| self.text(field));
        let ends = before.map(|text| text.bytes().filter(|byte| *byte == b'\n').count() as u64);
        line + ends.sum::<u64>()
    }
}
