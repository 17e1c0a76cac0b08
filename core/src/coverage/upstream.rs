//! Who fetches rows that a read needs and that its table does not hold.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use super::fetching::Fetching;
#[cfg(feature = "sql")]
use super::predicate::Predicate;
use crate::source::Keys;
use crate::storage::TableShape;
use crate::types::error::Result;

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
}

/// Fetches rows that tables do not hold.
pub(crate) trait Upstream: Debug + Send + Sync {
    /// Begins to fetch the rows of some reads, all together so that none of them waits for another. Does not wait for sources; it waits
    /// while other fetches of a source keep it busy.
    ///
    /// # Errors
    /// Why one of them cannot begin. None has begun then.
    fn fetch(&self, wanted: &[Arc<Wanted>]) -> Result<Vec<Fetching>>;
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
