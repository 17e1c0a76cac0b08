//! One state of a followed relation, with which held rows are compared.

use std::fmt::Debug;

use arrow::array::RecordBatch;

use crate::source::call::Call;
use crate::source::fetch::Fetched;
use crate::types::error::Result;
use crate::types::value::Value;

/// Rows between two keys, in the order of Pillion: numbers and times by their value, texts and bytes by their bytes, `false` before `true`,
/// and keys of several columns by the first one that differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyRange {
    /// The first key; `None` for no lower end.
    pub from: Option<Vec<Value>>,
    /// The key behind the last one; `None` for no upper end.
    pub below: Option<Vec<Value>>,
}

/// What rows come to, whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowSum {
    /// How many there are.
    pub rows: u64,
    /// Their digests, added up.
    pub sum: i128,
}

impl RowSum {
    /// Adds a row.
    pub fn add(&mut self, digest: i64) {
        self.rows += 1;
        // Neither side comes near the end of 128 bits with rows that fit any disk.
        self.sum = self.sum.wrapping_add(digest.into());
    }
}

/// One state of a relation, as the source has it at a [`position`](Self::position): right behind some transaction of the feeds of this source, and
/// before the next. Held rows of the same position are compared with it. The source keeps the state until this is dropped.
///
/// Both sides turn each row into the same number, its digest: the source where its rows are, and [`digests`](Self::digests) for held
/// rows. Rows that differ in a value have different digests but for a chance of one in 2^64.
pub trait FeedCheck: Debug + Send {
    /// The position of the state, which [`Source::behind`](super::super::Source::behind) compares with those of a feed.
    fn position(&self) -> &[u8];

    /// The digest of each row of a batch. It has the compared columns, by their names, in any order.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorCode::Unsupported) for a column whose type is not the one in which the source gives it.
    fn digests(&self, rows: &RecordBatch) -> Result<Vec<i64>>;

    /// What the rows of a range come to, part by part. `bounds` are keys within the range, in ascending order; each ends a part and begins the next,
    /// so there is one part more. The rows are read once.
    ///
    /// # Errors
    /// Those of a source.
    fn sums(&mut self, range: &KeyRange, bounds: &[Vec<Value>], call: &Call) -> Result<Vec<RowSum>>;

    /// Begins to fetch the rows of a range; memory does not grow with their number.
    ///
    /// # Errors
    /// Those of a source. Later failures come with the batches.
    fn fetch(&mut self, range: &KeyRange, call: &Call) -> Result<Fetched>;

    /// Begins to fetch the rows with some keys. Others may come too.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    fn fetch_keys(&mut self, keys: &[Vec<Value>], call: &Call) -> Result<Fetched>;
}
