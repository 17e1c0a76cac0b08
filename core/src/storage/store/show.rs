//! Shows commits to readers: at once, or when they are durable. One sync serves all commits that wait for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::Guard;
use parking_lot::MutexGuard;

use super::committer::{Committer, Logged};
use super::writing::Writing;
use super::{Store, Sync};
use crate::storage::catalog::state::State;
use crate::storage::live::Head;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::version::Version;

impl Store {
    /// The newest state that readers may see.
    ///
    /// # Errors
    /// [`ErrorCode::WentBack`], once, if commits that readers saw are gone.
    #[inline]
    pub(crate) fn newest(&self) -> Result<Guard<Arc<State>>> {
        let state = self.state.load();
        // Read after the state, and set before the state that it announces is stored.
        if self.went_back.load(Ordering::Acquire) {
            self.tell_went_back()?;
            return Ok(self.state.load());
        }
        Ok(state)
    }

    #[cold]
    fn tell_went_back(&self) -> Result<()> {
        // Whoever goes back holds the committer until the state is shown.
        let _committer = self.hold_committer();
        if !self.went_back.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let version = self.state.load().version;
        Err(Error::new(
            ErrorCode::WentBack,
            format!(
                "the disk failed and what was committed after version {version} may be lost; the next call reads what \
                 there is; open the cache again to find out what became of the rest"
            ),
        ))
    }

    /// Makes every commit durable. Blocks on the disk; commits go on meanwhile.
    ///
    /// # Errors
    /// That of the disk, and [`ErrorCode::Poisoned`] from then on; [`ErrorCode::Closed`].
    pub(crate) fn sync(&self) -> Result<()> {
        drop(self.writing()?);
        let syncing = self.syncing.lock();
        self.sync_together(&syncing, self.hold_committer())
    }

    /// Whether a crash of the machine could lose a commit.
    #[cfg(test)]
    pub(crate) fn could_lose_commits(&self) -> bool {
        self.hold_committer().is_unsynced()
    }

    /// Returns when readers see a commit that was logged.
    ///
    /// # Errors
    /// Why they never will.
    pub(super) fn wait_until_shown(&self, version: Version) -> Result<()> {
        let is_shown = || self.state.load().version.sequence >= version.sequence;
        if self.sync == Sync::Later {
            return Ok(());
        }
        let syncing = self.syncing.lock();
        // Whoever synced before may have synced this commit too.
        let committer = self.hold_committer();
        if is_shown() {
            return Ok(());
        }
        committer.check()?;
        self.sync_together(&syncing, committer)
    }

    /// Syncs and shows what was logged so far. Releases the committer during the sync.
    fn sync_together(&self, _syncing: &MutexGuard<'_, ()>, committer: Writing<'_>) -> Result<()> {
        committer.check()?;
        if !committer.is_unsynced() {
            return Ok(());
        }
        let (file, path) = (committer.log.file(), committer.log.path().to_owned());
        let (state, head) = (committer.newest().clone(), committer.head());
        drop(committer);
        let result = file.sync().map_err(|error| Error::io("sync", &path, error));
        self.synced(&mut self.hold_committer(), result, state, head)
    }

    /// As [`sync`](Self::sync), but keeps the committer: nothing is committed meanwhile.
    pub(super) fn sync_locked(&self, _syncing: &MutexGuard<'_, ()>, committer: &mut Committer) -> Result<()> {
        if !committer.is_unsynced() {
            return Ok(());
        }
        let (state, head) = (committer.newest().clone(), committer.head());
        let result = committer.log.sync();
        self.synced(committer, result, state, head)
    }

    /// Shows what a sync has made durable. If it failed, what should have become durable is never read again, because
    /// the system may have dropped its pages.
    fn synced(
        &self,
        committer: &mut Committer,
        result: Result<()>,
        state: Arc<State>,
        head: Head,
    ) -> Result<()> {
        if let Err(error) = committer.poison_on_error(result) {
            let (durable, head) = committer.go_back();
            if self.state.load().version != durable.version {
                self.went_back.store(true, Ordering::Release);
                self.state.store(durable);
                self.head.publish(head);
            }
            return Err(error);
        }
        let sequence = state.version.sequence;
        committer.synced(state, head);
        self.show_up_to(committer, sequence);
        Ok(())
    }

    /// Shows a commit that was logged, unless it must be durable first. No manifest of `dropped_at` or later will name
    /// the segments that it dropped.
    pub(super) fn logged(&self, committer: &mut Committer, state: Arc<State>, dropped_at: u64) {
        let sequence = state.version.sequence;
        committer.logged(state, dropped_at);
        if self.sync == Sync::Later {
            self.show_up_to(committer, sequence);
        }
    }

    fn show_up_to(&self, committer: &mut Committer, sequence: u64) {
        while let Some(logged) = committer.next_to_show(sequence) {
            self.show(committer, logged);
        }
    }

    /// Makes a state the newest for all readers.
    fn show(&self, committer: &mut Committer, Logged { state, head, dropped_at }: Logged) {
        let before = self.state.swap(state.clone());
        self.head.publish(head);
        // Indexes are removed only now: before the head was published, followers may have looked for them.
        for (id, old) in &before.tables {
            let new = state.tables.get(id);
            if new.is_some_and(|new| Arc::ptr_eq(old, new)) {
                continue;
            }
            let is_kept_tail =
                |since: u64| new.is_some_and(|new| new.tails.iter().any(|tail| tail.tail.since == since));
            for tail in old.tails.iter().filter(|tail| !is_kept_tail(tail.tail.since)) {
                if let Some(index) = &tail.index {
                    self.indexes().remove(&self.files, *id, tail.tail.since, index.capacity());
                }
            }
            if new.is_some_and(|new| Arc::ptr_eq(&old.segments, &new.segments)) {
                continue;
            }
            let kept: BTreeSet<u64> =
                new.iter().flat_map(|new| new.segments.iter()).map(|segment| segment.id()).collect();
            let gone: Vec<_> =
                old.segments.iter().filter(|segment| !kept.contains(&segment.id())).cloned().collect();
            committer.retire(&gone, dropped_at);
        }
    }
}
