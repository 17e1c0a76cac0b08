//! Where rows come from.

mod adapt;
mod arrow_ipc;
mod arrow_reader;
mod batches;
mod codec;
pub(crate) mod csv;
mod file;
mod files;
mod folders;
#[cfg(feature = "ndjson")]
mod ndjson;
mod options;
#[cfg(feature = "parquet")]
mod parquet;
mod plan;
mod reading;
mod reconcile;
mod storable;
mod type_names;

use std::fmt;
use std::path::PathBuf;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

pub use self::adapt::FileAdapter;
pub use self::arrow_reader::{ArrowReader, check_arrow_message};
pub(crate) use self::batches::stored_schema;
pub use self::file::missing_codec;
pub use self::options::FileOptions;
pub use self::plan::{FilePlan, PlannedFile};
pub use self::reading::{FileBatches, FileColumns, FileFormat, FileReading};
use crate::types::error::{Error, ErrorCode, Result};

/// Rows to load: files, or batches in memory.
///
/// Nothing is opened before the rows are asked for, and no more than a few batches are in memory at a time.
///
/// Dictionary, run-end encoded and list-view columns become the type of their values, and so do views of texts and bytes within
/// other types: at any depth, of files, batches and streams alike.
pub struct Input {
    kind: Kind,
    observer: Option<Box<dyn FnMut(u64) + Send>>,
}

enum Kind {
    Files(Files),
    Batches(SchemaRef, Box<dyn Iterator<Item = Result<RecordBatch>> + Send>),
    /// An empty list of batches says nothing about columns.
    Nothing,
}

/// Files, and how they are read.
#[derive(Debug)]
struct Files {
    /// Paths, and patterns with `*`, `?`, `**` and `[…]`.
    patterns: Vec<String>,
    options: FileOptions,
    /// All columns and their types, if the caller gives them.
    types: Option<SchemaRef>,
}

/// A file that rows come from, as [`Input::look`] finds it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InputFile {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// Its columns and those in the names of its folders, if its format declares them, as Parquet and Arrow IPC do, or the
    /// caller gave them. The types of CSV and NDJSON files follow only from their rows.
    pub schema: Option<SchemaRef>,
}

/// Rows that can be read now.
pub(crate) struct OpenInput {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}

impl Input {
    /// One or more Parquet files: a path, or a pattern with `*`, `?`, `**` and `[…]`, read in the order of their names. Columns
    /// are as the files declare them; [`files`](Self::files) says what happens where they differ.
    #[cfg(feature = "parquet")]
    pub fn parquet(pattern: impl Into<String>) -> Self {
        Self::files_with([pattern], FileOptions::new().format(FileFormat::Parquet))
    }

    /// One or more CSV files with a header line: a path, or a pattern with `*`, `?`, `**` and `[…]`, read in the order
    /// of their names. The header names the columns. Their types are those of the table that the rows are added to; for
    /// a new table they are inferred from all lines of all files, so these are read twice. An empty field is null, and
    /// `""` is an empty text. A field that its column cannot hold exactly fails the load with its line; `docs/types.md`
    /// says what each type holds. [`files_with`](Self::files_with) takes other delimiters, quotes and words for null, types of
    /// columns, and files without a header.
    #[cfg(feature = "csv")]
    pub fn csv(pattern: impl Into<String>) -> Self {
        Self::files_with([pattern], FileOptions::new().format(FileFormat::Csv))
    }

    /// As [`csv`](Self::csv), with the columns and types of `schema`.
    #[cfg(feature = "csv")]
    pub fn csv_with_schema(pattern: impl Into<String>, schema: SchemaRef) -> Self {
        let options = FileOptions::new().format(FileFormat::Csv);
        Self::of(Kind::Files(Files { patterns: vec![pattern.into()], options, types: Some(schema) }))
    }

    /// One or more Arrow IPC files or streams: a path, or a pattern with `*`, `?`, `**` and `[…]`, read in the order of their
    /// names. Their buffers may be compressed by LZ4 or Zstandard (feature `arrow-compression`).
    pub fn arrow(pattern: impl Into<String>) -> Self {
        Self::files_with([pattern], FileOptions::new().format(FileFormat::Arrow))
    }

    /// Files and patterns one after another, each of the format that its ending names: `parquet` and `pq`; `csv`, `txt`, and
    /// `tsv` and `tab` with tabs; `ndjson`, `jsonl` and `json` for JSON objects, one a line; and for Arrow IPC `arrow`,
    /// `arrows`, `feather` and `ipc`. `.gz` and `.zst` behind the ending of texts are decompressed.
    ///
    /// Columns are matched by name. A column that some files lack is null in their rows, and types that differ become one that
    /// holds all values: integers, floats, decimals, times and timestamps of several widths and units, Utf8 and LargeUtf8. Types
    /// that have none in common fail the load with the column, both types and both files. Folders such as `year=2013` are
    /// columns too.
    pub fn files<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> Self {
        Self::files_with(patterns, FileOptions::new())
    }

    /// As [`files`](Self::files), read as `options` say.
    pub fn files_with<S: Into<String>>(patterns: impl IntoIterator<Item = S>, options: FileOptions) -> Self {
        let patterns = patterns.into_iter().map(Into::into).collect();
        Self::of(Kind::Files(Files { patterns, options, types: None }))
    }

    /// Looks at the files without reading their rows. Returns each file, or why it cannot be read, in the order in
    /// which a load would read them: what keeps a load from starting shows before the load. Empty for batches in
    /// memory.
    ///
    /// # Errors
    /// For each file or pattern separately: [`ErrorCode::SourceNotFound`], [`ErrorCode::SourceInvalid`] for a file that
    /// is damaged or of another format, [`ErrorCode::InvalidArgument`] for an invalid pattern or an unknown ending.
    pub fn look(&self) -> Vec<Result<InputFile>> {
        match &self.kind {
            Kind::Files(files) => files::look(files),
            Kind::Batches(..) | Kind::Nothing => Vec::new(),
        }
    }

    fn of(kind: Kind) -> Self {
        Self { kind, observer: None }
    }

    /// Calls `observer` with the number of rows read so far, after each batch, on the thread that loads.
    #[must_use]
    pub fn observe(mut self, observer: impl FnMut(u64) + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Batches that `batches` makes, all of `schema`.
    pub fn batches(
        schema: SchemaRef,
        batches: impl IntoIterator<Item = RecordBatch, IntoIter: Send + 'static>,
    ) -> Self {
        Self::of(Kind::Batches(schema, Box::new(batches.into_iter().map(Ok))))
    }

    /// Batches, any of which may be an error instead.
    pub(crate) fn fallible(
        schema: SchemaRef,
        batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Self {
        Self::of(Kind::Batches(schema, Box::new(batches)))
    }

    /// Batches of any Arrow reader.
    pub fn reader(reader: impl RecordBatchReader + Send + 'static) -> Self {
        let schema = reader.schema();
        let batches = reader.map(|batch| {
            batch.map_err(|error: ArrowError| {
                Error::new(ErrorCode::SourceInvalid, "the reader of the rows failed").with_source(error)
            })
        });
        Self::of(Kind::Batches(schema, Box::new(batches)))
    }

    /// Opens the files, if there are any, and finds out their columns. Files whose format does not declare the types of
    /// columns take them from `table`. Columns that tables do not store as they come are decoded.
    ///
    /// # Errors
    /// [`ErrorCode::SourceNotFound`], [`ErrorCode::SourceInvalid`], [`ErrorCode::SchemaMismatch`],
    /// [`ErrorCode::InvalidArgument`].
    pub(crate) fn open(self, table: Option<&SchemaRef>) -> Result<OpenInput> {
        let OpenInput { schema, batches } = match self.kind {
            Kind::Files(files) => files::open(files, table)?,
            Kind::Batches(schema, batches) => batches::decode(OpenInput { schema, batches }, table),
            Kind::Nothing => {
                return Err(Error::new(
                    ErrorCode::InvalidArgument,
                    "no batches, so no columns: use `Input::batches` with a schema for an empty table",
                ));
            }
        };
        let Some(mut observer) = self.observer else { return Ok(OpenInput { schema, batches }) };
        let mut rows = 0;
        let observed = batches.inspect(move |batch| {
            rows += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
            observer(rows);
        });
        Ok(OpenInput { schema, batches: Box::new(observed) })
    }
}

impl From<RecordBatch> for Input {
    fn from(batch: RecordBatch) -> Self {
        Self::batches(batch.schema(), [batch])
    }
}

impl From<Vec<RecordBatch>> for Input {
    fn from(batches: Vec<RecordBatch>) -> Self {
        match batches.first() {
            Some(first) => Self::batches(first.schema(), batches),
            None => Self::of(Kind::Nothing),
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Files(files) => files.fmt(f),
            Kind::Batches(schema, _) => f.debug_tuple("Batches").field(schema).finish(),
            Kind::Nothing => f.write_str("Nothing"),
        }
    }
}
