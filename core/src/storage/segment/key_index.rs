//! The key index: from the hash of a key to the rows of one segment that may carry it.
//!
//! An array of buckets of 64 bytes, each in one cache line: 12 tags (the low byte of the hash), the number of
//! slots in use, a flag "more in the next bucket", 2 zero bytes, 12 row numbers of 4 bytes. A key's bucket is
//! the high half of its hash scaled to the number of buckets. At 80 % load that is 6.7 bytes a row, and a search
//! reads between one and two buckets on average.

use crate::storage::format::{BUCKET_LEN, BUCKET_SLOTS, u32_at};

const COUNT_OFFSET: usize = 12;
const OVERFLOW_OFFSET: usize = 13;
const ROWS_OFFSET: usize = 16;

/// Share of slots that a new index fills, in percent.
const LOAD_PERCENT: usize = 80;

/// Builds the index of rows 0, 1, 2, … with these key hashes.
pub(crate) fn build(hashes: &[u64]) -> Vec<u8> {
    let buckets = (hashes.len() * 100).div_ceil(BUCKET_SLOTS * LOAD_PERCENT).max(1);
    let mut bytes = vec![0; buckets * BUCKET_LEN];
    for (row, &hash) in (0_u32..).zip(hashes) {
        let mut bucket = home_bucket(hash, buckets);
        loop {
            let slots = &mut bytes[bucket * BUCKET_LEN..][..BUCKET_LEN];
            let count = usize::from(slots[COUNT_OFFSET]);
            if count < BUCKET_SLOTS {
                slots[count] = tag(hash);
                slots[COUNT_OFFSET] += 1;
                slots[ROWS_OFFSET + 4 * count..][..4].copy_from_slice(&row.to_le_bytes());
                break;
            }
            slots[OVERFLOW_OFFSET] = 1;
            bucket = (bucket + 1) % buckets;
        }
    }
    bytes
}

/// The bucket where a search for `hash` starts.
pub(crate) fn home_bucket(hash: u64, buckets: usize) -> usize {
    // The product of a 32-bit number and a bucket count fits in 64 bits, and its high half is below the count.
    (((hash >> 32) * buckets as u64) >> 32) as usize
}

/// One bucket, as read from a verified page.
#[derive(Clone, Copy)]
pub(crate) struct Bucket<'a>(&'a [u8]);

impl<'a> Bucket<'a> {
    /// The bucket that `bytes`, 64 of them, hold.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Rows whose key may have this hash.
    pub(crate) fn rows(self, hash: u64) -> impl Iterator<Item = u32> + 'a {
        let count = usize::from(self.0[COUNT_OFFSET]).min(BUCKET_SLOTS);
        let tags = &self.0[..count];
        let tag = tag(hash);
        (0..count)
            .filter(move |&slot| tags[slot] == tag)
            .filter_map(move |slot| u32_at(self.0, ROWS_OFFSET + 4 * slot))
    }

    /// Whether the search goes on in the next bucket.
    pub(crate) fn overflows(self) -> bool {
        self.0[OVERFLOW_OFFSET] != 0
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the tag is the low byte")]
fn tag(hash: u64) -> u8 {
    hash as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::key;

    fn find(bytes: &[u8], hash: u64) -> Vec<u32> {
        let buckets = bytes.len() / BUCKET_LEN;
        let mut found = Vec::new();
        let mut bucket = home_bucket(hash, buckets);
        for _ in 0..buckets {
            let slots = Bucket::new(&bytes[bucket * BUCKET_LEN..][..BUCKET_LEN]);
            found.extend(slots.rows(hash));
            if !slots.overflows() {
                break;
            }
            bucket = (bucket + 1) % buckets;
        }
        found
    }

    #[test]
    fn every_row_is_found_and_absent_keys_cost_few_candidates() {
        for rows in [0_u64, 1, 11, 12, 13, 1000, 100_000] {
            let hashes: Vec<u64> = (0..rows).map(|row| key::hash(&row.to_le_bytes())).collect();
            let bytes = build(&hashes);
            for (row, &hash) in hashes.iter().enumerate() {
                assert!(find(&bytes, hash).contains(&u32::try_from(row).unwrap()), "row {row} of {rows}");
            }
            let strangers = (rows..rows + 1000).map(|row| find(&bytes, key::hash(&row.to_le_bytes())).len());
            assert!(strangers.sum::<usize>() < 200, "{rows} rows: tags do not discriminate");
        }
    }

    #[test]
    fn equal_hashes_fill_several_buckets() {
        let bytes = build(&[7; 100]);
        assert_eq!(find(&bytes, 7).len(), 100);
    }
}
