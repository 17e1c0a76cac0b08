//! Asks the processor early for what a lookup will read.
//!
//! A lookup reads a bucket of the key index, then the key and the other values of a row, each in another place of the
//! file, then the bytes of its texts. Each of these reads waits for main memory; when the processor is asked for them
//! together, the lookup waits once.

use arrow::datatypes::DataType;

use super::directory::Section;
use super::key_index::{Bucket, home_bucket};
use super::reader::Segment;
use crate::storage::format::{BUCKET_LEN, u32_at, u64_at};

/// Most columns of a row that are prefetched: processors keep track of about twelve reads at a time.
const COLUMNS_MAX: usize = 8;

/// Where a column's values stand in the file, as far as a prefetch must know.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellPlace {
    /// Offset of the values, or of the offsets of texts.
    values: usize,
    /// Bytes of each of these; 0 if they are not prefetched.
    width: usize,
    /// Offset of the bytes of texts, if the column has any.
    bytes: Option<usize>,
}

impl CellPlace {
    /// The places of a column with these buffers.
    pub(super) fn new(data_type: &DataType, buffers: &[Section]) -> Self {
        use DataType as T;
        let offset = |buffer: usize| buffers.get(buffer).and_then(|it| usize::try_from(it.offset).ok());
        let (width, bytes) = match data_type {
            T::Utf8 | T::Binary => (size_of::<i32>(), offset(2)),
            T::LargeUtf8 | T::LargeBinary => (size_of::<i64>(), offset(2)),
            T::Utf8View | T::BinaryView => (size_of::<u128>(), None),
            T::FixedSizeBinary(width) => (usize::try_from(*width).unwrap_or_default(), None),
            other => (other.primitive_width().unwrap_or_default(), None),
        };
        Self { values: offset(1).unwrap_or_default(), width, bytes }
    }
}

impl Segment {
    /// Asks for the bucket of the key index where the search for a hash starts.
    pub(crate) fn prefetch_bucket(&self, hash: u64) {
        if let Some(offset) = self.bucket_offset(hash) {
            self.region().prefetch(offset);
        }
    }

    /// The rows that the first bucket for a hash has for it; none unless the whole file was verified.
    pub(crate) fn candidates(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        // Bytes that were not verified must not be read.
        let offset = if self.pages.unverified() > 0 { None } else { self.bucket_offset(hash) };
        let bucket = offset.and_then(|offset| self.region().as_slice().get(offset..offset + BUCKET_LEN));
        bucket.into_iter().flat_map(move |bytes| Bucket::new(bytes).rows(hash))
    }

    /// Asks for the key of a row.
    #[inline]
    pub(crate) fn prefetch_key(&self, row: u32) {
        let (batch, index) = self.locate(row as usize);
        let Some(columns) = self.batches.get(batch).and_then(|columns| columns.get()) else { return };
        for column in self.key.iter().filter_map(|&column| columns.get(column)) {
            self.region().prefetch(column.place.values.wrapping_add(index * column.place.width));
        }
    }

    /// Asks for the values of a row, and for where its texts stand.
    #[inline]
    pub(crate) fn prefetch_row(&self, row: u32) {
        let (batch, index) = self.locate(row as usize);
        for place in self.places(batch) {
            self.region().prefetch(place.values.wrapping_add(index * place.width));
        }
    }

    /// Asks for the texts of a row whose values were asked for.
    #[inline]
    pub(crate) fn prefetch_texts(&self, batch: usize, index: usize) {
        if self.pages.unverified() > 0 {
            return;
        }
        let file = self.region().as_slice();
        for place in self.places(batch) {
            let Some(bytes) = place.bytes else { continue };
            let at = place.values + index * place.width;
            let start = match place.width {
                4 => u32_at(file, at).map(u64::from),
                _ => u64_at(file, at),
            };
            let start = start.and_then(|start| usize::try_from(start).ok()).unwrap_or_default();
            self.region().prefetch(bytes.wrapping_add(start));
        }
    }

    fn bucket_offset(&self, hash: u64) -> Option<usize> {
        let index = self.directory.index?;
        let buckets = usize::try_from(index.len).ok()? / BUCKET_LEN;
        Some(usize::try_from(index.offset).ok()? + home_bucket(hash, buckets) * BUCKET_LEN)
    }

    /// The places of the first columns of a batch; none if the batch was never read.
    #[inline]
    fn places(&self, batch: usize) -> impl Iterator<Item = CellPlace> + '_ {
        let columns = self.batches.get(batch).and_then(|columns| columns.get());
        let places = columns.into_iter().flatten().map(|column| column.place);
        places.filter(|place| place.width > 0).take(COLUMNS_MAX)
    }
}
