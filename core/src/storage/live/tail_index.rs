//! The rows and deletions of a tail: written by the owner of the cache, read without locks by everyone.
//!
//! | words | content |
//! | --- | --- |
//! | 8 | magic, format version, capacity *C*, 1 once a larger file has taken this one's place, number of deletions, zeros |
//! | *C* | first row of every chain of keys |
//! | *C* | first deletion of every chain of segments' rows |
//! | *C* | first deletion of every chain of segments' batches |
//! | 4 *C* | rows: sequence of the commit; sequence of the commit that deleted it, or 0; link to the next key of the chain and 32 bits of the key's hash; link to the version before and number of the batch |
//! | 4 *C* | deletions: segment; row and its batch; sequence of the commit; links to the next of both chains |
//!
//! A link is a number plus one; 0 ends a chain. Rows of one key hang on each other, newest first, and only the newest
//! hangs in the chain of its hash. A row or deletion is filled before it is linked. A reader at a sequence passes over
//! what later commits linked, so it need not know what is being written.

use std::sync::atomic::Ordering;

use super::words::Words;
use crate::storage::format::{FORMAT_VERSION, INDEX_MAGIC};
use crate::storage::planted::{self, Bug};
use crate::types::error::Result;

const MAGIC: u64 = u64::from_le_bytes(INDEX_MAGIC);

const HEADER_WORDS: usize = 8;
const REPLACED_WORD: usize = 3;
const DELETIONS_WORD: usize = 4;
const NODE_WORDS: usize = 4;
/// Words for each row of the capacity.
const WORDS_A_ROW: usize = 3 + 2 * NODE_WORDS;

/// Rows of a tail by their keys, and deletions of segments' rows.
#[derive(Debug)]
pub(crate) struct TailIndex {
    words: Words,
    capacity: usize,
}

/// A row of a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FoundRow {
    /// Its number in the tail.
    pub(crate) row: u32,
    /// The number of its batch.
    pub(crate) batch: u32,
    /// The commit that deleted it; 0: none did.
    pub(crate) deleted_at: u64,
}

impl TailIndex {
    /// Words that an index needs.
    pub(crate) fn words_for(capacity: usize) -> usize {
        HEADER_WORDS + WORDS_A_ROW * capacity
    }

    /// An empty index in words that are zero; the capacity is a power of two. Readers do not accept it before it is
    /// [published](Self::publish).
    pub(crate) fn create(words: Words, capacity: usize) -> Self {
        debug_assert!(capacity.is_power_of_two() && words.len() >= Self::words_for(capacity));
        words.store(1, FORMAT_VERSION.into(), Ordering::Relaxed);
        words.store(2, capacity as u64, Ordering::Relaxed);
        Self { words, capacity }
    }

    /// Lets readers find it, with everything that was put into it before.
    pub(crate) fn publish(&self) {
        // SYNC POINT: index published.
        self.words.store(0, MAGIC, Ordering::Release);
    }

    /// The index that its owner keeps in these words; `None` if they do not hold a published one.
    pub(crate) fn open(words: Words) -> Option<Self> {
        let load = |word| words.load(word, Ordering::Relaxed);
        // SYNC POINT: index published.
        if words.len() < HEADER_WORDS
            || words.load(0, Ordering::Acquire) != MAGIC
            || load(1) > FORMAT_VERSION.into()
        {
            return None;
        }
        let capacity = usize::try_from(load(2)).ok().filter(|capacity| capacity.is_power_of_two())?;
        let fits = capacity <= words.len() && words.len() >= Self::words_for(capacity);
        fits.then_some(Self { words, capacity })
    }

    /// The number of rows that it can hold; it can hold as many deletions besides.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether a larger one has taken its place.
    pub(crate) fn is_replaced(&self) -> bool {
        self.words.load(REPLACED_WORD, Ordering::Acquire) != 0
    }

    /// Tells readers to look for the larger one.
    pub(crate) fn mark_replaced(&self) {
        self.words.store(REPLACED_WORD, 1, Ordering::Release);
    }

    /// The number of deletions in it, including those of a commit that is being made.
    pub(crate) fn deletions(&self) -> usize {
        let deletions = self.words.load(DELETIONS_WORD, Ordering::Acquire);
        usize::try_from(deletions).unwrap_or(usize::MAX).min(self.capacity)
    }

    /// Copies everything of a smaller index, which has `rows` rows.
    pub(crate) fn copy_from(&self, smaller: &Self, rows: usize) {
        let deletions = smaller.deletions();
        for (count, from, to) in [
            (rows, smaller.row_word(0), self.row_word(0)),
            (deletions, smaller.deletion_word(0), self.deletion_word(0)),
        ] {
            for word in 0..count * NODE_WORDS {
                self.words.store(
                    to + word,
                    smaller.words.load(from + word, Ordering::Relaxed),
                    Ordering::Relaxed,
                );
            }
        }
        // Only the newest row of each key hangs in a chain, and only the old chains know which rows these are.
        for chain in 0..smaller.capacity {
            let mut link = smaller.words.load(smaller.key_chain(chain), Ordering::Relaxed);
            while let Some(row) = smaller.row_of(link) {
                let next = smaller.words.load(smaller.row_word(row) + 2, Ordering::Relaxed);
                let chain = self.key_chain(low(next) as usize & (self.capacity - 1));
                let first = self.words.load(chain, Ordering::Relaxed);
                self.words.store(self.row_word(row) + 2, join(low32(first), low(next)), Ordering::Relaxed);
                self.words.store(chain, row as u64 + 1, Ordering::Relaxed);
                link = high(next).into();
            }
        }
        for deletion in 0..deletions {
            self.link_deletion(deletion);
        }
        self.words.store(DELETIONS_WORD, deletions as u64, Ordering::Release);
    }

    /// The newest row at a sequence for which `is_key` holds; `is_key` gets the numbers of a row and of its batch.
    ///
    /// # Errors
    /// Those of `is_key`.
    #[inline]
    pub(crate) fn find(
        &self,
        hash: u64,
        sequence: u64,
        mut is_key: impl FnMut(u32, u32) -> Result<bool>,
    ) -> Result<Option<FoundRow>> {
        let tag = tag(hash);
        let mut link = self.words.load(self.key_chain_of(tag), Ordering::Acquire);
        // Bounded: a damaged chain that leads back to itself must not hold a reader for ever.
        for _ in 0..=self.capacity {
            let Some(newest) = self.row_of(link) else { break };
            let next = self.words.load(self.row_word(newest) + 2, Ordering::Acquire);
            if low(next) == tag
                && let Some(row) = self.version_at(newest, sequence)
            {
                let batch = low(self.words.load(self.row_word(row) + 3, Ordering::Relaxed));
                let number = narrow(row);
                if is_key(number, batch)? {
                    let deleted_at = self.words.load(self.row_word(row) + 1, Ordering::Acquire);
                    return Ok(Some(FoundRow { row: number, batch, deleted_at }));
                }
            }
            link = high(next).into();
        }
        Ok(None)
    }

    /// Asks the processor for where a search for a hash begins.
    #[inline]
    pub(crate) fn prefetch_chain(&self, hash: u64) {
        self.words.prefetch(self.key_chain_of(tag(hash)));
    }

    /// Asks the processor for the first row of a chain that [`prefetch_chain`](Self::prefetch_chain) asked for before.
    #[inline]
    pub(crate) fn prefetch_row(&self, hash: u64) {
        let link = self.words.load(self.key_chain_of(tag(hash)), Ordering::Relaxed);
        if let Some(row) = self.row_of(link) {
            self.words.prefetch(self.row_word(row));
        }
    }

    /// Asks the processor for where a search for the deletion of a segment's row begins.
    #[inline]
    pub(crate) fn prefetch_deletion(&self, segment: u64, row: u32) {
        self.words.prefetch(self.row_deletions(segment, row));
    }

    /// The version of a key at a sequence, from its newest on.
    fn version_at(&self, mut row: usize, sequence: u64) -> Option<usize> {
        for _ in 0..=self.capacity {
            let since = self.words.load(self.row_word(row), Ordering::Relaxed);
            if since <= sequence || planted::has(Bug::Sequences) {
                return Some(row);
            }
            let older = self.words.load(self.row_word(row) + 3, Ordering::Relaxed);
            row = self.row_of(high(older).into())?;
        }
        None
    }

    /// The commit that deleted a row of the tail; 0: none did.
    #[inline]
    pub(crate) fn deleted_at(&self, row: u32) -> u64 {
        match row as usize {
            _ if planted::has(Bug::DeletedRows) => 0,
            row if row < self.capacity => self.words.load(self.row_word(row) + 1, Ordering::Acquire),
            _ => 0,
        }
    }

    /// Fills a row and links it. If the previous row of its key is live, the same commit deletes it. Returns whether
    /// this tail had a row of the key, and whether it was live.
    ///
    /// # Errors
    /// Those of `is_key`; nothing was added.
    pub(crate) fn insert(
        &self,
        row: u32,
        hash: u64,
        sequence: u64,
        batch: u32,
        mut is_key: impl FnMut(u32, u32) -> Result<bool>,
    ) -> Result<Before> {
        let tag = tag(hash);
        let chain = self.key_chain_of(tag);
        // The word that links to the row that is looked at. If it is a word of another row, its low half stays.
        let (mut place, mut link) = (chain, self.words.load(chain, Ordering::Relaxed));
        let mut before = Before::None;
        let mut older = 0;
        while let Some(found) = self.row_of(link) {
            let next = self.words.load(self.row_word(found) + 2, Ordering::Relaxed);
            let found_batch = low(self.words.load(self.row_word(found) + 3, Ordering::Relaxed));
            if low(next) == tag && is_key(narrow(found), found_batch)? {
                let deleted_at = self.words.load(self.row_word(found) + 1, Ordering::Relaxed);
                before = if deleted_at == 0 { Before::Live } else { Before::Deleted };
                if deleted_at == 0 {
                    self.words.store(self.row_word(found) + 1, sequence, Ordering::Release);
                }
                older = narrow(found) + 1;
                link = high(next).into();
                break;
            }
            place = self.row_word(found) + 2;
            link = high(next).into();
        }
        if before == Before::None {
            (place, link) = (chain, self.words.load(chain, Ordering::Relaxed));
        }
        let node = self.row_word(row as usize);
        self.words.store(node, sequence, Ordering::Relaxed);
        self.words.store(node + 1, 0, Ordering::Relaxed);
        self.words.store(node + 2, join(low32(link), tag), Ordering::Relaxed);
        self.words.store(node + 3, join(older, batch), Ordering::Relaxed);
        // SYNC POINT: row linked.
        let linked = u64::from(row) + 1;
        let value = if place == chain {
            linked
        } else {
            join(low32(linked), low(self.words.load(place, Ordering::Relaxed)))
        };
        self.words.store(place, value, Ordering::Release);
        Ok(before)
    }

    /// Deletes a row of the tail unless it is deleted already. Returns whether it was live.
    pub(crate) fn delete(&self, row: u32, sequence: u64) -> bool {
        let word = self.row_word(row as usize) + 1;
        let is_live = self.words.load(word, Ordering::Relaxed) == 0;
        if is_live {
            self.words.store(word, sequence, Ordering::Release);
        }
        is_live
    }

    /// Deletes a row of a segment; there must be room for it.
    pub(crate) fn delete_in_segment(&self, segment: u64, batch: u32, row: u32, sequence: u64) {
        let number = self.deletions();
        let node = self.deletion_word(number);
        self.words.store(node, segment, Ordering::Relaxed);
        self.words.store(node + 1, join(batch, row), Ordering::Relaxed);
        self.words.store(node + 2, sequence, Ordering::Relaxed);
        self.link_deletion(number);
        self.words.store(DELETIONS_WORD, number as u64 + 1, Ordering::Release);
    }

    fn link_deletion(&self, number: usize) {
        let node = self.deletion_word(number);
        let segment = self.words.load(node, Ordering::Relaxed);
        let place = self.words.load(node + 1, Ordering::Relaxed);
        let (by_row, by_batch) =
            (self.row_deletions(segment, low(place)), self.batch_deletions(segment, high(place)));
        let next_by_row = self.words.load(by_row, Ordering::Relaxed);
        let next_by_batch = self.words.load(by_batch, Ordering::Relaxed);
        self.words.store(node + 3, join(low32(next_by_row), low32(next_by_batch)), Ordering::Relaxed);
        // SYNC POINT: deletion linked.
        self.words.store(by_row, number as u64 + 1, Ordering::Release);
        self.words.store(by_batch, number as u64 + 1, Ordering::Release);
    }

    /// The commit that deleted a row of a segment, if one of this tail's did.
    #[inline]
    pub(crate) fn segment_row_deleted_at(&self, segment: u64, row: u32) -> Option<u64> {
        let mut link = self.words.load(self.row_deletions(segment, row), Ordering::Acquire);
        for _ in 0..=self.capacity {
            let number = self.row_of(link)?;
            let node = self.deletion_word(number);
            let load = |word| self.words.load(node + word, Ordering::Relaxed);
            if load(0) == segment && low(load(1)) == row {
                return Some(load(2));
            }
            link = high(load(3)).into();
        }
        None
    }

    /// Calls `visit` with every row of a segment's batch that was deleted up to a sequence.
    #[inline]
    pub(crate) fn deleted_in_batch(
        &self,
        segment: u64,
        batch: u32,
        sequence: u64,
        mut visit: impl FnMut(u32),
    ) {
        let mut link = self.words.load(self.batch_deletions(segment, batch), Ordering::Acquire);
        for _ in 0..=self.capacity {
            let Some(number) = self.row_of(link) else { return };
            let node = self.deletion_word(number);
            let load = |word| self.words.load(node + word, Ordering::Relaxed);
            if load(0) == segment && high(load(1)) == batch && load(2) <= sequence {
                visit(low(load(1)));
            }
            link = low(load(3)).into();
        }
    }

    /// Every deletion: segment, row, and the commit that made it.
    pub(crate) fn deleted_rows(&self) -> impl Iterator<Item = (u64, u32, u64)> + '_ {
        (0..self.deletions()).map(|number| {
            let node = self.deletion_word(number);
            let load = |word| self.words.load(node + word, Ordering::Relaxed);
            (load(0), low(load(1)), load(2))
        })
    }

    fn key_chain(&self, chain: usize) -> usize {
        HEADER_WORDS + chain
    }

    fn key_chain_of(&self, tag: u32) -> usize {
        self.key_chain(tag as usize & (self.capacity - 1))
    }

    fn row_deletions(&self, segment: u64, row: u32) -> usize {
        HEADER_WORDS + self.capacity + self.scatter(segment, row)
    }

    fn batch_deletions(&self, segment: u64, batch: u32) -> usize {
        HEADER_WORDS + 2 * self.capacity + self.scatter(segment, batch)
    }

    /// Chooses a chain by two numbers that are mostly small. After multiplication by odd constants, the high bits
    /// depend on all bits below them.
    fn scatter(&self, segment: u64, number: u32) -> usize {
        let mixed = (segment.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(number))
            .wrapping_mul(0xD6E8_FEB8_6659_FD93);
        high(mixed) as usize & (self.capacity - 1)
    }

    fn row_word(&self, row: usize) -> usize {
        HEADER_WORDS + 3 * self.capacity + NODE_WORDS * row
    }

    fn deletion_word(&self, number: usize) -> usize {
        HEADER_WORDS + (3 + NODE_WORDS) * self.capacity + NODE_WORDS * number
    }

    /// The number that a link names; `None` at the end of a chain.
    fn row_of(&self, link: u64) -> Option<usize> {
        let number = usize::try_from(link).ok()?.checked_sub(1)?;
        (number < self.capacity).then_some(number)
    }
}

/// What a tail had under a key before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing in this tail.
    None,
    /// A row that was deleted.
    Deleted,
    /// A live row, which is deleted now.
    Live,
}

/// The part of a key's hash that is kept, and chooses the chain.
fn tag(hash: u64) -> u32 {
    high(hash)
}

fn high(word: u64) -> u32 {
    low(word >> 32)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
fn low(word: u64) -> u32 {
    word as u32
}

/// A link that stands in a word of its own.
fn low32(link: u64) -> u32 {
    low(link)
}

fn join(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Numbers of rows are below the capacity, which fits 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the capacity")]
fn narrow(row: usize) -> u32 {
    row as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::format::FIRST_CAPACITY;
    use crate::storage::live::stopped_after;

    #[test]
    fn an_index_in_the_making_is_none() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 * TailIndex::words_for(FIRST_CAPACITY) as u64).unwrap();
        let open = || TailIndex::open(Words::map_foreign(&file).unwrap());
        assert!(open().is_none());
        let index = TailIndex::create(Words::map_owned(&file).unwrap(), FIRST_CAPACITY);
        index.insert(0, 7, 1, 0, |_, _| Ok(false)).unwrap();
        assert!(open().is_none(), "readers go on with the one before it");
        index.publish();
        let found = open().unwrap().find(7, 1, |row, _| Ok(row == 0)).unwrap();
        assert_eq!(found, Some(FoundRow { row: 0, batch: 0, deleted_at: 0 }));
    }

    /// A reader that looks while a larger index is made finds everything in the smaller one or in the larger one.
    #[test]
    fn an_index_that_is_copied_up_to_any_word_hides_nothing() {
        const SMALL: usize = 4;
        // Two of the hashes differ only in bits that do not choose a chain, so that a chain has several rows.
        let hashes: [u64; SMALL] = [1 << 32, 9 << 32, 2 << 32, 1 << 32 | 5];
        let file = |capacity: usize| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(8 * TailIndex::words_for(capacity) as u64).unwrap();
            file
        };
        let fill = |index: &TailIndex| {
            for (row, hash) in (0..).zip(hashes) {
                index
                    .insert(row, hash, 1 + u64::from(row), 0, |found, _| Ok(found == 0 && row == 3))
                    .unwrap();
            }
            index.delete_in_segment(7, 0, 3, 5);
            index.delete_in_segment(7, 0, 4, 6);
            index.delete(1, 7);
            index.publish();
        };
        let content = |index: &TailIndex| {
            let find = |row: u32| {
                let is_key = |found: u32, _| Ok(found == row);
                index.find(hashes[row as usize], u64::from(row) + 1, is_key).unwrap()
            };
            let found: Vec<_> = (0..4).map(find).collect();
            let deleted: Vec<_> = (2..6).map(|row| index.segment_row_deleted_at(7, row)).collect();
            let mut in_batch = Vec::new();
            index.deleted_in_batch(7, 0, 6, |row| in_batch.push(row));
            (found, deleted, in_batch, (0..4).map(|row| index.deleted_at(row)).collect::<Vec<_>>())
        };
        for stores in 0.. {
            let (small, large) = (file(SMALL), file(2 * SMALL));
            let smaller = TailIndex::create(Words::map_owned(&small).unwrap(), SMALL);
            fill(&smaller);
            let reader = TailIndex::open(Words::map_foreign(&small).unwrap()).unwrap();
            let expected = content(&reader);
            let done = stopped_after(stores, || {
                let larger = TailIndex::create(Words::map_owned(&large).unwrap(), 2 * SMALL);
                larger.copy_from(&smaller, SMALL);
                larger.publish();
                smaller.mark_replaced();
            });
            assert_eq!(content(&reader), expected, "{stores} words");
            let larger = TailIndex::open(Words::map_foreign(&large).unwrap());
            assert!(larger.is_some() || !reader.is_replaced(), "{stores} words");
            if let Some(larger) = larger {
                assert_eq!(content(&larger), expected, "{stores} words");
            }
            if done.is_some() {
                assert!(reader.is_replaced() && stores > 4 * SMALL, "{stores} words");
                return;
            }
        }
    }
}
