//! Caches for the tests, and the command to run on them.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use pillion::{Cache, TableDefinition};
use tempfile::TempDir;

/// Rows of the table `many`: more than the table format holds, and more than a pipe buffers.
pub(crate) const MANY_ROWS: i64 = 60_000;

/// A directory for one test, with a cache in it.
pub(crate) struct Dir {
    temp: TempDir,
}

impl Dir {
    /// Without a cache.
    pub(crate) fn empty() -> Self {
        Self { temp: tempfile::tempdir().unwrap() }
    }

    /// A cache with the table `items`.
    pub(crate) fn new() -> Self {
        let dir = Self::empty();
        let cache = dir.open();
        cache.define_table("items", TableDefinition::new(items()).primary_key(["id"])).unwrap();
        cache.close().unwrap();
        dir
    }

    /// A cache with the tables `items` and `many`.
    pub(crate) fn with_many() -> Self {
        let dir = Self::new();
        let cache = dir.open();
        cache.define_table("many", TableDefinition::new(many())).unwrap();
        cache.close().unwrap();
        dir
    }

    /// Opens the cache as its owner.
    pub(crate) fn open(&self) -> Cache {
        Cache::open(self.cache()).unwrap()
    }

    /// Directory of the cache.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// A file beside the cache.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Writes a file beside the cache.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        File::create(&path).unwrap().write_all(content.as_ref()).unwrap();
        path
    }

    /// Names of the files beside the cache.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.temp.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "cache");
        names.sort();
        names
    }

    /// The command, ready to be run on the cache.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
        command.args(arguments).env("PILLION_URL", self.cache()).current_dir(self.temp.path());
        command
    }

    /// Runs the command without input.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(arguments), "")
    }

    /// Runs the command with input.
    pub(crate) fn pipe(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Outcome {
        Outcome::of(&mut self.command(arguments), input)
    }

    /// The output of the command, which must not fail and must print nothing on standard error.
    pub(crate) fn answer(&self, arguments: &[&str]) -> String {
        self.run(arguments).answer()
    }
}

/// The outcome of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) bytes: Vec<u8>,
    /// Standard error.
    pub(crate) errors: String,
}

impl Outcome {
    /// Runs a command.
    pub(crate) fn of(command: &mut Command, input: impl AsRef<[u8]>) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Small enough for the pipe. Writing fails if the command closes the pipe without reading it.
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        let output = child.wait_with_output().unwrap();
        let code = output.status.code().expect("not killed by a signal");
        Self { code, bytes: output.stdout, errors: String::from_utf8(output.stderr).unwrap() }
    }

    /// Standard output as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    /// Standard output of a command that did not fail and printed nothing on standard error.
    #[track_caller]
    pub(crate) fn answer(self) -> String {
        assert_eq!((self.code, self.errors.as_str()), (0, ""), "{self:?}");
        String::from_utf8(self.bytes).unwrap()
    }

    /// Checks the exit code, and that standard error contains every one of `texts`.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.errors.starts_with("error: "), "{self:?}");
        for text in texts {
            assert!(self.errors.contains(text), "`{text}` is missing in: {}", self.errors);
        }
    }
}

/// Five rows with values that are hard to write: nulls, quotes, commas, line ends, wide letters, an escape.
pub(crate) fn items() -> RecordBatch {
    let names = [
        Some("plain"),
        Some("with \"quotes\", a comma"),
        None,
        Some("two\nlines"),
        Some("Größe 漢字 \u{1b}[31mred"),
    ];
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]))),
        ("name", Arc::new(StringArray::from(names.to_vec()))),
        ("price", Arc::new(Float64Array::from(vec![Some(0.5), Some(-1.25), None, Some(1e21), Some(3.0)]))),
        (
            "sold",
            Arc::new(TimestampMillisecondArray::from(vec![
                Some(1_357_034_400_123),
                None,
                Some(0),
                Some(1),
                Some(2),
            ])),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, name != "id")))
        .unwrap()
}

/// Many rows with a text of 30 letters each.
pub(crate) fn many() -> RecordBatch {
    let ids: Vec<i64> = (0..MANY_ROWS).collect();
    let texts: Vec<String> = ids.iter().map(|id| format!("row {id:026}")).collect();
    let columns: [(&str, ArrayRef); 2] =
        [("id", Arc::new(Int64Array::from(ids))), ("text", Arc::new(StringArray::from(texts)))];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Writes a batch as a Parquet file.
pub(crate) fn write_parquet(path: &Path, batch: &RecordBatch) {
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// All rows of a table, in the order of its first column.
pub(crate) fn rows(cache: &Cache, table: &str) -> RecordBatch {
    cache.sql(&format!("SELECT * FROM {table} ORDER BY 1"), &[]).unwrap().concat().unwrap()
}

/// Checks that two batches hold the same rows, ignoring what their schemas say about nulls.
#[track_caller]
pub(crate) fn assert_same_rows(left: &RecordBatch, right: &RecordBatch) {
    assert_eq!(left.num_rows(), right.num_rows());
    for (index, field) in right.schema().fields().iter().enumerate() {
        assert_eq!(left.schema().field(index).name(), field.name());
        assert_eq!(left.column(index), right.column(index), "column `{}`", field.name());
    }
}

/// Says that a test cannot run here, also to the file that `.ci/test` prints at its end, and where the test stands; fails where
/// everything must run.
#[track_caller]
pub(crate) fn not_run(why: impl std::fmt::Display) {
    assert!(std::env::var_os("PILLION_TEST_ALL").is_none(), "not run, and PILLION_TEST_ALL is set: {why}");
    let line = format!("not run: {why} ({})\n", std::panic::Location::caller());
    print!("{line}");
    let Some(path) = std::env::var_os("PILLION_TEST_REPORT") else { return };
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    // In one write, because other tests add their lines at the same time.
    file.write_all(line.as_bytes()).unwrap();
}
