//! `live/head`: what readers in other processes need to follow the owner without a message.
//!
//! One page that the owner maps for writing and readers map read-only. All of it is 64-bit little-endian words:
//!
//! | word | content |
//! | --- | --- |
//! | 0 | magic |
//! | 1 | format version |
//! | 2 | counter: grows by one with every publication; its low bit names the slot that counts |
//! | 3 | heartbeat: when the owner was last seen alive, nanoseconds since 1970 |
//! | 8–15 | slot 0 |
//! | 16–23 | slot 1 |
//!
//! A slot: incarnation, sequence, number of the log file, offset behind its last record, whether the owner closed the
//! cache.
//!
//! The owner fills the slot that does not count and then stores the counter, so an owner that is killed at any
//! instruction leaves the page readable. A reader that finds the counter changed after reading a slot reads again.
//! An owner publishes when it opens the cache and goes on counting where the one before it stopped. The page is never
//! used for recovery: the log tells what was committed.
#![expect(unsafe_code, reason = "words shared with other processes are atomics in mapped memory")]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, SystemTime};

use memmap2::{Mmap, MmapRaw};

use super::format::FORMAT_VERSION;
use crate::api::version::Version;

/// Bytes of the page.
pub(crate) const HEAD_LEN: usize = 4096;
/// "PILNHEAD".
const MAGIC: u64 = u64::from_le_bytes(*b"PILNHEAD");

const MAGIC_WORD: usize = 0;
const FORMAT_WORD: usize = 1;
const COUNTER_WORD: usize = 2;
const HEARTBEAT_WORD: usize = 3;
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
}

impl Head {
    fn to_words(self) -> [u64; 5] {
        let Version { incarnation, sequence } = self.version;
        [incarnation, sequence, self.log, self.log_end, self.closed.into()]
    }

    fn from_words(words: [u64; 5]) -> Self {
        let [incarnation, sequence, log, log_end, closed] = words;
        Self { version: Version { incarnation, sequence }, log, log_end, closed: closed != 0 }
    }
}

/// The page as its owner sees it.
#[derive(Debug)]
pub(crate) struct HeadWriter {
    map: MmapRaw,
}

impl HeadWriter {
    /// Maps a file of [`HEAD_LEN`] allocated bytes that only this process writes. A page that an earlier owner left
    /// goes on counting, so that its readers follow.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        let map = MmapRaw::map_raw(file)?;
        if map.len() < HEAD_LEN {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the page is cut short"));
        }
        Ok(Self { map })
    }

    /// Makes `head` what readers see.
    pub(crate) fn publish(&self, head: Head) {
        let counter = self.word(COUNTER_WORD).load(Ordering::Relaxed).wrapping_add(1);
        let slot = SLOT_WORDS[usize::from(counter & 1 == 1)];
        // The slot is overwritten only after every reader can see that the counter left it.
        fence(Ordering::SeqCst);
        for (position, value) in head.to_words().into_iter().enumerate() {
            self.word(slot + position).store(value, Ordering::Relaxed);
        }
        self.word(MAGIC_WORD).store(MAGIC, Ordering::Relaxed);
        self.word(FORMAT_WORD).store(FORMAT_VERSION.into(), Ordering::Relaxed);
        // SYNC POINT: head published.
        self.word(COUNTER_WORD).store(counter, Ordering::Release);
    }

    /// Tells readers that the owner is alive at `now`.
    pub(crate) fn beat(&self, now: SystemTime) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.word(HEARTBEAT_WORD).store(nanoseconds, Ordering::Relaxed);
    }

    fn word(&self, word: usize) -> &AtomicU64 {
        debug_assert!(word < HEAD_LEN / 8);
        // SAFETY: the page is mapped for reading and writing as long as `self` lives, is at least HEAD_LEN bytes,
        // page-aligned and so word-aligned; every access by any process is an atomic access of a whole word.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(word)) }
    }
}

/// The page as everyone else sees it.
#[derive(Debug)]
pub(crate) struct HeadReader {
    map: Mmap,
}

impl HeadReader {
    /// Maps the page read-only; `None` if it is none of this format.
    pub(crate) fn map(file: &File) -> io::Result<Option<Self>> {
        if file.metadata()?.len() < HEAD_LEN as u64 {
            return Ok(None);
        }
        // SAFETY: undefined behaviour follows if the bytes change while a reference to them is held. No reference
        // to bytes is ever made from this map: `word` makes references to atomics only. The file is never truncated.
        let map = unsafe { Mmap::map(file) }?;
        let reader = Self { map };
        let is_head =
            reader.word(MAGIC_WORD) == MAGIC && reader.word(FORMAT_WORD) <= u64::from(FORMAT_VERSION);
        Ok(is_head.then_some(reader))
    }

    /// The counter: unchanged as long as nothing was published.
    #[inline]
    pub(crate) fn counter(&self) -> u64 {
        let counter = self.word(COUNTER_WORD);
        // SYNC POINT: head published.
        fence(Ordering::Acquire);
        counter
    }

    /// When the owner was last seen alive.
    pub(crate) fn heartbeat(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.word(HEARTBEAT_WORD))
    }

    /// The newest publication and its counter.
    pub(crate) fn read(&self) -> (u64, Head) {
        loop {
            let counter = self.counter();
            let slot = SLOT_WORDS[usize::from(counter & 1 == 1)];
            let words = std::array::from_fn(|position| self.word(slot + position));
            fence(Ordering::Acquire);
            if self.word(COUNTER_WORD) == counter {
                return (counter, Head::from_words(words));
            }
            std::hint::spin_loop();
        }
    }

    #[inline]
    fn word(&self, word: usize) -> u64 {
        debug_assert!(word < HEAD_LEN / 8);
        // SAFETY: the page is mapped for reading as long as `self` lives, is at least HEAD_LEN bytes and aligned.
        // Relaxed loads of a word are defined for read-only memory on the platforms that we support; the fences of
        // the callers give them their order. The pointer is only ever loaded from.
        let word = unsafe { AtomicU64::from_ptr(self.map.as_ptr().cast::<u64>().add(word).cast_mut()) };
        word.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn head(number: u64) -> Head {
        Head {
            version: Version { incarnation: number, sequence: number },
            log: number,
            log_end: number,
            closed: number % 2 == 1,
        }
    }

    #[test]
    fn readers_never_see_half_a_publication() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(HEAD_LEN as u64).unwrap();
        assert!(HeadReader::map(&file).unwrap().is_none(), "nothing was published");
        let writer = HeadWriter::map(&file).unwrap();
        writer.publish(head(1));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let reader = HeadReader::map(&file).unwrap().unwrap();
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
        let reader = HeadReader::map(&file).unwrap().unwrap();
        assert_eq!(reader.read().1, head(199_999));
    }

    #[test]
    fn a_new_owner_goes_on_counting() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(HEAD_LEN as u64).unwrap();
        HeadWriter::map(&file).unwrap().publish(head(1));
        let reader = HeadReader::map(&file).unwrap().unwrap();
        let before = reader.counter();
        HeadWriter::map(&file).unwrap().publish(head(2));
        assert_eq!(reader.counter(), before + 1);
        assert_eq!(reader.read().1, head(2));
    }
}
