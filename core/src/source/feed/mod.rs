//! Changes as a source makes them: one state of some relations, and every transaction after it.

mod check;
mod event;
mod follow;
mod rows;

use std::fmt::Debug;

pub use self::check::{FeedCheck, KeyRange, RowSum};
pub use self::event::FeedEvent;
pub use self::follow::{Follow, Followed, Kept};
pub use self::rows::{RowChanges, RowOperation};
use super::call::Call;
use super::fetch::Fetched;
use crate::types::error::Result;

/// One state of all [followed](Follow) relations. Their changes after it can be [followed](super::Source::changes) from its
/// [`position`](Self::position), with no gap and no overlap. The source keeps the state until this is dropped, and the changes until
/// they are acknowledged or [forgotten](super::Source::forget).
pub trait FeedSnapshot: Debug + Send {
    /// The position right behind the state.
    fn position(&self) -> &[u8];

    /// Columns of a relation, by its place in [`Follow::relations`], and which of them name a row.
    ///
    /// # Errors
    /// Those of a source.
    fn describe(&mut self, relation: usize, call: &Call) -> Result<Followed>;

    /// Begins to fetch all rows of a relation in this state; memory does not grow with their number. One relation is fetched at a
    /// time.
    ///
    /// # Errors
    /// Those of a source. Later failures come with the batches.
    fn fetch(&mut self, relation: usize, call: &Call) -> Result<Fetched>;
}

/// The changes of some relations after a position: whole transactions in the order in which the source committed them. Dropping it ends
/// the connection; the source keeps what was not acknowledged.
pub trait ChangeFeed: Debug + Send {
    /// What comes next. Blocks until something comes, or the call ends; then it can be asked again, and nothing is lost.
    ///
    /// Of a transaction come [rows](FeedEvent::Rows) and [truncations](FeedEvent::Truncated), in batches of a few MiB at most unless
    /// a single row is larger, and at its end [`Committed`](FeedEvent::Committed). What comes without that end, because the feed fails, must
    /// not be kept: it comes again. Memory does not grow with the transaction.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorCode::Timeout) and [`Cancelled`](crate::ErrorCode::Cancelled) of the call. After every other error the feed is
    /// over.
    fn next(&mut self, call: &Call) -> Result<FeedEvent>;

    /// Says that everything up to a position, which [`Committed`](FeedEvent::Committed) or [`Idle`](FeedEvent::Idle) gave, is on disk here: the
    /// source may forget it. Does not block; the source learns it within about a second. Saying it too early loses changes.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorCode::InvalidArgument) for bytes that are not a position of this source.
    fn acknowledge(&mut self, position: &[u8]) -> Result<()>;
}

/// Whether changes go on after a position.
#[derive(Debug)]
pub enum Changes {
    /// They do.
    Feed(Box<dyn ChangeFeed>),
    /// The source has lost some of them, for a reason that is said to people. Only a new [snapshot](super::Source::snapshot), whose rows take
    /// the place of all that is held, goes on.
    Lost(String),
}
