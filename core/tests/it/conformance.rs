//! The conformance suite, run against the ways in that the core has: the owner of a directory, and a reader of it beside
//! its owner.

use pillion::{Cache, Version};
use pillion_conformance::{Opened, Opener};
use tempfile::TempDir;

mod embedded {
    use super::*;

    #[cfg(feature = "sql")]
    pillion_conformance::instantiate!(Owner);
    #[cfg(not(feature = "sql"))]
    pillion_conformance::instantiate!(Owner; base, following);
}

mod attached {
    use super::*;

    #[cfg(feature = "sql")]
    pillion_conformance::instantiate!(ReaderBesideOwner);
    #[cfg(not(feature = "sql"))]
    pillion_conformance::instantiate!(ReaderBesideOwner; base, following);
}

/// The owner of a directory writes and reads.
struct Owner;

struct OwnerOpened {
    cache: Option<Cache>,
    dir: TempDir,
}

impl Opener for Owner {
    fn open(&self) -> Box<dyn Opened> {
        let dir = tempfile::tempdir().unwrap();
        Box::new(OwnerOpened { cache: Some(Cache::open(dir.path()).unwrap()), dir })
    }
}

impl Opened for OwnerOpened {
    fn writer(&self) -> &Cache {
        self.cache.as_ref().unwrap()
    }

    fn reader(&self) -> &Cache {
        self.writer()
    }

    fn catch_up(&mut self, version: Version) {
        assert_eq!(
            self.reader().version().unwrap().includes(version),
            Some(true),
            "an owner sees what it wrote"
        );
    }

    fn reopen(&mut self) {
        self.writer().close().unwrap();
        self.cache = None;
        self.cache = Some(Cache::open(self.dir.path()).unwrap());
    }
}

/// An owner writes, and a reader that is attached to the same directory reads.
struct ReaderBesideOwner;

struct ReaderOpened {
    reader: Option<Cache>,
    owner: Option<Cache>,
    dir: TempDir,
}

impl ReaderOpened {
    fn open_both(&mut self) {
        self.owner = Some(Cache::open(self.dir.path()).unwrap());
        self.reader = Some(Cache::open_read_only(self.dir.path()).unwrap());
    }
}

impl Opener for ReaderBesideOwner {
    fn open(&self) -> Box<dyn Opened> {
        let mut opened = ReaderOpened { reader: None, owner: None, dir: tempfile::tempdir().unwrap() };
        opened.open_both();
        Box::new(opened)
    }
}

impl Opened for ReaderOpened {
    fn writer(&self) -> &Cache {
        self.owner.as_ref().unwrap()
    }

    fn reader(&self) -> &Cache {
        self.reader.as_ref().unwrap()
    }

    /// It was opened without a sidecar.
    fn asks_sources(&self) -> bool {
        false
    }

    fn catch_up(&mut self, version: Version) {
        // A reader follows the owner at every call, so there is nothing to wait for.
        assert_eq!(
            self.reader().version().unwrap().includes(version),
            Some(true),
            "a reader sees what was written"
        );
    }

    fn reopen(&mut self) {
        self.reader = None;
        self.writer().close().unwrap();
        self.owner = None;
        self.open_both();
    }
}
