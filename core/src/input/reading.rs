//! The format of a file, by its ending or by options, and what the file says of its columns.

use std::collections::HashSet;
use std::io::Read;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::codec::Codec;
use super::csv::{CsvFormat, InferredType};
use super::options::FileOptions;
use crate::types::error::{Error, ErrorCode, Result, suggestion};

const ENDINGS: [&str; 12] =
    ["arrow", "arrows", "csv", "feather", "ipc", "json", "jsonl", "ndjson", "parquet", "pq", "tsv", "txt"];

/// Batches of one file.
pub type FileBatches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileFormat {
    /// Parquet.
    Parquet,
    /// Texts with a delimiter between them: CSV, and the same with tabs or semicolons.
    Csv,
    /// JSON objects, one a line.
    NdJson,
    /// Arrow IPC, files or streams.
    Arrow,
}

/// How one file is read.
#[derive(Clone, Debug)]
pub struct FileReading {
    format: FileFormat,
    codec: Codec,
    #[cfg_attr(not(feature = "csv"), expect(dead_code, reason = "only the reader of CSV asks for it"))]
    csv: CsvFormat,
}

/// What a file says of its columns.
#[derive(Clone, Debug)]
pub enum FileColumns {
    /// Their types, and the number of rows if that is known.
    Declared(SchemaRef, Option<u64>),
    /// Names, and what their texts look like.
    Texts(Vec<(String, InferredType)>),
}

impl FileFormat {
    /// The format that people call so.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument).
    pub fn named(name: &str) -> Result<Self> {
        match name.to_lowercase().as_str() {
            "parquet" => Ok(Self::Parquet),
            "csv" | "tsv" => Ok(Self::Csv),
            "ndjson" | "jsonl" | "json" => Ok(Self::NdJson),
            "arrow" | "ipc" | "feather" => Ok(Self::Arrow),
            other => {
                let known = ["arrow", "csv", "ndjson", "parquet", "tsv"];
                let message = format!(
                    "`{other}` is not a format of files{}; there are {}",
                    suggestion(other, known),
                    known.join(", ")
                );
                Err(Error::new(ErrorCode::InvalidArgument, message))
            }
        }
    }
}

impl FileReading {
    /// How the file at `path` is read.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for an ending that names no format, and for options that the format does
    /// not have; [`Unsupported`](ErrorCode::Unsupported) for a compression that this build does not have.
    pub fn of(path: &str, options: &FileOptions) -> Result<Self> {
        let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
        let (name, codec) = Codec::of(path, &name)?;
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let is_tabs = ending == "tsv" || ending == "tab";
        let format = match (options.format, ending) {
            (Some(format), _) => format,
            (None, "parquet" | "pq") => FileFormat::Parquet,
            (None, "csv" | "txt" | "tsv" | "tab") => FileFormat::Csv,
            (None, "ndjson" | "jsonl" | "json") => FileFormat::NdJson,
            (None, "arrow" | "arrows" | "feather" | "ipc") => FileFormat::Arrow,
            (None, other) => {
                let message = format!(
                    "the ending of `{path}` names no format{}: say which it has (`format`), or narrow the pattern; there are {}",
                    suggestion(other, ENDINGS),
                    ENDINGS.join(", ")
                );
                return Err(Error::new(ErrorCode::InvalidArgument, message));
            }
        };
        let csv = match is_tabs && !options.csv.has_delimiter() {
            true => options.csv.clone().delimiter(Some(b'\t')),
            false => options.csv.clone(),
        };
        let reading = Self { format, codec, csv };
        reading.check(path, options)?;
        Ok(reading)
    }

    fn check(&self, path: &str, options: &FileOptions) -> Result<()> {
        if !self.is_texts() && self.codec != Codec::None {
            let message =
                format!("`{path}` is compressed as a whole, but its format cannot be read so: decompress it");
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        match options.of_csv() {
            Some(option) if self.format != FileFormat::Csv => {
                let message = format!("the option `{option}` is of CSV files, and `{path}` is not one");
                Err(Error::new(ErrorCode::InvalidArgument, message))
            }
            _ => Ok(()),
        }
    }

    /// The format.
    pub fn format(&self) -> FileFormat {
        self.format
    }

    /// Whether it is a file of texts, whose columns are found out by [`look_at_texts`](Self::look_at_texts).
    pub fn is_texts(&self) -> bool {
        matches!(self.format, FileFormat::Csv | FileFormat::NdJson)
    }

    /// Finds out the columns of a file of texts from its bytes, which are not decompressed yet. Reads all rows, unless the types
    /// of all columns are known: by `options`, or because `is_known` says so of their names. Errors name the file by `name`.
    ///
    /// # Errors
    /// [`SourceInvalid`](ErrorCode::SourceInvalid), with the line; [`Unsupported`](ErrorCode::Unsupported) for a format that this
    /// build does not have.
    pub fn look_at_texts(
        &self,
        name: &str,
        bytes: impl Read + Send + 'static,
        options: &FileOptions,
        is_known: &dyn Fn(&str) -> bool,
    ) -> Result<FileColumns> {
        let is_known = |column: &str| options.is_type_known(column) || is_known(column);
        match self.format {
            #[cfg(feature = "csv")]
            FileFormat::Csv => super::csv::look(name, self.reader(name, bytes)?, &self.csv, &is_known)
                .map(FileColumns::Texts),
            #[cfg(feature = "ndjson")]
            FileFormat::NdJson => {
                super::ndjson::look(name, self.reader(name, bytes)?).map(FileColumns::Texts)
            }
            _ => {
                let _ = (bytes, is_known);
                Err(self.lacking(name))
            }
        }
    }

    /// Opens a file of texts. Its batches have the columns of `wanted`, in their types.
    ///
    /// # Errors
    /// Those of [`look_at_texts`](Self::look_at_texts).
    pub fn open_texts(
        &self,
        name: &str,
        bytes: impl Read + Send + 'static,
        wanted: &Schema,
    ) -> Result<FileBatches> {
        match self.format {
            #[cfg(feature = "csv")]
            FileFormat::Csv => super::csv::open(name, self.reader(name, bytes)?, &self.csv, wanted),
            #[cfg(feature = "ndjson")]
            FileFormat::NdJson => super::ndjson::open(name, self.reader(name, bytes)?, wanted),
            _ => {
                let _ = (bytes, wanted);
                Err(self.lacking(name))
            }
        }
    }

    #[cfg(feature = "csv")]
    fn reader(&self, name: &str, bytes: impl Read + Send + 'static) -> Result<super::codec::Bytes> {
        let reader = self.codec.reader(Box::new(bytes));
        reader.map_err(|error| super::file::invalid(name.as_ref(), "cannot be decompressed", error))
    }

    /// The error of a format that this build cannot read.
    pub(super) fn lacking(&self, name: &str) -> Error {
        let (format, feature) = match self.format {
            FileFormat::Parquet => ("Parquet", "parquet"),
            FileFormat::Csv => ("CSV", "csv"),
            FileFormat::NdJson => ("NDJSON", "ndjson"),
            FileFormat::Arrow => return Error::internal("a file of Arrow is not one of texts"),
        };
        let message = format!(
            "`{name}` is {format}, which this build cannot read: build the crate `pillion` with its feature `{feature}`"
        );
        Error::new(ErrorCode::Unsupported, message)
    }
}

impl FileColumns {
    /// The names of the columns.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Declared(schema, _) => schema.fields().iter().map(|field| field.name().as_str()).collect(),
            Self::Texts(columns) => columns.iter().map(|(name, _)| name.as_str()).collect(),
        }
    }

    /// # Errors
    /// [`SourceInvalid`](ErrorCode::SourceInvalid) if two columns of the file `name` have the same name.
    pub fn check(self, name: &str) -> Result<Self> {
        let mut names = HashSet::new();
        match self.names().into_iter().find(|name| !names.insert(*name)) {
            Some(column) => {
                let message =
                    format!("`{name}` has two columns `{column}`: rename one where the file is made");
                Err(Error::new(ErrorCode::SourceInvalid, message))
            }
            None => Ok(self),
        }
    }
}
