//! Which mapped bytes are those of which segment.
//!
//! If an answer holds rows of the cache unchanged, the sidecar sends where their bytes stand in the files, and not the
//! bytes.

use std::collections::BTreeMap;

#[cfg(feature = "sidecar")]
use arrow::buffer::Buffer;
use parking_lot::RwLock;

use super::region::Region;

/// A segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId {
    /// Number of the table.
    pub(crate) table: u64,
    /// Number of the segment.
    pub(crate) segment: u64,
}

/// The mapped segments of a cache by their address.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    by_address: RwLock<BTreeMap<usize, (usize, FileId)>>,
}

impl Maps {
    /// Registers the bytes of `region` as those of `file`, until [`remove`](Self::remove).
    pub(crate) fn insert(&self, region: &Region, file: FileId) {
        self.by_address.write().insert(region.address(), (region.len(), file));
    }

    /// Forgets a region.
    pub(crate) fn remove(&self, region: &Region) {
        self.by_address.write().remove(&region.address());
    }

    /// The file that a buffer lies in, if any. The buffer keeps its bytes mapped, so nothing else can be at its
    /// address.
    #[cfg(feature = "sidecar")]
    pub(crate) fn find(&self, buffer: &Buffer) -> Option<MappedFile> {
        let by_address = self.by_address.read();
        let (&address, &(len, file)) = by_address.range(..=buffer.as_ptr() as usize).next_back()?;
        Some(MappedFile { address, len, file }).filter(|found| found.offset_of(buffer).is_some())
    }
}

/// A mapped file.
#[cfg(feature = "sidecar")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct MappedFile {
    address: usize,
    len: usize,
    /// Which one.
    pub(crate) file: FileId,
}

#[cfg(feature = "sidecar")]
impl MappedFile {
    /// Where in it a buffer lies, if it does.
    pub(crate) fn offset_of(&self, buffer: &Buffer) -> Option<usize> {
        let offset = (buffer.as_ptr() as usize).checked_sub(self.address)?;
        (offset.checked_add(buffer.len())? <= self.len).then_some(offset)
    }
}
