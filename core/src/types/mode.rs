//! What becomes of the rows of a table when others come.

/// What becomes of the rows that a table has when others come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// All stay; none may have the key of one that comes.
    Append,
    /// Those with the same keys go; of rows that come with the same key the last counts.
    Upsert,
    /// All go.
    Replace,
}
