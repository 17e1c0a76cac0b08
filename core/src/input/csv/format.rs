//! How a CSV file is written, and the delimiter that its first lines show.

#[cfg(feature = "csv")]
use std::path::Path;

#[cfg(feature = "csv")]
use csv_core::{ReadFieldResult, Reader, ReaderBuilder};

#[cfg(feature = "csv")]
use crate::types::error::{Error, ErrorCode, Result};

/// Delimiters that a file may show.
#[cfg(feature = "csv")]
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Fields that are looked at.
#[cfg(feature = "csv")]
const FIELDS_MAX: usize = 100_000;
/// Said of a file whose delimiter nobody named and which shows none.
#[cfg(feature = "csv")]
pub(super) const TRIED: &str = "; `,`, `;`, tab and `|` were tried as delimiters: name the one it has";

/// How a CSV file is written. Unless something else is said: a comma between fields, quotes `"`, a header line, and only an
/// empty field is null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvFormat {
    /// `None`: the one that its first lines show.
    pub(super) delimiter: Option<u8>,
    pub(super) quote: Option<u8>,
    pub(super) header: bool,
    pub(super) nulls: Vec<Vec<u8>>,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self { delimiter: Some(b','), quote: Some(b'"'), header: true, nulls: Vec::new() }
    }
}

impl CsvFormat {
    /// As most files are written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The byte between fields. `None` looks at the first lines: of `,`, `;`, tab and `|` it takes the one that divides all of
    /// them into equally many fields, at least two; a comma if none does.
    #[must_use]
    pub fn delimiter(mut self, delimiter: Option<u8>) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// The byte around fields that contain delimiters, which is doubled within them. `None` if no byte has that meaning.
    #[must_use]
    pub fn quote(mut self, quote: Option<u8>) -> Self {
        self.quote = quote;
        self
    }

    /// Whether the first line names the columns.
    #[must_use]
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// Texts that are nulls where they are not quoted, such as `NA`.
    #[must_use]
    pub fn nulls<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.nulls = words.into_iter().map(|word| word.into().into_bytes()).collect();
        self
    }

    pub(in crate::input) fn has_delimiter(&self) -> bool {
        self.delimiter.is_some()
    }
}

#[cfg(feature = "csv")]
impl CsvFormat {
    pub(super) fn is_null(&self, text: &[u8]) -> bool {
        self.nulls.iter().any(|word| word == text)
    }

    pub(super) fn parser(&self, delimiter: u8) -> Reader {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(delimiter);
        match self.quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        builder.build()
    }
}

/// The delimiter that the first bytes of a file show.
#[cfg(feature = "csv")]
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] if they show several.
pub(super) fn look(path: &Path, format: &CsvFormat, start: &[u8], is_whole: bool) -> Result<u8> {
    let fits = |delimiter: &u8| {
        fields_of_each(format.parser(*delimiter), start, is_whole).is_some_and(|fields| fields > 1)
    };
    let fitting: Vec<u8> = DELIMITERS.into_iter().filter(fits).collect();
    match fitting[..] {
        [] => Ok(DELIMITERS[0]),
        [one] => Ok(one),
        [one, other, ..] => Err(Error::new(
            ErrorCode::InvalidArgument,
            format!(
                "`{}` can be divided at each `{}` and at each `{}`: name its delimiter",
                path.display(),
                char::from(one).escape_default(),
                char::from(other).escape_default()
            ),
        )),
    }
}

/// How many fields each record has; `None` if some have more than others.
#[cfg(feature = "csv")]
fn fields_of_each(mut parser: Reader, mut input: &[u8], is_whole: bool) -> Option<usize> {
    let (mut scratch, mut fields, mut expected) = ([0; 4 << 10], 0, None);
    for _ in 0..FIELDS_MAX {
        if input.is_empty() && !is_whole {
            break;
        }
        let (result, read, _) = parser.read_field(input, &mut scratch);
        input = &input[read..];
        match result {
            ReadFieldResult::Field { record_end } => {
                fields += 1;
                if record_end && *expected.get_or_insert(fields) != fields {
                    return None;
                }
                fields = if record_end { 0 } else { fields };
            }
            ReadFieldResult::End => break,
            ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
        }
    }
    expected
}

#[cfg(all(test, feature = "csv"))]
mod tests {
    use super::*;

    fn looked_at(text: &str) -> Result<u8> {
        look(Path::new("file.csv"), &CsvFormat::new(), text.as_bytes(), true)
    }

    #[test]
    fn the_delimiter_is_the_one_that_divides_all_lines_alike() {
        assert_eq!(looked_at("id;name;v\n1;a;1,5\n2;b;2,5\n").unwrap(), b';');
        assert_eq!(looked_at("id\tname\n1\t\"a,\tb\"").unwrap(), b'\t');
        assert_eq!(looked_at("a|b\n\n1|2\n").unwrap(), b'|');
        assert_eq!(looked_at("a,b\n1;2,3\n").unwrap(), b',');
        // Neither a single column nor a line of another length shows any.
        assert_eq!(looked_at("name\nx;y\nz\n").unwrap(), b',');
        assert_eq!(looked_at("").unwrap(), b',');
        let error = looked_at("a;b,c\n1;2,3\n").unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        assert!(error.message().contains("at each `,` and at each `;`"), "{error}");
    }

    #[test]
    fn a_last_line_that_was_cut_off_shows_nothing() {
        let start = "a;b\n1;2\n3";
        assert_eq!(look(Path::new("f"), &CsvFormat::new(), start.as_bytes(), false).unwrap(), b';');
        assert_eq!(looked_at(start).unwrap(), b',');
    }
}
