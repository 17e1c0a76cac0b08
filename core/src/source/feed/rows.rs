//! Changes of rows.

use arrow::array::RecordBatch;

use crate::types::error::{Error, ErrorCode, Result};

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOperation {
    /// It was added.
    Insert,
    /// The row that the next [`Update`](Self::Update) is about, as it was before. Columns outside of the identity may be null here although
    /// they are not. It comes if the identity changed, or always; without it the row has the identity that it had.
    Before,
    /// It has these values now.
    Update,
    /// It was removed. Columns outside of the identity may be null here although they were not.
    Delete,
}

/// Changes of rows of one relation, one after another.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChanges {
    relation: usize,
    operations: Vec<RowOperation>,
    rows: RecordBatch,
    unchanged: Vec<(usize, usize)>,
}

impl RowChanges {
    /// What happened to each row of a batch. In it, each column may hold nulls, whatever the relation says. `unchanged` names values by row and
    /// column, in ascending order, that an update leaves as they are and that the source does not send: the batch has nulls there.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) if the parts do not fit together.
    pub fn new(
        relation: usize,
        operations: Vec<RowOperation>,
        rows: RecordBatch,
        unchanged: Vec<(usize, usize)>,
    ) -> Result<Self> {
        let invalid = |what| Err(Error::new(ErrorCode::InvalidArgument, format!("changes of rows: {what}")));
        if operations.len() != rows.num_rows() {
            return invalid("each row needs one operation");
        }
        let follows =
            |pair: &[RowOperation]| pair[0] != RowOperation::Before || pair[1] == RowOperation::Update;
        if !operations.windows(2).all(follows) || operations.last() == Some(&RowOperation::Before) {
            return invalid("a row as it was is followed by the row as it is");
        }
        let is_update = |row: usize| operations.get(row) == Some(&RowOperation::Update);
        let is_within = |&(row, column): &(usize, usize)| is_update(row) && column < rows.num_columns();
        if !unchanged.is_sorted() || !unchanged.iter().all(is_within) {
            return invalid("only values of updated rows stay unchanged");
        }
        Ok(Self { relation, operations, rows, unchanged })
    }

    /// Of which relation.
    #[must_use]
    pub fn relation(&self) -> usize {
        self.relation
    }

    /// What happened to each row.
    #[must_use]
    pub fn operations(&self) -> &[RowOperation] {
        &self.operations
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// Which values, by row and column, are as before and not sent.
    #[must_use]
    pub fn unchanged(&self) -> &[(usize, usize)] {
        &self.unchanged
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int32Array;

    use super::RowOperation::{Before, Delete, Insert, Update};
    use super::*;

    #[test]
    fn changes_fit_together_or_are_refused() {
        let changes = |operations: &[RowOperation], unchanged: &[(usize, usize)]| {
            let ids = Arc::new(Int32Array::from_iter_values(0..3));
            let rows = RecordBatch::try_from_iter([("id", ids as _)]).unwrap();
            RowChanges::new(0, operations.to_vec(), rows, unchanged.to_vec()).map(drop)
        };
        assert!(changes(&[Insert, Before, Update], &[(2, 0)]).is_ok());
        assert!(changes(&[Update, Update, Delete], &[(0, 0), (1, 0)]).is_ok());
        for (operations, unchanged) in [
            (&[Insert, Delete][..], &[][..]),
            (&[Insert, Update, Before], &[]),
            (&[Before, Insert, Insert], &[]),
            (&[Before, Before, Update], &[]),
            (&[Insert, Insert, Insert], &[(0, 0)]),
            (&[Update, Update, Update], &[(1, 0), (0, 0)]),
            (&[Update, Update, Update], &[(0, 1)]),
            (&[Update, Update, Update], &[(3, 0)]),
        ] {
            let error = changes(operations, unchanged).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{operations:?} {unchanged:?}");
        }
    }
}
