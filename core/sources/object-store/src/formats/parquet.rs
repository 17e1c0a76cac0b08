//! Parquet files: only the columns that are wanted, row group by row group.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::RowGroupMetaData;
use pillion::Result;
use pillion::files::{FileBatches, FileColumns};

use super::chunks::Chunks;
use super::{BATCH_BYTES, BATCH_ROWS};
use crate::file::{Refused, SourceFile};

const NOT_PARQUET: &str = "is damaged or not a Parquet file";
/// Bytes at the end of a file that are read at once: most footers are shorter.
const TAIL: u64 = 64 << 10;

pub(super) fn look(file: &SourceFile) -> Result<FileColumns> {
    let metadata = ParquetFile::open(file.clone(), ArrowReaderOptions::new())?.metadata;
    let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).ok();
    Ok(FileColumns::Declared(metadata.schema().clone(), rows))
}

pub(super) fn open(file: &SourceFile, wanted: &Schema) -> Result<FileBatches> {
    let file = ParquetFile::open(file.clone(), ArrowReaderOptions::new())?;
    let metadata = &file.metadata;
    let fields = metadata.schema().fields().iter().enumerate();
    let roots = fields.filter(|(_, field)| wanted.column_with_name(field.name()).is_some());
    let mask = ProjectionMask::roots(metadata.parquet_schema(), roots.map(|(index, _)| index));
    let groups = 0..metadata.metadata().num_row_groups();
    Ok(Box::new(ParquetBatches { file, mask, groups, reader: None }))
}

/// A Parquet file whose footer was read. Its columns are read row group by row group, in pieces of limited size.
#[derive(Clone, Debug)]
pub struct ParquetFile {
    file: SourceFile,
    metadata: ArrowReaderMetadata,
}

impl ParquetFile {
    /// # Errors
    /// [`SourceInvalid`](pillion::ErrorCode::SourceInvalid), and those of reading the file.
    pub(crate) fn open(file: SourceFile, options: ArrowReaderOptions) -> Result<Self> {
        let metadata = file.decode(NOT_PARQUET, || {
            let tail = file.bytes().saturating_sub(TAIL)..file.bytes();
            ArrowReaderMetadata::load(&Chunks::of_one(&file, tail), options)
        })?;
        Ok(Self { file, metadata })
    }

    /// What its footer says.
    #[must_use]
    pub fn metadata(&self) -> &ArrowReaderMetadata {
        &self.metadata
    }

    /// How errors name it.
    #[must_use]
    pub fn name(&self) -> String {
        self.file.name()
    }

    /// A reader of some columns of a row group, whose batches have about 8,192 rows or 4 MiB. Read from it within
    /// [`decode`](Self::decode).
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn read_group(&self, group: usize, mask: &ProjectionMask) -> Result<ParquetRecordBatchReader> {
        self.file.decode(NOT_PARQUET, || self.open_group(group, mask))
    }

    /// Runs code that reads from a [reader](Self::read_group).
    ///
    /// # Errors
    /// [`SourceInvalid`](pillion::ErrorCode::SourceInvalid) if the code fails or panics, with the name of the file;
    /// [`Unsupported`](pillion::ErrorCode::Unsupported) for a compression that this build does not have; and those of reading the file.
    pub fn decode<T>(&self, read: impl FnOnce() -> std::result::Result<T, ArrowError>) -> Result<T> {
        self.file.decode(NOT_PARQUET, read)
    }

    /// A reader of its own for each group, so that no column is read beyond the group's end.
    fn open_group(
        &self,
        group: usize,
        mask: &ProjectionMask,
    ) -> std::result::Result<ParquetRecordBatchReader, Refused> {
        let metadata = self.metadata.metadata().row_group(group);
        let leaves = (0..metadata.num_columns()).filter(|leaf| mask.leaf_included(*leaf));
        let leaves: Vec<usize> = leaves.collect();
        let spans = leaves.iter().map(|leaf| metadata.column(*leaf).byte_range());
        let chunks = Chunks::of(&self.file, spans.map(|(start, len)| start..start + len).collect())?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, self.metadata.clone())
            .with_projection(mask.clone())
            .with_row_groups(vec![group])
            .with_batch_size(rows_of_batch(metadata, &leaves))
            .build()?;
        Ok(reader)
    }
}

struct ParquetBatches {
    file: ParquetFile,
    mask: ProjectionMask,
    /// Row groups that are still to be read.
    groups: Range<usize>,
    reader: Option<ParquetRecordBatchReader>,
}

impl ParquetBatches {
    fn read(&mut self) -> std::result::Result<Option<RecordBatch>, Refused> {
        loop {
            if let Some(batch) = self.reader.as_mut().and_then(Iterator::next) {
                return Ok(Some(batch?));
            }
            let Some(group) = self.groups.next() else { return Ok(None) };
            // The bytes of the last group go before those of the next one come.
            self.reader = None;
            self.reader = Some(self.file.open_group(group, &self.mask)?);
        }
    }
}

impl Iterator for ParquetBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let file = self.file.file.clone();
        let batch = file.decode(NOT_PARQUET, || self.read());
        if batch.is_err() {
            (self.groups, self.reader) = (0..0, None);
        }
        batch.transpose()
    }
}

/// How many rows make a batch, from the size of what the file holds: a few if they are large.
fn rows_of_batch(group: &RowGroupMetaData, leaves: &[usize]) -> usize {
    let size = |leaf: &usize| {
        let column = group.column(*leaf);
        // A text that occurs often is in the file once.
        column.uncompressed_size().max(column.unencoded_byte_array_data_bytes().unwrap_or(0)).max(0)
    };
    let bytes: u64 = leaves.iter().map(|leaf| size(leaf).unsigned_abs()).sum();
    let rows = group.num_rows().unsigned_abs().max(1);
    let bytes_of_row = usize::try_from(bytes / rows).unwrap_or(usize::MAX).max(1);
    (BATCH_BYTES / bytes_of_row).clamp(1, BATCH_ROWS)
}
