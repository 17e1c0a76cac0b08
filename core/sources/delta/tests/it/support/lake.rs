//! Tables of Delta Lake on disk and on S3, written by the Python package `deltalake`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::ipc::reader::StreamReader;
use pillion_delta::{DeltaSource, Location};
use tempfile::TempDir;

use super::report;

const WRITER: &str = include_str!("../lake.py");

/// A folder with tables. It goes when dropped.
pub(crate) struct Lake {
    dir: TempDir,
    python: PathBuf,
    /// Where tables are, if not in the folder.
    url: Option<String>,
    options: String,
}

impl Lake {
    /// `None`, after a report, if the package is not installed.
    #[track_caller]
    pub(crate) fn new() -> Option<Self> {
        let python =
            std::env::var_os("PILLION_TEST_DELTA").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
        let look =
            Command::new(&python).args(["-c", "import deltalake, pyarrow"]).stderr(Stdio::null()).status();
        if !look.is_ok_and(|status| status.success()) {
            report::not_run("no Python with the package `deltalake` to write Delta tables");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("lake.py"), WRITER).unwrap();
        Some(Self { dir, python, url: None, options: "{}".to_owned() })
    }

    /// Tables are written there instead, with options of the writer in JSON.
    pub(crate) fn at(mut self, url: &str, options: String) -> Self {
        (self.url, self.options) = (Some(url.to_owned()), options);
        self
    }

    /// The folder of the tables on disk.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("tables")
    }

    pub(crate) fn source(&self) -> DeltaSource {
        fs::create_dir_all(self.path()).unwrap();
        DeltaSource::new(Location::new(self.path().to_str().unwrap())).unwrap()
    }

    /// Runs a text of Python; see `lake.py` for what it can use. Returns what it prints.
    #[track_caller]
    pub(crate) fn run(&self, text: &str) -> String {
        let root = self.url.clone().unwrap_or_else(|| self.path().to_str().unwrap().to_owned());
        let mut child = Command::new(&self.python)
            .arg(self.dir.path().join("lake.py"))
            .arg(root)
            .env("LAKE_OPTIONS", &self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The rows of a table as delta-rs itself reads them.
    #[track_caller]
    pub(crate) fn answer(&self, table: &str) -> RecordBatch {
        let path = self.dir.path().join("answer.arrows");
        self.run(&format!("answer({table:?}, {:?})", path.to_str().unwrap()));
        let reader = StreamReader::try_new(fs::File::open(&path).unwrap(), None).unwrap();
        let schema = reader.schema();
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        concat_batches(&schema, &batches).unwrap()
    }

    /// The data files of a table, in the order of their names.
    pub(crate) fn data_files(&self, table: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.path().join(table)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                let path: PathBuf = entry.path();
                if path.is_dir() && path.file_name() != Some("_delta_log".as_ref()) {
                    folders.push(path);
                } else if path.extension() == Some("parquet".as_ref()) {
                    files.push(path);
                }
            }
        }
        files.sort();
        files
    }

    /// A file of the log of a table.
    pub(crate) fn log_file(&self, table: &str, version: u64) -> PathBuf {
        self.path().join(table).join(format!("_delta_log/{version:020}.json"))
    }
}

/// Removes files of which others say that they are there.
pub(crate) fn remove(files: &[impl AsRef<Path>]) {
    for file in files {
        fs::remove_file(file).unwrap();
    }
}
