//! What every source must show, for tables on disk and on S3.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use pillion::Value;
use pillion::source::{Relation, Source};
use pillion_conformance::sources::{SourceUnderTest, check};
use pillion_delta::DeltaSource;

use crate::support::lake::Lake;

struct Tested<'a> {
    source: Arc<DeltaSource>,
    lake: &'a Lake,
}

const LARGE: usize = 200_000;

impl SourceUnderTest for Tested<'_> {
    fn source(&self) -> Arc<dyn Source> {
        self.source.clone()
    }

    fn relation(&self) -> Relation {
        Relation::table("some")
    }

    fn rows(&self) -> RecordBatch {
        let texts: Vec<String> = (0..30).map(|number| format!("text {number}")).collect();
        let columns: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(Int64Array::from_iter_values(0..30))),
            ("text", Arc::new(StringArray::from(texts))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn missing(&self) -> Relation {
        Relation::table("no/such/table")
    }

    fn large(&self) -> (Relation, usize) {
        (Relation::table("large"), LARGE)
    }

    fn position(&self) -> Option<(String, Value)> {
        Some(("id".to_owned(), Value::Int(12)))
    }

    fn change(&self) {
        self.lake.run("write('some', numbers(30, 1))");
    }
}

/// Runs the suite over tables that it writes. Returns how many checks it has.
pub(crate) fn run(source: DeltaSource, lake: &Lake) -> usize {
    lake.run(&format!(
        "for first in (0, 10, 20): write('some', numbers(first, 10))\n\
         for first in (0, {half}): write('large', numbers(first, {half}))",
        half = LARGE / 2
    ));
    check(&Tested { source: Arc::new(source), lake })
}

#[test]
fn tables_on_disk_are_a_source() {
    let Some(lake) = Lake::new() else { return };
    assert!(run(lake.source(), &lake) > 10);
}
