//! Pages of a mapped segment, each verified against its checksum when it is first touched, unless it was just written.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::storage::format::{PAGE_LEN, checksum};
use crate::storage::mapped::region::Region;
use crate::types::error::{Error, Result};

/// If a segment that was just written has at most so many bytes, opening it reads all its pages at once.
const TRUSTED_LEN_MAX: usize = 64 << 20;

/// The mapped bytes of a segment, with a bit for each page that says whether the page was verified.
#[derive(Debug)]
pub(crate) struct Pages {
    path: PathBuf,
    region: Region,
    checksums: Vec<u64>,
    covered: usize,
    verified: Vec<AtomicU64>,
    unverified: AtomicUsize,
}

impl Pages {
    /// `checksums` cover the first `covered` bytes of `region`.
    pub(crate) fn new(path: PathBuf, region: Region, checksums: Vec<u64>, covered: usize) -> Self {
        let verified =
            std::iter::repeat_with(AtomicU64::default).take(checksums.len().div_ceil(64)).collect();
        let unverified = AtomicUsize::new(checksums.len());
        Self { path, region, checksums, covered, verified, unverified }
    }

    /// The file they are mapped from.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All bytes. Those that [`verify`](Self::verify) was not asked for must not be trusted.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Number of pages not verified yet.
    pub(crate) fn unverified(&self) -> usize {
        self.unverified.load(Ordering::Relaxed)
    }

    /// Takes all pages as verified: they were just written by a process that is still running. Does nothing if they
    /// cannot be read, or are so many that reading them takes long.
    pub(crate) fn trust(&self) {
        if self.covered <= TRUSTED_LEN_MAX && self.region.populate_written(0, self.covered).is_ok() {
            self.unverified.store(0, Ordering::Release);
        }
    }

    /// Makes sure that `len` bytes at `offset` are readable and are what was written.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io) with file and offset.
    #[inline]
    pub(crate) fn verify(&self, offset: usize, len: usize) -> Result<()> {
        if len == 0 || self.unverified.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        self.verify_pages(offset / PAGE_LEN, (offset + len - 1) / PAGE_LEN)
    }

    fn verify_pages(&self, first: usize, last: usize) -> Result<()> {
        for page in first..=last {
            let word = self.verified.get(page / 64).ok_or_else(|| self.outside(page))?;
            // SYNC POINT: page verified. A set bit says that the bytes were checked by whoever set it.
            if word.load(Ordering::Acquire) & (1 << (page % 64)) == 0 {
                self.verify_page(page)?;
            }
        }
        Ok(())
    }

    #[cold]
    fn verify_page(&self, page: usize) -> Result<()> {
        let expected = *self.checksums.get(page).ok_or_else(|| self.outside(page))?;
        let start = page * PAGE_LEN;
        let len = PAGE_LEN.min(self.covered - start);
        self.region.populate(start, len).map_err(|error| {
            Error::io(&format!("read bytes {start} to {} of", start + len), &self.path, error)
        })?;
        if checksum(&self.region.as_slice()[start..start + len]) != expected {
            return Err(Error::corrupt(
                &self.path,
                start as u64,
                format_args!("the {len} bytes do not match their checksum; reload the table"),
            ));
        }
        // SYNC POINT: page verified.
        let before = self.verified[page / 64].fetch_or(1 << (page % 64), Ordering::AcqRel);
        if before & (1 << (page % 64)) == 0 {
            self.unverified.fetch_sub(1, Ordering::AcqRel);
        }
        Ok(())
    }

    fn outside(&self, page: usize) -> Error {
        Error::corrupt(&self.path, (page * PAGE_LEN) as u64, "a position points behind the checksummed bytes")
    }
}
