//! An open segment: finds rows by key and hands out verified arrays.

use std::path::PathBuf;
use std::sync::OnceLock;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, SchemaRef};

use super::arrays::{self, MappedColumn};
use super::directory::{Directory, Section};
use super::key_index::{Bucket, home_bucket};
use super::pages::Pages;
use super::zones::ZoneMaps;
use crate::storage::catalog::edit::SegmentRecord;
use crate::storage::format::{BATCH_ROWS, BUCKET_LEN, PAGE_LEN, checksum, u64_at};
use crate::storage::key::{self, KeyBytes};
use crate::storage::mapped::region::Region;
use crate::storage::vfs::Vfs;
use crate::types::error::{Error, Result};

/// An open segment.
///
/// Opening maps the file and reads its directory and page checksums, nothing else. The mapping stays valid
/// after the file is unlinked.
#[derive(Debug)]
pub(crate) struct Segment {
    schema: SchemaRef,
    pub(super) key: Vec<usize>,
    pub(super) pages: Pages,
    pub(super) directory: Directory,
    /// First row of every batch.
    starts: Vec<u32>,
    pub(super) batches: Vec<OnceLock<Vec<MappedColumn>>>,
    zones: OnceLock<ZoneMaps>,
}

impl Segment {
    /// Maps the file and checks its directory against the catalog's record.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    pub(crate) fn open(
        vfs: &dyn Vfs,
        path: PathBuf,
        schema: SchemaRef,
        key: Vec<usize>,
        record: &SegmentRecord,
    ) -> Result<Self> {
        let region = vfs.map(&path).map_err(|error| Error::io("map", &path, error))?;
        let damaged = |offset, what: &str| Error::corrupt(&path, offset, what);
        if region.len() as u64 != record.len {
            return Err(damaged(
                0,
                &format!("the file has {} bytes and should have {}", region.len(), record.len),
            ));
        }
        let slice = |section: Section| -> Result<&[u8]> {
            let (offset, len) = (to_usize(section.offset), to_usize(section.len));
            let bytes = offset.checked_add(len).and_then(|end| region.as_slice().get(offset..end));
            let bytes = bytes.ok_or_else(|| damaged(section.offset, "a section ends behind the file"))?;
            region.populate(offset, len).map_err(|error| Error::io("read", &path, error))?;
            Ok(bytes)
        };
        let bytes = slice(Section { offset: record.directory_offset, len: record.directory_len })?;
        if checksum(bytes) != record.directory_checksum {
            return Err(damaged(record.directory_offset, "the directory does not match its checksum"));
        }
        let directory: Directory = rmp_serde::from_slice(bytes).map_err(|error| {
            damaged(record.directory_offset, "directory not understood").with_source(error)
        })?;
        let sums = slice(directory.checksums)?;
        if checksum(sums) != directory.checksums_checksum {
            return Err(damaged(
                directory.checksums.offset,
                "the page checksums do not match their checksum",
            ));
        }
        let checksums: Vec<u64> = (0..sums.len() / 8).filter_map(|page| u64_at(sums, 8 * page)).collect();
        let covered = to_usize(directory.checksums.offset);
        if checksums.len() != covered.div_ceil(PAGE_LEN) {
            return Err(damaged(directory.checksums.offset, "the page checksums do not cover the file"));
        }
        let mut starts = Vec::with_capacity(directory.batches.len());
        let mut rows = 0_u64;
        for batch in &directory.batches {
            starts.push(u32::try_from(rows).map_err(|_| damaged(record.directory_offset, "too many rows"))?);
            rows = rows.saturating_add(batch.rows);
        }
        if rows != directory.rows || rows != record.rows {
            return Err(damaged(record.directory_offset, "the batches do not add up to the segment's rows"));
        }
        let batches = directory.batches.iter().map(|_| OnceLock::new()).collect();
        let pages = Pages::new(path, region, checksums, covered);
        Ok(Self { schema, key, pages, directory, starts, batches, zones: OnceLock::new() })
    }

    /// Takes all pages as verified, as far as `Pages::trust` does.
    pub(crate) fn trust(&self) {
        self.pages.trust();
    }

    /// The mapped file.
    pub(crate) fn region(&self) -> &Region {
        self.pages.region()
    }

    /// Rows, deleted ones included.
    pub(crate) fn rows(&self) -> usize {
        to_usize(self.directory.rows)
    }

    /// Number of batches.
    pub(crate) fn batch_count(&self) -> usize {
        self.batches.len()
    }

    /// Rows of a batch.
    pub(crate) fn batch_rows(&self, batch: usize) -> usize {
        self.directory.batches.get(batch).map_or(0, |positions| to_usize(positions.rows))
    }

    /// First row of a batch.
    pub(crate) fn batch_start(&self, batch: usize) -> usize {
        self.starts.get(batch).map_or(0, |&start| to_usize(start.into()))
    }

    /// Columns of the rows.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The row that carries a key, if one does. `will_read`: whether its values will be read.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    pub(crate) fn find(&self, hash: u64, key: &[u8], will_read: bool) -> Result<Option<u32>> {
        let mut found = None;
        let mut damage = None;
        self.for_each_candidate(hash, |row| {
            if will_read {
                self.prefetch_row(row);
            }
            match self.key_at(to_usize(row.into())) {
                Ok(candidate) if candidate.as_slice() == key => {
                    found = Some(row);
                    return Ok(false);
                }
                Ok(_) => {}
                // Another candidate may be the row. If none is, this one may have been it.
                Err(error) => damage = damage.take().or(Some(error)),
            }
            Ok(true)
        })?;
        match (found, damage) {
            (None, Some(error)) => Err(error),
            (found, _) => Ok(found),
        }
    }

    /// Calls `visit` with rows whose key may have this hash until it returns `false`.
    fn for_each_candidate(&self, hash: u64, mut visit: impl FnMut(u32) -> Result<bool>) -> Result<()> {
        let Some(index) = self.directory.index else { return Ok(()) };
        let buckets = to_usize(index.len) / BUCKET_LEN;
        let mut bucket = home_bucket(hash, buckets);
        for _ in 0..buckets {
            let offset = to_usize(index.offset) + bucket * BUCKET_LEN;
            self.pages.verify(offset, BUCKET_LEN)?;
            let bucket_bytes = self.pages.region().as_slice().get(offset..offset + BUCKET_LEN);
            let slots =
                Bucket::new(bucket_bytes.ok_or_else(|| self.damaged(offset, "the key index is cut short"))?);
            for row in slots.rows(hash) {
                if to_usize(row.into()) >= self.rows() {
                    return Err(self.damaged(offset, "the key index names a row that is not there"));
                }
                if !visit(row)? {
                    return Ok(());
                }
            }
            if !slots.overflows() {
                return Ok(());
            }
            bucket = (bucket + 1) % buckets;
        }
        Ok(())
    }

    /// The encoded key of a row.
    pub(crate) fn key_at(&self, row: usize) -> Result<KeyBytes> {
        let mut bytes = KeyBytes::new();
        let (batch, index) = self.locate(row);
        for &column in &self.key {
            key::encode_cell(&mut bytes, self.cell(batch, column, index)?, index)?;
        }
        Ok(bytes)
    }

    /// The batch of a row, and the row's index within it.
    #[inline]
    pub(crate) fn locate(&self, row: usize) -> (usize, usize) {
        // Batches are nearly always full, so the first guess is nearly always right.
        let guess = row / BATCH_ROWS;
        let start = |batch: usize| self.starts.get(batch).map_or(usize::MAX, |&start| to_usize(start.into()));
        let batch = if start(guess) <= row && row < start(guess + 1) {
            guess
        } else {
            self.starts.partition_point(|&start| to_usize(start.into()) <= row).saturating_sub(1)
        };
        (batch, row - start(batch))
    }

    /// The array of a column in a batch, after the pages that hold the value at `index` were verified. The caller may
    /// read only this value from it.
    #[inline]
    pub(crate) fn cell(&self, batch: usize, column: usize, index: usize) -> Result<&dyn Array> {
        let mapped = self.column(batch, column)?;
        if self.pages.unverified() > 0 {
            self.verify_cell(batch, mapped, index)?;
        }
        Ok(mapped.array.as_ref())
    }

    /// A batch with some of its columns, every page of them verified.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    pub(crate) fn read_batch(
        &self,
        batch: usize,
        projection: &[usize],
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = projection
            .iter()
            .map(|&column| {
                let mapped = self.column(batch, column)?;
                self.verify_column(batch, mapped)?;
                Ok(mapped.array.clone())
            })
            .collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.batch_rows(batch)));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .map_err(|error| self.damaged(0, "a batch does not fit its schema").with_source(error))
    }

    /// A batch of one row with some of its columns; only the pages that hold the row are read and verified.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    #[cfg(any(test, feature = "sql"))]
    pub(crate) fn read_row(
        &self,
        row: usize,
        projection: &[usize],
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let (batch, index) = self.locate(row);
        let columns: Vec<ArrayRef> = projection
            .iter()
            .map(|&column| {
                self.cell(batch, column, index)?;
                Ok(self.column(batch, column)?.array.slice(index, 1))
            })
            .collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .map_err(|error| self.damaged(0, "a row does not fit its schema").with_source(error))
    }

    /// Zone maps, read and verified at the first call.
    pub(crate) fn zones(&self) -> Result<&ZoneMaps> {
        if let Some(zones) = self.zones.get() {
            return Ok(zones);
        }
        let Section { offset, len } = self.directory.zones;
        let (offset, len) = (to_usize(offset), to_usize(len));
        self.pages.verify(offset, len)?;
        let bytes =
            self.pages.region().as_slice().get(offset..offset.saturating_add(len)).unwrap_or_default();
        let zones = ZoneMaps::decode(&self.schema, bytes)
            .map_err(|error| self.damaged(offset, "zone maps not understood").with_source(error))?;
        Ok(self.zones.get_or_init(|| zones))
    }

    fn column(&self, batch: usize, column: usize) -> Result<&MappedColumn> {
        let slot = self.batches.get(batch).ok_or_else(|| Error::internal("no such batch"))?;
        let columns = match slot.get() {
            Some(columns) => columns,
            None => self.map_batch(batch, slot)?,
        };
        columns.get(column).ok_or_else(|| Error::internal("no such column"))
    }

    #[cold]
    fn map_batch<'a>(
        &self,
        batch: usize,
        slot: &'a OnceLock<Vec<MappedColumn>>,
    ) -> Result<&'a Vec<MappedColumn>> {
        let positions = &self.directory.batches[batch];
        let columns = arrays::map_columns(self.schema.fields(), positions, self.pages.region())
            .map_err(|what| self.damaged(0, &what))?;
        Ok(slot.get_or_init(|| columns))
    }

    fn verify_column(&self, batch: usize, mapped: &MappedColumn) -> Result<()> {
        for section in &self.directory.batches[batch].buffers[mapped.buffers.clone()] {
            self.pages.verify(to_usize(section.offset), to_usize(section.len))?;
        }
        Ok(())
    }

    fn verify_cell(&self, batch: usize, mapped: &MappedColumn, index: usize) -> Result<()> {
        use DataType as T;
        let array = mapped.array.as_ref();
        let buffers = &self.directory.batches[batch].buffers[mapped.buffers.clone()];
        let verify = |buffer: usize, start: usize, len: usize| match buffers.get(buffer) {
            Some(section) if start + len <= to_usize(section.len) => {
                self.pages.verify(to_usize(section.offset) + start, len)
            }
            _ => Err(self.damaged(0, "a value stands outside its buffer")),
        };
        if array.null_count() > 0 {
            verify(0, index / 8, 1)?;
        }
        macro_rules! bytes {
            ($array:expr, $offset:ty) => {{
                verify(1, index * size_of::<$offset>(), 2 * size_of::<$offset>())?;
                let offsets = $array.value_offsets();
                let wrong = |_| self.damaged(0, "an offset is negative");
                let start = usize::try_from(offsets[index]).map_err(wrong)?;
                let end = usize::try_from(offsets[index + 1]).map_err(wrong)?;
                verify(2, start, end.saturating_sub(start))
            }};
        }
        match array.data_type() {
            T::Null => Ok(()),
            T::Boolean => verify(1, index / 8, 1),
            T::Utf8 => bytes!(array.as_string::<i32>(), i32),
            T::LargeUtf8 => bytes!(array.as_string::<i64>(), i64),
            T::Binary => bytes!(array.as_binary::<i32>(), i32),
            T::LargeBinary => bytes!(array.as_binary::<i64>(), i64),
            other => match fixed_width(other) {
                Some(width) => verify(1, index * width, width),
                None => self.verify_column(batch, mapped),
            },
        }
    }

    fn damaged(&self, offset: usize, what: &str) -> Error {
        Error::corrupt(self.pages.path(), offset as u64, what)
    }
}

fn fixed_width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
        other => other.primitive_width(),
    }
}

/// The numbers of a segment fit into memory addresses, because its file is mapped.
#[inline]
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
