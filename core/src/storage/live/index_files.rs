//! The indexes of tails: files that the owner makes and readers open.

use super::tail_index::TailIndex;
use super::words::Words;
use crate::storage::catalog::files::Files;
use crate::storage::format::FIRST_CAPACITY;
use crate::types::error::{Error, Result};

/// Where indexes of tails come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Indexes {
    /// Memory of this process, which reads a log without an owner's indexes.
    Private,
    /// Files that this process makes as the owner of this number.
    Owned(u64),
    /// Files of the owner of this number.
    Followed(u64),
}

impl Indexes {
    /// Whether this process writes them.
    pub(crate) fn are_written(self) -> bool {
        !matches!(self, Self::Followed(_))
    }

    /// A new index of a tail; for a follower, the owner's newest one.
    ///
    /// # Errors
    /// [`DiskFull`](crate::ErrorCode::DiskFull), [`Io`](crate::ErrorCode::Io); with `NotFound` as the cause if the
    /// owner does not have an index of this tail (any more).
    pub(crate) fn get(self, files: &Files, table: u64, since: u64, capacity: usize) -> Result<TailIndex> {
        match self {
            Self::Private => {
                let words = Words::private(TailIndex::words_for(capacity));
                Ok(TailIndex::create(words, capacity))
            }
            Self::Owned(owner) => {
                let path = files.tail_path(owner, table, since, capacity);
                let words = files.vfs.create_words(&path, TailIndex::words_for(capacity));
                Ok(TailIndex::create(words.map_err(|error| Error::io("create", &path, error))?, capacity))
            }
            Self::Followed(owner) => Self::newest(files, owner, table, since),
        }
    }

    /// The largest index of a tail that the owner has published.
    fn newest(files: &Files, owner: u64, table: u64, since: u64) -> Result<TailIndex> {
        let dir = files.live_dir();
        let names = files.vfs.list(&dir).map_err(|error| Error::io("list", &dir, error))?;
        let prefix = format!("{owner}-{table}-{since}-");
        let mut capacities: Vec<usize> =
            names.iter().filter_map(|name| name.strip_prefix(&prefix)?.parse().ok()).collect();
        capacities.sort_unstable_by(|a, b| b.cmp(a));
        // The owner may still be filling the largest. The one before it then has everything that readers know of.
        for &capacity in &capacities {
            let path = files.tail_path(owner, table, since, capacity);
            let words = files.vfs.map_words(&path).map_err(|error| Error::io("map", &path, error))?;
            if let Some(index) = words.and_then(TailIndex::open) {
                return Ok(index);
            }
        }
        let path =
            files.tail_path(owner, table, since, capacities.first().copied().unwrap_or(FIRST_CAPACITY));
        Err(Error::io("map", &path, std::io::ErrorKind::NotFound.into()))
    }

    /// Removes the file of an index. Readers that have mapped it go on reading it.
    pub(crate) fn remove(self, files: &Files, table: u64, since: u64, capacity: usize) {
        if let Self::Owned(owner) = self {
            let path = files.tail_path(owner, table, since, capacity);
            if let Err(error) = files.vfs.remove(&path) {
                tracing::warn!(%error, path = %path.display(), "cannot remove a file that is no longer needed");
            }
        }
    }
}
