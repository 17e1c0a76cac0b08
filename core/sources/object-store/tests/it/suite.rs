//! What every source must show, for files on disk.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use pillion::Value;
use pillion::source::{Relation, Source};
use pillion_conformance::sources::{SourceUnderTest, check};
use pillion_object_store::{Location, ObjectStoreSource};

use crate::support::files::{numbers, parquet, write};

struct Tested<'a, P: Fn(&str, Vec<u8>)> {
    source: Arc<ObjectStoreSource>,
    put: &'a P,
}

const LARGE: usize = 200_000;

fn csv(batch: &RecordBatch) -> Vec<u8> {
    let rows = crate::support::shown(batch);
    format!("id,text\n{}\n", rows.join("\n")).into_bytes()
}

impl<P: Fn(&str, Vec<u8>)> SourceUnderTest for Tested<'_, P> {
    fn source(&self) -> Arc<dyn Source> {
        self.source.clone()
    }

    fn relation(&self) -> Relation {
        Relation::table("some/*")
    }

    fn rows(&self) -> RecordBatch {
        numbers(0, 30)
    }

    fn missing(&self) -> Relation {
        Relation::table("no/such/file.csv")
    }

    fn large(&self) -> (Relation, usize) {
        (Relation::table("large/*.csv"), LARGE)
    }

    fn position(&self) -> Option<(String, Value)> {
        None
    }

    fn change(&self) {
        (self.put)("some/b.csv", csv(&numbers(10, 5)));
    }
}

/// Runs the suite over files that `put` writes. Returns how many checks it has.
pub(crate) fn run(source: ObjectStoreSource, put: &impl Fn(&str, Vec<u8>)) -> usize {
    put("some/a.parquet", parquet(&numbers(0, 10), 4));
    put("some/b.csv", csv(&numbers(10, 10)));
    put("some/c.arrow", crate::support::files::arrow_file(&numbers(20, 10)));
    put("large/1.csv", csv(&numbers(0, LARGE / 2)));
    put("large/2.csv", csv(&numbers(0, LARGE / 2)));
    check(&Tested { source: Arc::new(source), put })
}

#[test]
fn files_on_disk_are_a_source() {
    let dir = tempfile::tempdir().unwrap();
    let root: &Path = dir.path();
    let source = ObjectStoreSource::new(Location::new(format!("file://{}", root.display()))).unwrap();
    let checks = run(source, &|path: &str, bytes: Vec<u8>| write(root, path, bytes));
    assert!(checks > 10);
}
