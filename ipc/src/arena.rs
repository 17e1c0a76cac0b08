//! Memory that one end writes and the other reads: answers that need not go through the socket.
//!
//! The end that makes an arena writes it. Whoever receives its descriptor can only map it read-only, because the file
//! is sealed: it neither shrinks nor grows, and no new mapping of it can be writable. So a reader need not fear that
//! memory vanishes under it, and the writer need not trust the reader.
//!
//! Space is leased: a range belongs to one answer until its reader gives it back. The lowest free range is given out
//! first, because a page that was written before costs nothing and a new one costs microseconds.
#![expect(unsafe_code, reason = "memory that is shared with another process")]

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use memmap2::{Advice, MmapRaw};
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, SealFlags};

/// Alignment of every lease.
pub const ARENA_ALIGNMENT: usize = 64;

/// The seal that keeps a reader safe: the memory that it maps never gets shorter.
const READER_SEALS: SealFlags = SealFlags::SHRINK;

/// Shared memory, as its writer sees it.
#[derive(Debug)]
pub struct Arena {
    file: OwnedFd,
    map: MmapRaw,
    space: Mutex<Space>,
}

/// A range of an [`Arena`] that belongs to one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its number, which is never used twice; from 1.
    pub id: u64,
    /// Where it begins; a multiple of [`ARENA_ALIGNMENT`].
    pub offset: usize,
    /// Its length.
    pub len: usize,
}

/// Which ranges are free.
#[derive(Debug, Default)]
struct Space {
    free: BTreeMap<usize, usize>,
    leased: HashMap<u64, Leased>,
    leased_len: usize,
    /// Bytes from the start that the system has given memory for.
    populated: usize,
    next_id: u64,
}

#[derive(Clone, Copy, Debug)]
struct Leased {
    offset: usize,
    len: usize,
    /// Whether the reader was told of it, and may give it back. Until then the writer writes it.
    published: bool,
}

/// The arena asks the system for memory in steps of this many bytes.
const POPULATE_STEP: usize = 1 << 20;

impl Arena {
    /// Makes an arena of `len` bytes, which cost memory only once they are written.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn create(len: usize) -> io::Result<Self> {
        let create = |flags| rustix::fs::memfd_create(c"pillion-arena", flags);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Kernels before 6.3 do not know this flag, which says that nobody will execute the file.
        let file = create(flags | MemfdFlags::NOEXEC_SEAL).or_else(|_| create(flags))?;
        let len = len.next_multiple_of(ARENA_ALIGNMENT);
        rustix::fs::ftruncate(&file, len as u64)?;
        let map = MmapRaw::map_raw(&file)?;
        let seals = READER_SEALS | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        let space = Space { free: BTreeMap::from([(0, len)]), next_id: 1, ..Space::default() };
        Ok(Self { file, map, space: Mutex::new(space) })
    }

    /// What a reader maps.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// All its bytes.
    pub fn capacity(&self) -> usize {
        self.map.len()
    }

    /// Bytes that are leased now.
    pub fn leased(&self) -> usize {
        self.space.lock().leased_len
    }

    /// Leases `len` bytes to be written; `None` if no free range is long enough, or the system has no memory for it.
    pub fn lease(&self, len: usize) -> Option<Lease> {
        let needed = len.max(1).checked_next_multiple_of(ARENA_ALIGNMENT)?;
        let mut space = self.space.lock();
        let (&offset, &free) = space.free.iter().find(|&(_, &free)| free >= needed)?;
        let end = offset + needed;
        if end > space.populated {
            // Here, where it can fail: a page that the system cannot provide during a write raises a signal.
            let populated = end.next_multiple_of(POPULATE_STEP).min(self.map.len());
            let wanted = populated - space.populated;
            self.map.advise_range(Advice::PopulateWrite, space.populated, wanted).ok()?;
            space.populated = populated;
        }
        space.free.remove(&offset);
        if free > needed {
            space.free.insert(end, free - needed);
        }
        let id = space.next_id;
        space.next_id += 1;
        space.leased.insert(id, Leased { offset, len: needed, published: false });
        space.leased_len += needed;
        Some(Lease { id, offset, len })
    }

    /// Writes into a lease that was not published.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the range does not lie in the lease, or the lease was published.
    pub fn write(&self, lease: &Lease, position: usize, bytes: &[u8]) -> io::Result<()> {
        let held = self.space.lock().leased.get(&lease.id).copied();
        let is_open =
            held.is_some_and(|held| !held.published && held.offset == lease.offset && lease.len <= held.len);
        if !is_open || position.checked_add(bytes.len()).is_none_or(|end| end > lease.len) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a range of a lease that can be written",
            ));
        }
        // SAFETY: the lease lies within the map, and the range within the lease. Nobody else gets the range before
        // the lease is given back; only a published lease can be given back, and the caller has not published this
        // one yet. This process makes no reference to the map; the reader looks at a lease only after it was told of
        // it, so after this write.
        unsafe {
            let target = self.map.as_mut_ptr().add(lease.offset + position);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        Ok(())
    }

    /// Marks the lease as written; from now on its reader may be told of it and can give it back.
    pub fn publish(&self, lease: &Lease) {
        if let Some(held) = self.space.lock().leased.get_mut(&lease.id) {
            held.published = true;
        }
    }

    /// Takes back a published lease; `false` if there is none with that number.
    pub fn give_back(&self, id: u64) -> bool {
        let mut space = self.space.lock();
        if !space.leased.get(&id).is_some_and(|held| held.published) {
            return false;
        }
        let Some(Leased { mut offset, mut len, .. }) = space.leased.remove(&id) else { return false };
        space.leased_len -= len;
        let before = space.free.range(..offset).next_back().map(|(&offset, &len)| (offset, len));
        if let Some((start, free)) = before.filter(|(start, free)| start + free == offset) {
            space.free.remove(&start);
            (offset, len) = (start, free + len);
        }
        if let Some(free) = space.free.remove(&(offset + len)) {
            len += free;
        }
        space.free.insert(offset, len);
        true
    }
}

/// Checks that a received descriptor is memory that its maker cannot shrink, so that it is safe to map.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if it is not.
pub fn check_sealed(descriptor: OwnedFd) -> io::Result<File> {
    match rustix::fs::fcntl_get_seals(&descriptor) {
        Ok(seals) if seals.contains(READER_SEALS) => Ok(File::from(descriptor)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the shared memory is not sealed")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn arena(len: usize) -> Arena {
        Arena::create(len).unwrap()
    }

    #[test]
    fn leases_never_overlap_and_all_space_comes_back() {
        let arena = arena(1 << 16);
        let mut held: Vec<Lease> = Vec::new();
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = usize::try_from(random >> 33).unwrap();
            if number % 3 == 0 && !held.is_empty() {
                let lease = held.swap_remove(number % held.len());
                assert!(arena.give_back(lease.id));
                assert!(!arena.give_back(lease.id), "it comes back once");
            } else if let Some(lease) = arena.lease(number % 5000) {
                assert!(lease.offset % ARENA_ALIGNMENT == 0 && lease.offset + lease.len <= arena.capacity());
                let overlaps = |other: &Lease| {
                    lease.offset < other.offset + other.len.max(1)
                        && other.offset < lease.offset + lease.len.max(1)
                };
                assert!(!held.iter().any(overlaps), "{lease:?} of {held:?}");
                assert!(!arena.give_back(lease.id), "nobody was told of it");
                arena.publish(&lease);
                held.push(lease);
            }
        }
        for lease in held {
            assert!(arena.give_back(lease.id));
        }
        assert_eq!(arena.leased(), 0);
        assert_eq!(arena.lease(1 << 16).map(|lease| lease.len), Some(1 << 16), "the whole is free again");
        assert_eq!(arena.lease(1), None);
    }

    #[test]
    fn a_reader_can_read_and_nothing_else() {
        let arena = arena(1 << 16);
        let lease = arena.lease(5).unwrap();
        arena.write(&lease, 0, b"hello").unwrap();
        arena.write(&lease, 1, b"hello").unwrap_err();
        let file = check_sealed(arena.descriptor().try_clone_to_owned().unwrap()).unwrap();
        let mut bytes = [0; 5];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"hello");
        file.write_all_at(b"x", 0).unwrap_err();
        file.set_len(0).unwrap_err();
        file.set_len(1 << 20).unwrap_err();
        MmapRaw::map_raw(&file).unwrap_err();
        arena.publish(&lease);
        arena.write(&lease, 0, b"hello").unwrap_err();
        assert!(arena.give_back(lease.id));
        arena.write(&lease, 0, b"hello").unwrap_err();
    }

    #[test]
    fn memory_that_could_shrink_is_refused() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(check_sealed(file.into()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
