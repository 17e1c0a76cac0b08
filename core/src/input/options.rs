//! How files are read: what they do not say themselves.

use arrow::datatypes::DataType;

use super::csv::CsvFormat;
use super::reading::FileFormat;
use super::type_names;
use crate::types::error::{Error, ErrorCode, Result, suggestion};

const OF_CSV: [&str; 3] = ["delimiter", "header", "quote"];

/// How files are read: what they do not say themselves. Without options, each file has the format that its ending names; the
/// first lines of CSV show the delimiter; a header line names the columns; and only an empty field is null.
///
/// ```
/// use arrow::datatypes::DataType;
/// use pillion::{FileOptions, Input, TableDefinition};
///
/// let options = FileOptions::new().option("delimiter", ";")?.nulls(["NA"]).types([("zip", DataType::Utf8)]);
/// let prices = TableDefinition::new(Input::files_with(["prices-*.csv.gz"], options));
/// # drop(prices);
/// # Ok::<(), pillion::Error>(())
/// ```
///
/// # Options by their names
/// Sources, the command line and configurations give them as texts, with [`option`](Self::option):
///
/// | option | meaning |
/// | --- | --- |
/// | `format` | `parquet`, `csv`, `tsv`, `ndjson` or `arrow`. Without it, the ending says it: `parquet`, `pq`; `csv`, `txt`; `tsv`, `tab` (CSV with tabs); `ndjson`, `jsonl`, `json`; `arrow`, `arrows`, `feather`, `ipc` |
/// | `delimiter` | of CSV: one character or `tab`. Without it, the first lines show it: the one of `,` `;` tab and `\|` that divides all of them into equally many fields, at least two. If two do, the option is needed |
/// | `quote` | of CSV: one character, or `off`; `"` by default |
/// | `header` | of CSV: `off` if the first line is a row; columns are then `column_1` and so on |
/// | `null` | of CSV: words with commas between them that are null where they are not quoted, such as `NA,NULL`. An empty field always is |
/// | `types` | types of columns: `zip=Utf8,price=Decimal(10,2)`, with Arrow's names |
/// | `hive` | `off`: folders such as `year=2013` are not columns |
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// `None`: each file has the format that its ending names.
    pub(super) format: Option<FileFormat>,
    /// Its delimiter is `None` unless it is told.
    pub(super) csv: CsvFormat,
    /// The first of the options that only CSV files have.
    of_csv: Option<&'static str>,
    pub(super) types: Vec<(String, DataType)>,
    /// Whether folders such as `year=2013` are columns.
    pub(super) folders: bool,
    left_out: Vec<String>,
    as_text: Vec<String>,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            format: None,
            csv: CsvFormat::new().delimiter(None),
            of_csv: None,
            types: Vec::new(),
            folders: true,
            left_out: Vec::new(),
            as_text: Vec::new(),
        }
    }
}

impl FileOptions {
    /// The names that [`option`](Self::option) knows, in alphabetical order.
    pub const NAMES: [&str; 7] = ["delimiter", "format", "header", "hive", "null", "quote", "types"];

    /// As files say it themselves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The format of all files, whatever their endings.
    #[must_use]
    pub fn format(mut self, format: FileFormat) -> Self {
        self.format = Some(format);
        self
    }

    /// The byte between the fields of CSV. `None`: as the first lines of each file show.
    #[must_use]
    pub fn delimiter(mut self, delimiter: Option<u8>) -> Self {
        self.csv = self.csv.delimiter(delimiter);
        if delimiter.is_some() { self.only_csv("delimiter") } else { self }
    }

    /// The byte around fields of CSV that contain delimiters; `None` if no byte has that meaning.
    #[must_use]
    pub fn quote(mut self, quote: Option<u8>) -> Self {
        self.csv = self.csv.quote(quote);
        self.only_csv("quote")
    }

    /// Whether the first line of CSV names the columns. If not, they are `column_1` and so on.
    #[must_use]
    pub fn header(mut self, header: bool) -> Self {
        self.csv = self.csv.header(header);
        if header { self } else { self.only_csv("header") }
    }

    /// Words of CSV that are null where they are not quoted, such as `NA`.
    #[must_use]
    pub fn nulls<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.csv = self.csv.nulls(words);
        self
    }

    /// Types of columns. They decide what the texts of CSV and NDJSON become; columns of Parquet and Arrow may only be
    /// widened by them.
    #[must_use]
    pub fn types<S: Into<String>>(mut self, types: impl IntoIterator<Item = (S, DataType)>) -> Self {
        self.types.extend(types.into_iter().map(|(column, of)| (column.into(), of)));
        self
    }

    /// Whether folders such as `year=2013` are columns, as they are by default.
    #[must_use]
    pub fn folders(mut self, folders: bool) -> Self {
        self.folders = folders;
        self
    }

    /// Columns that are not read.
    #[must_use]
    pub fn leave_out<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.left_out.extend(columns.into_iter().map(Into::into));
        self
    }

    /// Columns that are read as text, in the form in which their values are shown.
    #[must_use]
    pub fn as_text<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.as_text.extend(columns.into_iter().map(Into::into));
        self
    }

    /// Sets an option by its name.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for an unknown name and for a value that it does not take.
    pub fn option(self, name: &str, value: &str) -> Result<Self> {
        Ok(match name {
            "delimiter" => self.delimiter(Some(byte(name, value)?)),
            "format" => {
                let has_tabs = value.eq_ignore_ascii_case("tsv") && !self.csv.has_delimiter();
                let set = self.format(FileFormat::named(value)?);
                if has_tabs { set.delimiter(Some(b'\t')) } else { set }
            }
            "header" => {
                let is_on = is_on(name, value)?;
                self.header(is_on)
            }
            "hive" => {
                let is_on = is_on(name, value)?;
                self.folders(is_on)
            }
            "null" => self.nulls(value.split(',').filter(|word| !word.is_empty())),
            "quote" if matches!(value, "off" | "none" | "") => self.quote(None),
            "quote" => self.quote(Some(byte(name, value)?)),
            "types" => self.with_types(type_names::parse_list(value)?)?,
            other => {
                let (near, known) = (suggestion(other, Self::NAMES), Self::NAMES.join(", "));
                return Err(invalid(format!("files have no option `{other}`{near}; there are {known}")));
            }
        })
    }

    fn with_types(self, types: Vec<(String, DataType)>) -> Result<Self> {
        match types.iter().find(|(column, _)| self.type_of(column).is_some()) {
            Some((column, _)) => Err(invalid(format!("the column `{column}` is given a type twice"))),
            None => Ok(self.types(types)),
        }
    }

    fn only_csv(mut self, option: &'static str) -> Self {
        self.of_csv = OF_CSV.into_iter().find(|name| Some(*name) == self.of_csv || *name == option);
        self
    }

    /// The types that columns are given.
    pub fn given_types(&self) -> &[(String, DataType)] {
        &self.types
    }

    /// An option that only CSV files have, if one is given.
    pub(super) fn of_csv(&self) -> Option<&'static str> {
        self.of_csv
    }

    pub(super) fn type_of(&self, column: &str) -> Option<&DataType> {
        self.types.iter().find(|(name, _)| name == column).map(|(_, of)| of)
    }

    pub(super) fn is_left_out(&self, column: &str) -> bool {
        self.left_out.iter().any(|name| name == column)
    }

    pub(super) fn is_as_text(&self, column: &str) -> bool {
        self.as_text.iter().any(|name| name == column)
    }

    /// Whether nobody needs to look at the texts of a column to know its type.
    pub(super) fn is_type_known(&self, column: &str) -> bool {
        self.type_of(column).is_some() || self.is_as_text(column) || self.is_left_out(column)
    }

    /// Fails if a name that is given is not one of the columns.
    ///
    /// # Errors
    /// [`ErrorCode::ColumnNotFound`].
    pub(super) fn check_names(&self, columns: &[String]) -> Result<()> {
        let typed = self.types.iter().map(|(name, _)| name);
        for name in typed.chain(&self.left_out).chain(&self.as_text) {
            if !columns.contains(name) {
                let near = suggestion(name, columns.iter().map(String::as_str));
                let message = format!("no file has the column `{name}`{near}");
                return Err(Error::new(ErrorCode::ColumnNotFound, message));
            }
        }
        Ok(())
    }
}

fn is_on(name: &str, value: &str) -> Result<bool> {
    match value {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        other => Err(invalid(format!("the option `{name}` is `on` or `off`, and not `{other}`"))),
    }
}

fn byte(name: &str, text: &str) -> Result<u8> {
    match text {
        "tab" | "\\t" => return Ok(b'\t'),
        "comma" => return Ok(b','),
        "semicolon" => return Ok(b';'),
        "pipe" => return Ok(b'|'),
        "space" => return Ok(b' '),
        _ => {}
    }
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(*byte),
        _ => Err(invalid(format!("the option `{name}` is one ASCII character or `tab`, and not `{text}`"))),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorCode::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_set_by_their_names() {
        let set = |name, value| FileOptions::new().option(name, value);
        assert_eq!(set("delimiter", "tab").unwrap().csv, CsvFormat::new().delimiter(Some(b'\t')));
        assert_eq!(set("format", "tsv").unwrap().csv, CsvFormat::new().delimiter(Some(b'\t')));
        assert_eq!(set("quote", "off").unwrap().csv, CsvFormat::new().delimiter(None).quote(None));
        assert_eq!(set("format", "jsonl").unwrap().format, Some(FileFormat::NdJson));
        assert!(!set("hive", "off").unwrap().folders);
        assert_eq!(set("header", "off").unwrap().of_csv(), Some("header"));
        let twice = set("types", "a=int").unwrap().option("types", "a=text").unwrap_err();
        assert!(twice.message().contains("`a`"), "{twice}");
        for (name, value, why) in [
            ("delimeter", ";", "did you mean `delimiter`?"),
            ("delimiter", "ab", "one ASCII character"),
            ("header", "maybe", "`on` or `off`"),
            ("format", "xlsx", "there are arrow, csv, ndjson, parquet, tsv"),
            ("types", "a", "column=type"),
        ] {
            let error = set(name, value).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains(why), "{error}");
        }
    }
}
