//! Where rows come from.

mod arrow_ipc;
#[cfg(feature = "csv")]
pub(crate) mod csv;
mod file;
mod files;
#[cfg(feature = "parquet")]
mod parquet;

use std::fmt;
use std::path::PathBuf;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::types::error::{Error, ErrorCode, Result};

/// Rows to load: files, or batches in memory.
///
/// Nothing is opened before the rows are asked for, and no more than a few batches are in memory at a time.
pub struct Input {
    kind: Kind,
    observer: Option<Box<dyn FnMut(u64) + Send>>,
}

enum Kind {
    Files(Vec<Pattern>),
    Batches(SchemaRef, Box<dyn Iterator<Item = Result<RecordBatch>> + Send>),
    /// An empty list of batches says nothing about columns.
    Nothing,
}

/// Files of one format.
#[derive(Debug)]
struct Pattern {
    /// A path, or a pattern with `*`, `?`, `**` and `[…]`.
    text: String,
    /// `None`: each file has the format that its ending names.
    format: Option<Format>,
}

/// Formats of files.
#[derive(Clone, Debug)]
enum Format {
    #[cfg(feature = "parquet")]
    Parquet,
    /// With the types of its columns, if the caller gives them.
    #[cfg(feature = "csv")]
    Csv(Option<SchemaRef>),
    Arrow,
}

/// A file that rows come from, as [`Input::look`] finds it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InputFile {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// Its columns, if its format declares them, as Parquet and Arrow IPC do, or the caller gave them. The types of a
    /// CSV file follow only from its rows.
    pub schema: Option<SchemaRef>,
}

/// Rows that can be read now.
pub(crate) struct OpenInput {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}

impl Input {
    /// One or more Parquet files with the same columns: a path, or a pattern with `*`, `?`, `**` and `[…]`, read in the
    /// order of their names. Columns are as the files declare them.
    #[cfg(feature = "parquet")]
    pub fn parquet(pattern: impl Into<String>) -> Self {
        Self::pattern(pattern.into(), Some(Format::Parquet))
    }

    /// One or more CSV files with a header line: a path, or a pattern with `*`, `?`, `**` and `[…]`, read in the order
    /// of their names. The header names the columns. Their types are those of the table that the rows are added to; for
    /// a new table they are inferred from all lines of the first file, so it is read twice. An empty field is null, and
    /// `""` is an empty text. A field that its column cannot hold exactly fails the load with its line; `docs/types.md`
    /// says what each type holds.
    #[cfg(feature = "csv")]
    pub fn csv(pattern: impl Into<String>) -> Self {
        Self::pattern(pattern.into(), Some(Format::Csv(None)))
    }

    /// As [`csv`](Self::csv), with the types of `schema`.
    #[cfg(feature = "csv")]
    pub fn csv_with_schema(pattern: impl Into<String>, schema: SchemaRef) -> Self {
        Self::pattern(pattern.into(), Some(Format::Csv(Some(schema))))
    }

    /// One or more Arrow IPC files or streams, uncompressed, with the same columns: a path, or a pattern with `*`, `?`,
    /// `**` and `[…]`, read in the order of their names.
    pub fn arrow(pattern: impl Into<String>) -> Self {
        Self::pattern(pattern.into(), Some(Format::Arrow))
    }

    /// Files and patterns one after another, each of the format that its ending names: `parquet`, `csv`, and for Arrow
    /// IPC `arrow`, `arrows` and `feather`.
    pub fn files<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> Self {
        let patterns = patterns.into_iter().map(|text| Pattern { text: text.into(), format: None });
        Self::of(Kind::Files(patterns.collect()))
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
            Kind::Files(patterns) => files::look(patterns),
            Kind::Batches(..) | Kind::Nothing => Vec::new(),
        }
    }

    fn pattern(text: String, format: Option<Format>) -> Self {
        Self::of(Kind::Files(vec![Pattern { text, format }]))
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
    /// columns take them from `table`.
    ///
    /// # Errors
    /// [`ErrorCode::SourceNotFound`], [`ErrorCode::SourceInvalid`], [`ErrorCode::InvalidArgument`].
    pub(crate) fn open(self, table: Option<&SchemaRef>) -> Result<OpenInput> {
        let OpenInput { schema, batches } = match self.kind {
            Kind::Files(patterns) => files::open(patterns, table)?,
            Kind::Batches(schema, batches) => OpenInput { schema, batches },
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
            Kind::Files(patterns) => f.debug_tuple("Files").field(patterns).finish(),
            Kind::Batches(schema, _) => f.debug_tuple("Batches").field(schema).finish(),
            Kind::Nothing => f.write_str("Nothing"),
        }
    }
}
