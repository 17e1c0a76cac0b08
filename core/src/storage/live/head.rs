//! `live/head`: the newest version, and where the log stands.
//!
//! One page of words:
//!
//! | word | content |
//! | --- | --- |
//! | 0 | magic |
//! | 1 | format version |
//! | 2 | counter: grows by one with every publication; its low bit names the valid slot |
//! | 3 | heartbeat: when the owner was last seen alive, nanoseconds since 1970 |
//! | 4 | the boot of the machine in which the page was written: after another boot the words mean nothing |
//! | 8–15 | slot 0 |
//! | 16–23 | slot 1 |
//!
//! A slot: incarnation, sequence, number of the log file, offset behind its last record, whether the owner closed the
//! cache, and the owner's number, which is part of the names of the other files in `live/`.
//!
//! The owner fills the other slot and then stores the counter, so an owner that is killed at any instruction leaves the
//! page readable. A reader that finds the counter changed after reading a slot reads again. An owner publishes when it
//! opens the cache, and continues the count of the owner before it.

use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, SystemTime};

use super::words::Words;
use crate::storage::format::{FORMAT_VERSION, HEAD_MAGIC, HEAD_WORDS};
use crate::types::clock::nanoseconds_of;
use crate::types::version::Version;

const MAGIC: u64 = u64::from_le_bytes(HEAD_MAGIC);

const MAGIC_WORD: usize = 0;
const FORMAT_WORD: usize = 1;
const COUNTER_WORD: usize = 2;
const HEARTBEAT_WORD: usize = 3;
const BOOT_WORD: usize = 4;
const SLOT_WORDS: [usize; 2] = [8, 16];

/// What the owner publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The newest version.
    pub(crate) version: Version,
    /// Number of the log file that the newest record stands in.
    pub(crate) log: u64,
    /// Offset behind that record.
    pub(crate) log_end: u64,
    /// Whether the owner closed the cache since.
    pub(crate) closed: bool,
    /// The owner's number; it differs for every owner of a directory.
    pub(crate) owner: u64,
}

impl Head {
    fn to_words(self) -> [u64; 6] {
        let Version { incarnation, sequence } = self.version;
        [incarnation, sequence, self.log, self.log_end, self.closed.into(), self.owner]
    }

    fn from_words(words: [u64; 6]) -> Self {
        let [incarnation, sequence, log, log_end, closed, owner] = words;
        Self { version: Version { incarnation, sequence }, log, log_end, closed: closed != 0, owner }
    }
}

/// The page as its owner sees it.
#[derive(Debug)]
pub(crate) struct HeadWriter {
    words: Words,
    owner: u64,
    boot: u64,
}

impl HeadWriter {
    /// The page in [`HEAD_WORDS`] words that only this process writes. If an earlier owner left a page there, the count
    /// goes on, so that the readers of that page follow. `boot` is the current boot of the machine.
    pub(crate) fn new(words: Words, boot: u64) -> Self {
        let is_page = words.load(MAGIC_WORD, Ordering::Relaxed) == MAGIC;
        let owner = if is_page { Self::slot(&words).owner.wrapping_add(1) } else { 1 };
        Self { words, owner, boot }
    }

    /// The owner's number.
    pub(crate) fn owner(&self) -> u64 {
        self.owner
    }

    fn slot(words: &Words) -> Head {
        let slot = SLOT_WORDS[usize::from(words.load(COUNTER_WORD, Ordering::Relaxed) & 1 == 1)];
        Head::from_words(std::array::from_fn(|position| words.load(slot + position, Ordering::Relaxed)))
    }

    /// Makes `head` what readers see.
    pub(crate) fn publish(&self, head: Head) {
        let counter = self.words.load(COUNTER_WORD, Ordering::Relaxed).wrapping_add(1);
        let slot = SLOT_WORDS[usize::from(counter & 1 == 1)];
        // The slot is overwritten only after every reader can see that the counter left it.
        fence(Ordering::SeqCst);
        for (position, value) in head.to_words().into_iter().enumerate() {
            self.words.store(slot + position, value, Ordering::Relaxed);
        }
        self.words.store(MAGIC_WORD, MAGIC, Ordering::Relaxed);
        self.words.store(FORMAT_WORD, FORMAT_VERSION.into(), Ordering::Relaxed);
        // SYNC POINT: head published.
        self.words.store(COUNTER_WORD, counter, Ordering::Release);
        // Stored last: until this owner's first publication, readers must refuse a page of an earlier boot.
        self.words.store(BOOT_WORD, self.boot, Ordering::Release);
    }

    /// Tells readers that the owner is alive at `now`.
    pub(crate) fn beat(&self, now: SystemTime) {
        self.words.store(HEARTBEAT_WORD, nanoseconds_of(now).unsigned_abs(), Ordering::Relaxed);
    }
}

/// The page as everyone else sees it.
#[derive(Debug)]
pub(crate) struct HeadReader {
    words: Words,
}

impl HeadReader {
    /// The page in the words of a file; `None` if it is not a page of this format, or not of this `boot` of the
    /// machine.
    pub(crate) fn new(words: Words, boot: u64) -> Option<Self> {
        let load = |word| words.load(word, Ordering::Acquire);
        let is_head = words.len() >= HEAD_WORDS
            && load(MAGIC_WORD) == MAGIC
            && load(FORMAT_WORD) <= u64::from(FORMAT_VERSION)
            && load(BOOT_WORD) == boot;
        is_head.then_some(Self { words })
    }

    /// The counter: unchanged as long as nothing was published.
    #[inline]
    pub(crate) fn counter(&self) -> u64 {
        // SYNC POINT: head published.
        self.words.load(COUNTER_WORD, Ordering::Acquire)
    }

    /// When the owner was last seen alive.
    pub(crate) fn heartbeat(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.words.load(HEARTBEAT_WORD, Ordering::Relaxed))
    }

    /// The newest publication and its counter.
    pub(crate) fn read(&self) -> (u64, Head) {
        loop {
            let counter = self.counter();
            let slot = SLOT_WORDS[usize::from(counter & 1 == 1)];
            let words = std::array::from_fn(|position| self.words.load(slot + position, Ordering::Relaxed));
            fence(Ordering::Acquire);
            if self.words.load(COUNTER_WORD, Ordering::Relaxed) == counter {
                return (counter, Head::from_words(words));
            }
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn head(number: u64) -> Head {
        Head {
            version: Version { incarnation: number, sequence: number },
            log: number,
            log_end: number,
            closed: number % 2 == 1,
            owner: number,
        }
    }

    fn page() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 * HEAD_WORDS as u64).unwrap();
        file
    }

    fn writer(file: &File) -> HeadWriter {
        HeadWriter::new(Words::map_owned(file).unwrap(), 7)
    }

    fn reader(file: &File, boot: u64) -> Option<HeadReader> {
        HeadReader::new(Words::map_foreign(file).unwrap(), boot)
    }

    #[test]
    fn readers_never_see_half_a_publication() {
        let file = page();
        assert!(reader(&file, 7).is_none(), "nothing was published");
        let writer = writer(&file);
        writer.publish(head(1));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let reader = reader(&file, 7).unwrap();
                    let mut last = 0;
                    while !done.load(Ordering::Relaxed) {
                        let (_, seen) = reader.read();
                        assert_eq!(seen, head(seen.log), "words of one publication");
                        assert!(seen.log >= last, "publications in order");
                        last = seen.log;
                    }
                });
            }
            for number in 2..200_000 {
                writer.publish(head(number));
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(reader(&file, 7).unwrap().read().1, head(199_999));
        assert!(reader(&file, 8).is_none(), "the machine was started anew");
    }

    #[test]
    fn a_new_owner_goes_on_counting() {
        let file = page();
        let first = writer(&file);
        first.publish(Head { owner: first.owner(), ..head(1) });
        let reader = reader(&file, 7).unwrap();
        let before = reader.counter();
        let second = writer(&file);
        assert_ne!(second.owner(), first.owner());
        second.publish(head(2));
        assert_eq!(reader.counter(), before + 1);
        assert_eq!(reader.read().1, head(2));
    }
}
