//! Read-only bytes that outlive everything built over them: a mapped file.
//!
//! This is one of the files of storage that hold unsafe code.
#![expect(unsafe_code, reason = "mapping a file and lending its bytes to Arrow is what this file is for")]

use std::any::Any;
use std::fmt;
use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow::alloc::Allocation;
use arrow::buffer::Buffer;
use memmap2::{Advice, Mmap, MmapOptions};

/// Read-only bytes with a fixed address. Cloning shares them.
///
/// The bytes of a mapped file are those of the page cache: they change only if another process writes the
/// file, which the directory's rules forbid (files are complete before they are named by a commit, and never
/// change afterwards). What a breach of that rule could do is bounded by the page checksums. Of memory that a sidecar
/// leases, the leased range does not change; the rest is never looked at.
#[derive(Clone)]
pub(crate) struct Region {
    map: Arc<Mmap>,
}

impl Region {
    /// Maps a file as long as it is now. No page is read.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        // SAFETY: undefined behaviour follows if the mapped bytes change while a reference to them is held.
        // Files of a cache directory are never written in place once they are complete and never truncated
        // (docs/architecture.md, invariants); a process that breaks this rule breaks the cache.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self { map: Arc::new(map) })
    }

    /// Maps `len` bytes of a file that may have fewer now.
    ///
    /// # Safety
    /// No byte behind the end of the file is touched, by [`first`](Self::first) or otherwise, before the file has grown
    /// over it, and the file never shrinks: a touch behind the end ends the process.
    pub(crate) unsafe fn map_beyond(file: &File, len: usize) -> io::Result<Self> {
        // SAFETY: as in `map`: bytes of a log are written once, before anyone learns of them, and a log never shrinks.
        let map = unsafe { MmapOptions::new().len(len).map(file) }?;
        Ok(Self { map: Arc::new(map) })
    }

    /// All bytes; touching one may read its page from disk.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.map
    }

    /// The first bytes.
    ///
    /// # Panics
    /// If fewer bytes are mapped.
    ///
    /// # Safety
    /// The file has at least `len` bytes, and nobody writes them any more.
    pub(crate) unsafe fn first(&self, len: usize) -> &[u8] {
        assert!(len <= self.len(), "{len} bytes of {}", self.len());
        // SAFETY: the map has at least `len` bytes and stays where it is as long as `self` lives; the caller
        // promises that the file has them and that nobody changes them.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr(), len) }
    }

    /// Number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Address of the first byte.
    pub(crate) fn address(&self) -> usize {
        self.map.as_ptr() as usize
    }

    /// Asks the kernel for `len` bytes at `offset` and waits for them, so that an unreadable disk is an error
    /// here and not a signal at the first touch.
    pub(crate) fn populate(&self, offset: usize, len: usize) -> io::Result<()> {
        // First, because it limits the read to this range; populating alone would read ahead by megabytes.
        self.map.advise_range(Advice::WillNeed, offset, len)?;
        self.populate_written(offset, len)
    }

    /// As [`populate`](Self::populate), for bytes that were just written and are nearly always in memory: if some are
    /// not, the kernel reads them with more around them.
    pub(crate) fn populate_written(&self, offset: usize, len: usize) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        self.map.advise_range(Advice::PopulateRead, offset, len)?;
        #[cfg(not(target_os = "linux"))]
        self.map.advise_range(Advice::WillNeed, offset, len)?;
        Ok(())
    }

    /// [Prefetches](prefetch) a byte; any offset is allowed.
    #[inline]
    pub(crate) fn prefetch(&self, offset: usize) {
        prefetch(self.map.as_ptr().wrapping_add(offset));
    }

    /// An Arrow buffer over `len` bytes at `offset` that keeps this region alive; nothing is copied or read.
    /// `None` if the range is not within the region.
    pub(crate) fn buffer(&self, offset: usize, len: usize) -> Option<Buffer> {
        self.lend(offset, len, Arc::new(Owner { _region: self.clone(), _lease: None }))
    }

    /// As [`buffer`](Self::buffer); also keeps `lease` alive: while it lives, the bytes do not change.
    #[cfg(feature = "sidecar")]
    pub(crate) fn leased_buffer(
        &self,
        offset: usize,
        len: usize,
        lease: &Arc<dyn Any + Send + Sync>,
    ) -> Option<Buffer> {
        self.lend(offset, len, Arc::new(Owner { _region: self.clone(), _lease: Some(lease.clone()) }))
    }

    fn lend(&self, offset: usize, len: usize, owner: Arc<dyn Allocation>) -> Option<Buffer> {
        if offset.checked_add(len)? > self.len() {
            return None;
        }
        let pointer = NonNull::new(self.map.as_ptr().cast_mut())?;
        // SAFETY: `offset` is within the map. The result is valid for reads of `len` bytes as long as `owner` lives,
        // because the owner holds the region and a region never moves or shrinks; nobody writes through it.
        Some(unsafe { Buffer::from_custom_allocation(pointer.add(offset), len, owner) })
    }
}

/// Tells the processor that a byte will be read soon, if it knows such a hint. Reads nothing, so any address is
/// allowed.
#[inline]
pub(crate) fn prefetch(address: *const u8) {
    // SAFETY: a hint for the caches is not an access of memory, and has no effect that a program could see.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

impl AsRef<[u8]> for Region {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({} bytes)", self.len())
    }
}

/// Keeps a region alive for Arrow; `Allocation` asks for unwind safety, which immutable bytes have.
struct Owner {
    _region: Region,
    _lease: Option<Arc<dyn Any + Send + Sync>>,
}

impl std::panic::RefUnwindSafe for Owner {}
