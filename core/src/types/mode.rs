//! What becomes of the rows of a table when others come.

/// What a write of rows does to the rows that the table has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// All stay; a new row with the key of one of them is refused.
    Append,
    /// Those with the keys of new rows go; of new rows with the same key, the last counts.
    Upsert,
    /// All go.
    Replace,
}
