//! What the owner keeps in `live/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64 as checksum;

use super::records::u64_at;

/// Words of a file in `live/`.
struct Words(Vec<u64>);

impl Words {
    fn read(path: &Path, magic: &[u8; 8]) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let words = Self((0..bytes.len() / 8).map(|word| u64_at(&bytes, 8 * word)).collect());
        assert_eq!((words.0[0], words.0[1]), (u64::from_le_bytes(*magic), 1));
        words
    }
}

fn halves(word: u64) -> (usize, usize) {
    (usize::try_from(word >> 32).unwrap(), usize::try_from(word & 0xFFFF_FFFF).unwrap())
}

/// The head of a directory.
#[derive(Debug, PartialEq)]
pub(super) struct Head {
    pub(super) version: (u64, u64),
    pub(super) log: u64,
    pub(super) log_end: u64,
    pub(super) closed: bool,
    pub(super) owner: u64,
}

impl Head {
    pub(super) fn read(dir: &Path) -> Self {
        let Words(words) = Words::read(&dir.join("live/head"), b"PILNHEAD");
        let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        assert_eq!((words.len(), words[4]), (512, checksum(&boot)));
        let slot = &words[if words[2] & 1 == 0 { 8 } else { 16 }..];
        Self {
            version: (slot[0], slot[1]),
            log: slot[2],
            log_end: slot[3],
            closed: slot[4] == 1,
            owner: slot[5],
        }
    }
}

/// The index of a tail.
pub(super) struct Index {
    words: Vec<u64>,
    capacity: usize,
}

impl Index {
    /// The largest index that an owner has of a tail.
    pub(super) fn read(dir: &Path, owner: u64, table: u64, since: u64) -> Self {
        let prefix = format!("{owner}-{table}-{since}-");
        let names = fs::read_dir(dir.join("live")).unwrap().map(|entry| entry.unwrap().file_name());
        let capacities = names.filter_map(|name| name.to_str()?.strip_prefix(&prefix)?.parse().ok());
        let capacity: usize = capacities.max().unwrap_or_else(|| panic!("no index is named {prefix}"));
        let path = dir.join(format!("live/{prefix}{capacity}"));
        let Words(words) = Words::read(&path, b"PILNTAIL");
        assert!(capacity.is_power_of_two() && capacity >= 1024 && words.len() >= 8 + 11 * capacity);
        assert_eq!((words[2], words[3]), (capacity as u64, 0));
        Self { words, capacity }
    }

    /// Rows that it has room for.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Follows a chain from its first link; `next` gives the link after a number.
    fn chain(&self, first: usize, next: impl Fn(usize) -> usize) -> Vec<usize> {
        let mut numbers = Vec::new();
        let mut link = first;
        while link > 0 && link <= self.capacity {
            assert!(numbers.len() < self.capacity, "a chain without an end");
            numbers.push(link - 1);
            link = next(link - 1);
        }
        numbers
    }

    fn row(&self, row: usize) -> &[u64] {
        &self.words[8 + 3 * self.capacity + 4 * row..][..4]
    }

    fn deletion(&self, number: usize) -> &[u64] {
        &self.words[8 + 7 * self.capacity + 4 * number..][..4]
    }

    fn link(&self, word: usize) -> usize {
        usize::try_from(self.words[word]).unwrap()
    }

    /// The newest row with a key at a sequence, and whether it is live then.
    pub(super) fn find(
        &self,
        key: &[u8],
        sequence: u64,
        key_of: impl Fn(usize) -> Vec<u8>,
    ) -> Option<(usize, bool)> {
        let (tag, _) = halves(checksum(key));
        let first = self.link(8 + tag % self.capacity);
        for newest in self.chain(first, |row| halves(self.row(row)[2]).0) {
            if halves(self.row(newest)[2]).1 != tag {
                continue;
            }
            let versions = self.chain(newest + 1, |row| halves(self.row(row)[3]).0);
            let version = versions.into_iter().find(|&row| self.row(row)[0] <= sequence);
            if let Some(row) = version.filter(|&row| key_of(row) == key) {
                return Some((row, self.is_live(row, sequence)));
            }
        }
        None
    }

    /// Whether a row of the tail is live at a sequence.
    pub(super) fn is_live(&self, row: usize, sequence: u64) -> bool {
        let deleted_at = self.row(row)[1];
        deleted_at == 0 || deleted_at > sequence
    }

    /// The batch that has a row.
    pub(super) fn batch(&self, row: usize) -> usize {
        halves(self.row(row)[3]).1
    }

    fn scattered(&self, segment: u64, number: usize) -> usize {
        let mixed = segment.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number as u64;
        halves(mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93)).0 % self.capacity
    }

    /// Rows of segments that are deleted at a sequence. Each is found both by its row and by its batch.
    pub(super) fn deleted(&self, sequence: u64) -> BTreeSet<(u64, usize)> {
        let count = self.link(4);
        assert!(count <= self.capacity);
        let numbers = (0..count).filter(|&number| self.deletion(number)[2] <= sequence);
        numbers
            .map(|number| {
                let (segment, (batch, row)) = (self.deletion(number)[0], halves(self.deletion(number)[1]));
                let by_row = self.link(8 + self.capacity + self.scattered(segment, row));
                assert!(self.chain(by_row, |n| halves(self.deletion(n)[3]).0).contains(&number));
                let by_batch = self.link(8 + 2 * self.capacity + self.scattered(segment, batch));
                assert!(self.chain(by_batch, |n| halves(self.deletion(n)[3]).1).contains(&number));
                (segment, row)
            })
            .collect()
    }
}
