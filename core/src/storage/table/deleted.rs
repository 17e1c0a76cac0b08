//! Rows of a segment that are deleted, as a manifest keeps them.

use std::ops::Range;
use std::sync::Arc;

use arrow::buffer::{BooleanBuffer, Buffer};
use serde::{Deserialize, Serialize};

/// The deleted rows of a segment: a bit for each row, up to the last deleted one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeletedRows {
    bits: Vec<u64>,
    count: u64,
}

impl DeletedRows {
    /// Adds a row; returns whether it was not deleted before.
    pub(crate) fn insert(&mut self, row: u32) -> bool {
        let (word, bit) = (row as usize / 64, 1 << (row % 64));
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        let is_new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        self.count += u64::from(is_new);
        is_new
    }

    /// Whether a row is deleted.
    #[inline]
    pub(crate) fn contains(&self, row: u32) -> bool {
        self.bits.get(row as usize / 64).is_some_and(|word| word & (1 << (row % 64)) != 0)
    }

    /// Number of deleted rows.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The rows in a range of words that are not deleted: a bit for each of a word's 64 rows, the first in the lowest.
    pub(crate) fn others(&self, words: Range<usize>) -> Vec<u64> {
        words.map(|word| !self.bits.get(word).copied().unwrap_or_default()).collect()
    }

    /// Every deleted row.
    pub(crate) fn rows(&self) -> Vec<u32> {
        let bits = BooleanBuffer::new(Buffer::from_slice_ref(&self.bits), 0, 64 * self.bits.len());
        bits.set_indices_u32().collect()
    }
}

/// The deleted rows of a segment in a commit or a manifest: row numbers of four bytes, or bits where that is shorter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeletedRecord {
    /// The segment.
    pub(crate) segment: u64,
    /// Row numbers, four bytes each.
    #[serde(with = "serde_bytes")]
    pub(crate) rows: Vec<u8>,
    /// Or eight bytes for every 64 rows, the first in the lowest bit.
    #[serde(with = "serde_bytes")]
    pub(crate) bits: Vec<u8>,
}

impl DeletedRecord {
    /// The record of a segment's deleted rows.
    pub(crate) fn new(segment: u64, deleted: &DeletedRows) -> Self {
        let by_rows = 4 * deleted.count() < 8 * deleted.bits.len() as u64;
        let rows = if by_rows {
            deleted.rows().into_iter().flat_map(u32::to_le_bytes).collect()
        } else {
            Vec::new()
        };
        let bits = if by_rows {
            Vec::new()
        } else {
            deleted.bits.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        Self { segment, rows, bits }
    }

    /// Adds these rows to `deleted` and returns how many of them are new. Fails at a row that is not within a segment
    /// of `rows` rows.
    pub(crate) fn add_to(&self, deleted: &mut Arc<DeletedRows>, rows: u64) -> Result<u64, String> {
        let deleted = Arc::make_mut(deleted);
        let before = deleted.count;
        let mut add = |row: u32| {
            if u64::from(row) >= rows {
                return Err(format!(
                    "row {row} of segment {} is deleted, but the segment has {rows} rows",
                    self.segment
                ));
            }
            deleted.insert(row);
            Ok(())
        };
        let (numbers, rest) = self.rows.as_chunks::<4>();
        let (words, more) = self.bits.as_chunks::<8>();
        if !rest.is_empty() || !more.is_empty() {
            return Err(format!("the deleted rows of segment {} are cut short", self.segment));
        }
        numbers.iter().try_for_each(|bytes| add(u32::from_le_bytes(*bytes)))?;
        for (number, bytes) in (0_u32..).zip(words) {
            let mut word = u64::from_le_bytes(*bytes);
            while word != 0 {
                add(number.saturating_mul(64).saturating_add(word.trailing_zeros()))?;
                word &= word - 1;
            }
        }
        Ok(deleted.count - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_which_rows_are_deleted() {
        for rows in
            [vec![], vec![0], vec![5, 63, 64, 65, 999], (0..1000).collect(), (0..1000).step_by(3).collect()]
        {
            let mut deleted = DeletedRows::default();
            for &row in &rows {
                assert!(deleted.insert(row));
                assert!(!deleted.insert(row));
            }
            assert_eq!((deleted.count(), deleted.rows()), (rows.len() as u64, rows.clone()));
            for row in 0..1000 {
                assert_eq!(deleted.contains(row), rows.contains(&row));
            }
            let others = deleted.others(1..20);
            assert!((64..1280_u32).all(|row| {
                rows.contains(&row) == (others[row as usize / 64 - 1] & (1 << (row % 64)) == 0)
            }));
            let record = DeletedRecord::new(7, &deleted);
            let mut read = Arc::default();
            assert_eq!(record.add_to(&mut read, 1000), Ok(rows.len() as u64));
            assert_eq!(*read, deleted);
            assert_eq!(record.add_to(&mut read, 1000), Ok(0), "they are deleted already");
            assert_eq!(record.add_to(&mut Arc::default(), 1).is_err(), rows.iter().any(|&row| row > 0));
        }
    }
}
