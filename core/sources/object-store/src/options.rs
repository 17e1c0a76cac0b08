//! How the files of a relation are read: the options that its definition gives.

use arrow::datatypes::DataType;
use pillion::source::Relation;
use pillion::texts::CsvFormat;
use pillion::{Error, ErrorCode, Result};

use crate::formats::Format;
use crate::names::suggestion;
use crate::types;

const KNOWN: [&str; 8] = ["delimiter", "empty", "format", "header", "hive", "null", "quote", "types"];
const OF_CSV: [&str; 3] = ["delimiter", "header", "quote"];

/// Options of a relation.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// `None`: each file has the format that its ending names.
    pub(crate) format: Option<Format>,
    /// Its delimiter is `None` unless the option gives one.
    pub(crate) csv: CsvFormat,
    pub(crate) has_delimiter: bool,
    /// The first of the options that only CSV files have.
    pub(crate) of_csv: Option<&'static str>,
    /// Types of columns that the definition gives.
    pub(crate) types: Vec<(String, DataType)>,
    /// Whether folders such as `year=2013` are columns.
    pub(crate) hive: bool,
    /// Whether there may be no files.
    pub(crate) may_be_empty: bool,
    pub(crate) left_out: Vec<String>,
    pub(crate) as_text: Vec<String>,
}

impl Options {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`].
    pub(crate) fn of(relation: &Relation) -> Result<Self> {
        let given = relation.options();
        if let Some(name) = given.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            let near = suggestion(name, KNOWN);
            return Err(invalid(format!(
                "files have no option `{name}`{near}; there are {}",
                KNOWN.join(", ")
            )));
        }
        let get = |name: &str| given.get(name).map(String::as_str);
        let format = get("format").map(Format::named).transpose()?;
        let delimiter = get("delimiter").map(|text| byte("delimiter", text)).transpose()?;
        let mut csv = CsvFormat::new().delimiter(delimiter).header(is_on("header", get("header"))?);
        if let Some(text) = get("quote") {
            csv = csv.quote(if matches!(text, "off" | "none" | "") {
                None
            } else {
                Some(byte("quote", text)?)
            });
        }
        if let Some(words) = get("null") {
            csv = csv.nulls(words.split(',').filter(|word| !word.is_empty()));
        }
        let may_be_empty = match get("empty") {
            None | Some("refuse") => false,
            Some("allow") => true,
            Some(other) => {
                return Err(invalid(format!("the option `empty` is `allow` or `refuse`, and not `{other}`")));
            }
        };
        Ok(Self {
            format,
            has_delimiter: delimiter.is_some(),
            of_csv: OF_CSV.into_iter().find(|name| given.contains_key(*name)),
            types: types::parse_list(get("types").unwrap_or_default())?,
            hive: is_on("hive", get("hive"))?,
            may_be_empty,
            left_out: relation.left_out().to_vec(),
            as_text: relation.read_as_text().to_vec(),
            csv,
        })
    }

    /// The type that the definition gives a column.
    pub(crate) fn type_of(&self, column: &str) -> Option<&DataType> {
        self.types.iter().find(|(name, _)| name == column).map(|(_, of)| of)
    }

    pub(crate) fn is_left_out(&self, column: &str) -> bool {
        self.left_out.iter().any(|name| name == column)
    }

    pub(crate) fn is_as_text(&self, column: &str) -> bool {
        self.as_text.iter().any(|name| name == column)
    }

    /// Fails if a name that the definition has is not one of the columns.
    ///
    /// # Errors
    /// [`ErrorCode::ColumnNotFound`].
    pub(crate) fn check_names(&self, columns: &[String]) -> Result<()> {
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

fn is_on(name: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("on" | "true" | "yes") => Ok(true),
        Some("off" | "false" | "no") => Ok(false),
        Some(other) => Err(invalid(format!("the option `{name}` is `on` or `off`, and not `{other}`"))),
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
