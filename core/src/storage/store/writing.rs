//! The committer, held: a panic of whoever holds it ends writing.

use std::ops::{Deref, DerefMut};

use parking_lot::MutexGuard;

use super::Store;
use super::committer::Committer;

/// The committer, for whoever is about to change what it holds.
///
/// After a panic in the middle of a commit nobody knows how much was done: the log may have a record that the newest
/// state lacks, and the next commit would take its place. So a panic poisons the cache as a failed write does.
pub(super) struct Writing<'a> {
    committer: MutexGuard<'a, Committer>,
    /// Whether the thread was unwinding already when it took the committer: then the panic is not the holder's fault.
    was_panicking: bool,
}

impl Store {
    /// The committer, whatever state it is in.
    pub(super) fn hold_committer(&self) -> Writing<'_> {
        Writing { committer: self.committer.lock(), was_panicking: std::thread::panicking() }
    }
}

impl Deref for Writing<'_> {
    type Target = Committer;

    fn deref(&self) -> &Committer {
        &self.committer
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut Committer {
        &mut self.committer
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.was_panicking {
            self.committer.poison_by_panic();
        }
    }
}
