//! A second reader: data sets that pyarrow writes in many ways give what pyarrow reads of them.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::ipc::reader::FileReader;
use pillion::source::Relation;

use crate::support::{local, report, rows};

const SCRIPT: &str = include_str!("oracle.py");

/// A Python that has pyarrow: the one that compares files that the command loads, or any.
fn python() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../target")),
        PathBuf::from,
    );
    let named = std::env::var_os("PILLION_TEST_PYTHON").map(PathBuf::from);
    let candidates = [named, Some(target.join("oracle-venv/bin/python")), Some(PathBuf::from("python3"))];
    let has_it = |python: &PathBuf| {
        Command::new(python)
            .args(["-c", "import pyarrow.dataset"])
            .output()
            .is_ok_and(|done| done.status.success())
    };
    candidates.into_iter().flatten().find(has_it)
}

#[test]
fn data_sets_of_pyarrow_give_what_it_reads() {
    let Some(python) = python() else {
        return report::not_run("no Python with pyarrow to compare data sets with");
    };
    let dir = tempfile::tempdir().unwrap();
    let seed = std::env::var("PILLION_TEST_SEED").unwrap_or_else(|_| "20130101".to_owned());
    let done = Command::new(python).args(["-c", SCRIPT, &seed]).current_dir(dir.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut compared = 0;
    for line in String::from_utf8(done.stdout).unwrap().lines() {
        let (pattern, expected) = line.split_once(' ').unwrap();
        let reader = FileReader::try_new(File::open(dir.path().join(expected)).unwrap(), None).unwrap();
        let schema = reader.schema();
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        let expected = concat_batches(&schema, &batches).unwrap();
        let found = rows(&local(dir.path()), &Relation::table(pattern));
        assert_eq!(found.num_rows(), expected.num_rows(), "{pattern} of seed {seed}");
        assert_eq!(found.num_columns(), expected.num_columns(), "{pattern} of seed {seed}");
        for (field, column) in schema.fields().iter().zip(expected.columns()) {
            let found = found.column_by_name(field.name()).unwrap();
            assert_eq!(found, column, "{pattern} of seed {seed}, column {}", field.name());
        }
        compared += 1;
    }
    assert!(compared > 10);
    report::add(format_args!("data sets compared with pyarrow: {compared}"));
}
