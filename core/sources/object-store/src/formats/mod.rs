//! Formats of files, and what each says of its columns.

mod arrow_ipc;
mod codec;
mod csv;
mod ndjson;
mod parquet;

use std::collections::HashSet;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use pillion::texts::{CsvFormat, InferredType};
use pillion::{Error, ErrorCode, Result};

use self::codec::Codec;
use crate::file::SourceFile;
use crate::names::suggestion;
use crate::options::Options;

/// Rows of a batch.
pub(crate) const BATCH_ROWS: usize = 8 << 10;
/// Bytes of a batch, where rows are large.
pub(crate) const BATCH_BYTES: usize = 4 << 20;

const ENDINGS: [&str; 12] =
    ["arrow", "arrows", "csv", "feather", "ipc", "json", "jsonl", "ndjson", "parquet", "pq", "tsv", "txt"];

pub(crate) type FileBatches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Parquet,
    Csv,
    NdJson,
    Arrow,
}

/// How a file is read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) format: Format,
    codec: Codec,
    csv: CsvFormat,
}

/// What a file says of its columns.
#[derive(Clone, Debug)]
pub(crate) enum Looked {
    /// Their types, and the number of rows if that is known.
    Declared(SchemaRef, Option<u64>),
    /// Names, and what their texts look like.
    Texts(Vec<(String, InferredType)>),
}

impl Format {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`].
    pub(crate) fn named(name: &str) -> Result<Self> {
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

impl Reading {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for an ending that names no format, and options that the format does not have;
    /// [`ErrorCode::Unsupported`] for a compression that this build does not have.
    pub(crate) fn of(path: &str, options: &Options) -> Result<Self> {
        let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
        let (name, codec) = Codec::of(path, &name)?;
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let is_tabs = ending == "tsv" || ending == "tab";
        let format = match (options.format, ending) {
            (Some(format), _) => format,
            (None, "parquet" | "pq") => Format::Parquet,
            (None, "csv" | "txt" | "tsv" | "tab") => Format::Csv,
            (None, "ndjson" | "jsonl" | "json") => Format::NdJson,
            (None, "arrow" | "arrows" | "feather" | "ipc") => Format::Arrow,
            (None, other) => {
                let message = format!(
                    "the ending of `{path}` names no format{}: set the option `format`, or narrow the pattern",
                    suggestion(other, ENDINGS)
                );
                return Err(Error::new(ErrorCode::InvalidArgument, message));
            }
        };
        let csv = match is_tabs && !options.has_delimiter {
            true => options.csv.clone().delimiter(Some(b'\t')),
            false => options.csv.clone(),
        };
        let reading = Self { format, codec, csv };
        reading.check(path, options)?;
        Ok(reading)
    }

    fn check(&self, path: &str, options: &Options) -> Result<()> {
        let is_texts = matches!(self.format, Format::Csv | Format::NdJson);
        if !is_texts && self.codec != Codec::None {
            let message =
                format!("`{path}` is compressed as a whole, but its format cannot be read so: decompress it");
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        match options.of_csv {
            Some(option) if self.format != Format::Csv => {
                let message = format!("the option `{option}` is of CSV files, and `{path}` is not one");
                Err(Error::new(ErrorCode::InvalidArgument, message))
            }
            _ => Ok(()),
        }
    }

    /// Finds out the columns of a file. Reads the rows of files whose format has no types, unless the definition gives all.
    ///
    /// # Errors
    /// [`ErrorCode::SourceInvalid`], and those of reading the file.
    pub(crate) fn look(&self, file: &SourceFile, options: &Options) -> Result<Looked> {
        let looked = match self.format {
            Format::Parquet => parquet::look(file)?,
            Format::Arrow => arrow_ipc::look(file)?,
            // A file without a byte has no rows, and so no columns of its own.
            Format::Csv | Format::NdJson if file.bytes() == 0 => Looked::Texts(Vec::new()),
            Format::Csv => csv::look(file, self.codec, &self.csv, options)?,
            Format::NdJson => ndjson::look(file, self.codec)?,
        };
        let mut names = HashSet::new();
        for name in looked.names() {
            if !names.insert(name) {
                let message = format!(
                    "`{}` has two columns `{name}`: leave one out where the file is made",
                    file.name()
                );
                return Err(Error::new(ErrorCode::SourceInvalid, message));
            }
        }
        Ok(looked)
    }

    /// Opens a file. Its batches have the columns of `wanted` in any order; files of texts make values of their types, and
    /// other files have the types that they declare.
    ///
    /// # Errors
    /// [`ErrorCode::SourceInvalid`], and those of reading the file.
    pub(crate) fn open(&self, file: &SourceFile, wanted: &Schema) -> Result<FileBatches> {
        match self.format {
            Format::Parquet => parquet::open(file, wanted),
            Format::Arrow => arrow_ipc::open(file, wanted),
            Format::Csv | Format::NdJson if file.bytes() == 0 => Ok(Box::new(std::iter::empty())),
            Format::Csv => csv::open(file, self.codec, &self.csv, wanted),
            Format::NdJson => ndjson::open(file, self.codec, wanted),
        }
    }
}

impl Looked {
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Self::Declared(schema, _) => schema.fields().iter().map(|field| field.name().as_str()).collect(),
            Self::Texts(columns) => columns.iter().map(|(name, _)| name.as_str()).collect(),
        }
    }
}
