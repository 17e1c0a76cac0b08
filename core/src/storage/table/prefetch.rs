//! Asks the processor early for what looking up several keys will read, so that one does not wait for the other.

use smallvec::SmallVec;

use super::TableState;
use crate::storage::segment::Segment;

/// Keys that are prefetched together.
pub(crate) const PREFETCHED_KEYS: usize = 16;

/// What is done with the rows that are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefetch {
    /// Their keys are compared.
    Keys,
    /// Their keys are compared and their values are read.
    Values,
}

impl TableState {
    /// Asks for what looking up keys with their hashes will read; about [`PREFETCHED_KEYS`] at a time.
    pub(crate) fn prefetch(&self, keys: &[(impl AsRef<[u8]>, u64)], what: Prefetch) {
        let indexes = || self.tails.iter().filter_map(|tail| tail.index.as_deref());
        let mut segments: SmallVec<[(&Segment, u64, u64); 4 * PREFETCHED_KEYS]> = SmallVec::new();
        for (key, hash) in keys {
            indexes().for_each(|index| index.prefetch_chain(*hash));
            for handle in self.segments.holding(key.as_ref()) {
                // The lookup reports a segment that cannot be opened.
                let Ok(segment) = handle.open() else { continue };
                segment.prefetch_bucket(*hash);
                segments.push((segment, handle.id(), *hash));
            }
        }
        for (_, hash) in keys {
            indexes().for_each(|index| index.prefetch_row(*hash));
        }
        for (segment, id, hash) in segments {
            for row in segment.candidates(hash) {
                match what {
                    Prefetch::Keys => segment.prefetch_key(row),
                    Prefetch::Values => segment.prefetch_row(row),
                }
                indexes().for_each(|index| index.prefetch_deletion(id, row));
            }
        }
    }
}
