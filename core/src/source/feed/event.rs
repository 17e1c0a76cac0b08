//! What comes on a feed.

use std::time::SystemTime;

use super::rows::RowChanges;

/// One step of a feed. Relations are named by their place in [`Follow::relations`](super::Follow::relations).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FeedEvent {
    /// Rows of one relation changed, in this order, and after everything that came before.
    Rows(RowChanges),
    /// All rows of these relations were removed at once.
    Truncated(Vec<usize>),
    /// The transaction is complete.
    Committed {
        /// The position behind it.
        position: Vec<u8>,
        /// When the source committed it, by the source's own clock.
        at: SystemTime,
    },
    /// Nothing of these relations changed up to a position. It comes between transactions only, and often while others change: keep it and
    /// acknowledge it now and then, so that the source need not keep what nobody wants.
    Idle {
        /// The position.
        position: Vec<u8>,
        /// The source waits for its acknowledgement, for example because it shuts down.
        is_urgent: bool,
    },
    /// The columns of a relation are not those any more that were followed, or its identity, which was
    /// [unique](super::Followed::unique_identity), is another one, or a row of it has a value that cannot be held. Its changes come no more in
    /// this feed; those of the others do. Fetch it anew.
    Reshaped {
        /// Which one.
        relation: usize,
        /// What changed, for people.
        why: String,
    },
}
