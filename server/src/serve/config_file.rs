//! The file of the configuration, and whether it has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells one state of a file from another. A symbolic link that is moved to another file changes it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Fingerprint {
    /// That of the file at a path; `None` if there is none now.
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        let modified = (found.mtime(), found.mtime_nsec());
        Some(Self { device: found.dev(), inode: found.ino(), len: found.len(), modified })
    }
}

/// The file of the configuration, looked at now and then.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    taken: Option<Fingerprint>,
    seen: Option<Fingerprint>,
}

impl ConfigFile {
    /// The file, as it is now.
    pub(super) fn new(path: PathBuf) -> Self {
        let taken = Fingerprint::of(&path);
        Self { path, taken, seen: taken }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has changed, and has been the same in two looks: a file that is being written is left to the next look.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = Fingerprint::of(&self.path);
        let is_still = now.is_some() && now == self.seen;
        self.seen = now;
        is_still && now != self.taken
    }

    /// It is read as it is now.
    pub(super) fn taken(&mut self) {
        self.taken = Fingerprint::of(&self.path);
        self.seen = self.taken;
    }
}
