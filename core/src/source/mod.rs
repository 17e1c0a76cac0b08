//! Where rows come from.

#[cfg(feature = "csv")]
mod csv;
#[cfg(any(feature = "csv", feature = "parquet"))]
mod files;
#[cfg(feature = "parquet")]
mod parquet;

use std::fmt;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::api::error::{Error, ErrorCode, Result};

/// Rows to load: files, or batches in memory.
///
/// Nothing is opened before the rows are asked for, and no more than a few batches are in memory at a time.
pub struct Input {
    kind: Kind,
}

enum Kind {
    #[cfg(feature = "parquet")]
    Parquet(String),
    #[cfg(feature = "csv")]
    Csv(String, Option<SchemaRef>),
    Batches(SchemaRef, Box<dyn Iterator<Item = Result<RecordBatch>> + Send>),
    /// An empty list of batches says nothing about columns.
    Nothing,
}

/// Rows that can be read now.
pub(crate) struct OpenInput {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}

impl Input {
    /// One or more Parquet files of equal columns: a path, or a pattern with `*`, `?`, `**` and `[…]`, read in the
    /// order of their names. Columns are as the files declare them.
    #[cfg(feature = "parquet")]
    pub fn parquet(pattern: impl Into<String>) -> Self {
        Self { kind: Kind::Parquet(pattern.into()) }
    }

    /// One or more CSV files with a header line: a path, or a pattern with `*`, `?`, `**` and `[…]`, read in the
    /// order of their names. Types are inferred from all lines of the first file, so it is read twice; an empty
    /// field is null.
    #[cfg(feature = "csv")]
    pub fn csv(pattern: impl Into<String>) -> Self {
        Self { kind: Kind::Csv(pattern.into(), None) }
    }

    /// As [`csv`](Self::csv), with the types of `schema` in the place of inferred ones.
    #[cfg(feature = "csv")]
    pub fn csv_with_schema(pattern: impl Into<String>, schema: SchemaRef) -> Self {
        Self { kind: Kind::Csv(pattern.into(), Some(schema)) }
    }

    /// Batches that `batches` makes, all of `schema`.
    pub fn batches(
        schema: SchemaRef,
        batches: impl IntoIterator<Item = RecordBatch, IntoIter: Send + 'static>,
    ) -> Self {
        Self { kind: Kind::Batches(schema, Box::new(batches.into_iter().map(Ok))) }
    }

    /// Batches of any Arrow reader.
    pub fn reader(reader: impl RecordBatchReader + Send + 'static) -> Self {
        let schema = reader.schema();
        let batches = reader.map(|batch| {
            batch.map_err(|error: ArrowError| {
                Error::new(ErrorCode::SourceInvalid, "the reader of the rows failed").with_source(error)
            })
        });
        Self { kind: Kind::Batches(schema, Box::new(batches)) }
    }

    /// Opens the files, if there are any, and finds out their columns.
    ///
    /// # Errors
    /// [`ErrorCode::SourceNotFound`], [`ErrorCode::SourceInvalid`].
    pub(crate) fn open(self) -> Result<OpenInput> {
        match self.kind {
            #[cfg(feature = "parquet")]
            Kind::Parquet(pattern) => parquet::open(&pattern),
            #[cfg(feature = "csv")]
            Kind::Csv(pattern, schema) => csv::open(&pattern, schema),
            Kind::Batches(schema, batches) => Ok(OpenInput { schema, batches }),
            Kind::Nothing => Err(Error::new(
                ErrorCode::InvalidArgument,
                "no batches, so no columns: use `Input::batches` with a schema for an empty table",
            )),
        }
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
            None => Self { kind: Kind::Nothing },
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            #[cfg(feature = "parquet")]
            Kind::Parquet(pattern) => f.debug_tuple("Parquet").field(pattern).finish(),
            #[cfg(feature = "csv")]
            Kind::Csv(pattern, _) => f.debug_tuple("Csv").field(pattern).finish(),
            Kind::Batches(schema, _) => f.debug_tuple("Batches").field(schema).finish(),
            Kind::Nothing => f.write_str("Nothing"),
        }
    }
}
