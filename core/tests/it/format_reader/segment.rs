//! Segment files.

use std::cmp::Ordering;
use std::fs;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch, make_comparator};
use arrow::compute::{SortOptions, concat_batches};
use arrow::datatypes::{SchemaRef, UInt64Type};
use arrow::ipc::reader::StreamReader;
use xxhash_rust::xxh3::xxh3_64 as checksum;

use super::keys::encode;
use super::records::{Directory, SegmentRecord, u32_at, u64_at};
use super::rows::batch;

/// A segment that was read and checked completely.
pub(super) struct Segment {
    /// All its rows, deleted ones included.
    pub(super) rows: RecordBatch,
    /// Its key index, and the columns of the key.
    index: Option<(Vec<u8>, Vec<usize>)>,
    bounds: (Vec<u8>, Option<Vec<u8>>),
}

impl Segment {
    pub(super) fn read(path: &Path, record: &SegmentRecord, schema: &SchemaRef, key: &[usize]) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(bytes.len() as u64, record.len);
        let start = usize::try_from(record.directory_offset).unwrap();
        let directory = &bytes[start..][..usize::try_from(record.directory_len).unwrap()];
        assert_eq!(checksum(directory), record.directory_checksum);
        let directory: Directory = rmp_serde::from_slice(directory).unwrap();
        check_pages(&bytes, &directory);
        let batches: Vec<_> =
            directory.batches.iter().map(|positions| batch(schema, positions, &bytes)).collect();
        let rows = concat_batches(schema, &batches).unwrap();
        assert_eq!((rows.num_rows(), rows.num_rows() as u64), (directory.rows, record.rows));
        check_zones(directory.zones.of(&bytes), &batches);
        assert_eq!(directory.index.is_some(), !key.is_empty());
        let index = directory.index.map(|index| (index.of(&bytes).to_vec(), key.to_vec()));
        let segment = Self {
            rows,
            index,
            bounds: (record.min_key.to_vec(), record.max_key.as_ref().map(|key| key.to_vec())),
        };
        if !key.is_empty() {
            // Every row of a small segment, and about a thousand rows of a large one.
            let rows = segment.rows.num_rows();
            for row in (0..rows).step_by(1 + rows / 1000) {
                let key = encode(&segment.rows, key, row);
                assert_eq!(segment.find(&key), Some(row), "the key index finds the row");
            }
        }
        segment
    }

    /// The row with a key.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        if key < self.bounds.0.as_slice() || self.bounds.1.as_deref().is_some_and(|max| key > max) {
            return None;
        }
        let (index, columns) = self.index.as_ref()?;
        let (hash, buckets) = (checksum(key), index.len() / 64);
        let mut number = usize::try_from(((hash >> 32) * buckets as u64) >> 32).unwrap();
        for _ in 0..buckets {
            let bucket = &index[64 * number..64 * (number + 1)];
            for slot in 0..usize::from(bucket[12]) {
                let row = u32_at(bucket, 16 + 4 * slot) as usize;
                if bucket[slot] == hash.to_le_bytes()[0] && encode(&self.rows, columns, row) == key {
                    return Some(row);
                }
            }
            if bucket[13] == 0 {
                return None;
            }
            number = (number + 1) % buckets;
        }
        None
    }
}

fn check_pages(bytes: &[u8], directory: &Directory) {
    let checksums = directory.checksums.of(bytes);
    assert_eq!(checksum(checksums), directory.checksums_checksum);
    let pages = bytes[..directory.checksums.offset].chunks(65536);
    assert_eq!(pages.len() * 8, checksums.len());
    for (number, page) in pages.enumerate() {
        assert_eq!(checksum(page), u64_at(checksums, 8 * number), "page {number}");
    }
}

/// Checks that zone maps give the number of nulls of each batch, and its smallest and largest value or that these are
/// unknown.
fn check_zones(section: &[u8], batches: &[RecordBatch]) {
    let zones: Vec<RecordBatch> = StreamReader::try_new(section, None).unwrap().map(Result::unwrap).collect();
    let [zones] = zones.as_slice() else { panic!("one batch of zone maps") };
    assert_eq!(zones.num_rows(), batches.len());
    for (number, batch) in batches.iter().enumerate() {
        for (column, values) in batch.columns().iter().enumerate() {
            let zone = |what: &str| zones.column_by_name(&format!("{column}.{what}")).unwrap();
            let nulls = zone("nulls").as_primitive::<UInt64Type>().value(number);
            assert_eq!(nulls, values.logical_null_count() as u64);
            for (bound, is_beyond) in [(zone("min"), Ordering::Less), (zone("max"), Ordering::Greater)] {
                assert_eq!(bound.data_type(), values.data_type());
                if bound.is_null(number) {
                    continue;
                }
                let compare = make_comparator(values, bound, SortOptions::default()).unwrap();
                let orders: Vec<_> = (0..values.len())
                    .filter(|&row| values.is_valid(row))
                    .map(|row| compare(row, number))
                    .collect();
                assert!(orders.contains(&Ordering::Equal) && !orders.contains(&is_beyond), "column {column}");
            }
        }
    }
}
