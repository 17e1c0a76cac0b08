//! 64-bit words that one process writes while others read them.
//!
//! This is one of the files of storage that hold unsafe code.
#![expect(unsafe_code, reason = "words shared with other processes are atomics in mapped memory")]

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{Mmap, MmapOptions, MmapRaw};

use crate::storage::mapped::region::prefetch;

/// Words of a file, or of this process alone. All start as zero.
pub(crate) struct Words {
    place: Backing,
    len: usize,
}

enum Backing {
    /// A file that only this process writes.
    Owned(MmapRaw),
    /// A file that another process writes.
    Foreign(Mmap),
    /// Memory of this process.
    Private(Box<[AtomicU64]>),
}

impl Words {
    /// The words of a file whose space is allocated and that no other process writes.
    pub(crate) fn map_owned(file: &File) -> io::Result<Self> {
        let map = MmapRaw::map_raw(file)?;
        Ok(Self { len: map.len() / 8, place: Backing::Owned(map) })
    }

    /// The words of a file that another process may write and never truncates. All pages are mapped now; otherwise the
    /// first touch of each page would make a lookup wait for the kernel.
    pub(crate) fn map_foreign(file: &File) -> io::Result<Self> {
        // SAFETY: undefined behaviour follows if the bytes change while a reference to them is held. No reference to
        // bytes is ever made from this map: `word` makes references to atomics only.
        let map = unsafe { MmapOptions::new().populate().map(file) }?;
        Ok(Self { len: map.len() / 8, place: Backing::Foreign(map) })
    }

    /// Words that only this process sees.
    pub(crate) fn private(len: usize) -> Self {
        Self { place: Backing::Private(std::iter::repeat_with(AtomicU64::default).take(len).collect()), len }
    }

    /// Number of words.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether this process may write them.
    pub(crate) fn is_writable(&self) -> bool {
        !matches!(self.place, Backing::Foreign(_))
    }

    /// The value of a word.
    #[inline]
    pub(crate) fn load(&self, word: usize, ordering: Ordering) -> u64 {
        self.word(word).load(ordering)
    }

    /// Sets a word, if this process [may write](Self::is_writable) the words; otherwise panics.
    #[inline]
    pub(crate) fn store(&self, word: usize, value: u64, ordering: Ordering) {
        assert!(self.is_writable(), "the words belong to another process");
        #[cfg(test)]
        if !stopping::goes_on() {
            return;
        }
        self.word(word).store(value, ordering);
    }

    /// Asks the processor for a word that will be read soon.
    #[inline]
    pub(crate) fn prefetch(&self, word: usize) {
        prefetch(std::ptr::from_ref(self.word(word)).cast());
    }

    #[inline]
    fn word(&self, word: usize) -> &AtomicU64 {
        assert!(word < self.len, "word {word} of {}", self.len);
        let first = match &self.place {
            Backing::Owned(map) => map.as_mut_ptr().cast::<u64>(),
            Backing::Foreign(map) => map.as_ptr().cast::<u64>().cast_mut(),
            Backing::Private(words) => return &words[word],
        };
        // A foreign map is read-only: `store` refuses it, and loads of a word are defined for read-only memory on the
        // platforms that we support.
        // SAFETY: the map is page-aligned and so word-aligned, `word` is within it, and it stays mapped as long as
        // `self` lives; every access by any process is an atomic access of a whole word.
        unsafe { AtomicU64::from_ptr(first.add(word)) }
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({})", self.len)
    }
}

/// Stops a writer between two words, as a kill does.
#[cfg(test)]
pub(crate) mod stopping {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    // For one thread only, because other tests run at the same time.
    thread_local! {
        /// So many words may still be stored.
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    struct Stopped;

    /// Runs `write` until this thread has stored `stores` words. `None` if it was stopped there, about to store one
    /// more.
    pub(crate) fn stopped_after<T>(stores: usize, write: impl FnOnce() -> T) -> Option<T> {
        LEFT.set(Some(stores));
        let result = catch_unwind(AssertUnwindSafe(write));
        LEFT.set(None);
        match result {
            Ok(done) => Some(done),
            Err(stopped) if stopped.is::<Stopped>() => None,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Whether the next word is stored.
    pub(super) fn goes_on() -> bool {
        match LEFT.get() {
            None => true,
            // A killed process does not clean up, so destructors store nothing.
            Some(0) if std::thread::panicking() => false,
            Some(0) => resume_unwind(Box::new(Stopped)),
            Some(left) => {
                LEFT.set(Some(left - 1));
                true
            }
        }
    }
}
