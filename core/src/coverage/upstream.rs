//! Who fetches rows that a read needs and that its table does not hold.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use super::fetching::Fetching;
#[cfg(feature = "sql")]
use super::predicate::Predicate;
use crate::source::Keys;
use crate::storage::TableShape;
use crate::types::bounds::ReadBounds;
use crate::types::error::{Error, ErrorCode, Result};

/// The most keys that a source is asked for at a time. A scan has them in one statement or not at all: rows of several statements are not of
/// one moment, and a source may find one row by several keys.
pub(crate) const KEYS_AT_ONCE: usize = 500;

/// Rows of the source of a table. What comes may be more than these, and never less: whoever reads keeps what it needs.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The table.
    pub(crate) table: Arc<TableShape>,
    /// Places of its columns, which the rows have in this order.
    pub(crate) columns: Vec<usize>,
    /// The rows have one of these keys.
    pub(crate) keys: Option<Keys>,
    /// The rows satisfy this.
    #[cfg(feature = "sql")]
    pub(crate) condition: Option<Predicate>,
    /// The same in words: "rows where id = 5".
    pub(crate) described: String,
    /// The bounds of the read, for whoever asks on another thread.
    pub(crate) bounds: ReadBounds,
}

impl Wanted {
    /// Refuses rows that were too old when they were asked for.
    ///
    /// # Errors
    /// [`ErrorCode::Stale`].
    pub(crate) fn check_age(&self, as_of: SystemTime, asked: SystemTime) -> Result<()> {
        let bounds = [self.table.rules.max_staleness, self.bounds.max_staleness];
        // A clock that went back makes no row older.
        let age = asked.duration_since(as_of).unwrap_or_default();
        match bounds.into_iter().flatten().min() {
            Some(bound) if age > bound => Err(Error::new(
                ErrorCode::Stale,
                format!(
                    "the rows that the source has of table `{}` are {:?} old, and the read allows {bound:?} (`max_staleness`): the source is \
                     behind its own source, or its clock is",
                    self.table.name,
                    Duration::from_millis(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// Fetches rows that tables do not hold.
pub(crate) trait Upstream: Debug + Send + Sync {
    /// Begins to fetch the rows of some reads, all together so that none of them waits for another. Does not wait for sources; it waits
    /// while other fetches of a source keep it busy. Returns the fetch of each, or why it cannot begin.
    fn fetch(&self, wanted: &[Arc<Wanted>]) -> Vec<Result<Fetching>>;

    /// Begins to fetch the rows of one read.
    ///
    /// # Errors
    /// Why it cannot begin.
    fn fetch_one(&self, wanted: &Arc<Wanted>) -> Result<Fetching> {
        let begun = self.fetch(std::slice::from_ref(wanted)).pop();
        begun.unwrap_or_else(|| Err(Error::internal("a fetch without rows")))
    }
}

/// Where the rows come from, once it is known; clones are the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpstreamSlot {
    upstream: Arc<OnceLock<Arc<dyn Upstream>>>,
}

impl UpstreamSlot {
    /// From now on these rows are fetched; the first one counts.
    pub(crate) fn fill(&self, upstream: Arc<dyn Upstream>) {
        let _is_filled = self.upstream.set(upstream);
    }

    /// Who fetches; `None` if nobody does.
    pub(crate) fn get(&self) -> Option<&Arc<dyn Upstream>> {
        self.upstream.get()
    }
}
