//! What several tests need.

#[path = "../../../../tests/rows.rs"]
mod fetched;
pub(crate) mod lake;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../../object-store/tests/it/support/proxy.rs"]
pub(crate) mod proxy;
#[path = "../../../../../tests/it/support/report.rs"]
pub(crate) mod report;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../../object-store/tests/it/support/s3.rs"]
pub(crate) mod s3;

use arrow::array::RecordBatch;
use pillion::source::{Relation, Source};

pub(crate) use self::fetched::{all as try_rows, failure, names_and_types as columns, patient as call};

/// All rows of a relation, as many as were described.
#[track_caller]
pub(crate) fn rows(source: &dyn Source, relation: &Relation) -> RecordBatch {
    let found = fetched::rows(source, relation);
    if let Some(rows) = source.describe(relation, &call()).unwrap().expected_rows() {
        assert_eq!(rows, found.num_rows() as u64);
    }
    found
}

/// Rows as texts in their order: values with a comma between them, and `-` for a null.
pub(crate) fn shown(batch: &RecordBatch) -> Vec<String> {
    let mut rows = fetched::shown(batch);
    rows.sort();
    rows
}
