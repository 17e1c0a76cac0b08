//! A SQLite file of one test.

use std::path::{Path, PathBuf};
use std::process::Command;

use pillion_sqlite::Sqlite;
use rusqlite::Connection;
use tempfile::TempDir;

/// A file in a folder of its own.
pub(crate) struct Database {
    dir: TempDir,
    path: PathBuf,
}

impl Database {
    /// An empty folder, in which `shop.db` is still to be made.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("shop.db");
        Self { dir, path }
    }

    /// A file that a script wrote.
    pub(crate) fn with(script: &str) -> Self {
        let database = Self::new();
        database.execute(script);
        database
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path with something behind it.
    pub(crate) fn beside(&self, ending: &str) -> PathBuf {
        format!("{}{ending}", self.path.display()).into()
    }

    pub(crate) fn source(&self) -> Sqlite {
        Sqlite::new(&self.path)
    }

    /// A connection that writes.
    pub(crate) fn connect(&self) -> Connection {
        let connection = Connection::open(&self.path).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        connection
    }

    /// Executes a script in a connection that is closed afterwards.
    pub(crate) fn execute(&self, script: &str) {
        self.connect().execute_batch(script).unwrap();
    }

    /// The names of all files in the folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// How many files of the folder this process has open.
    pub(crate) fn open_files(&self) -> usize {
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
        let dir = self.path.parent().unwrap();
        let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.starts_with(dir)).count()
    }

    /// Waits until this process has none of the files open. The runner of the tests ends a test that waits for ever.
    pub(crate) fn wait_until_left_alone(&self) {
        while self.open_files() > 0 {
            std::thread::yield_now();
        }
    }
}

/// Copies a file in a process of its own: a process that closes a file gives up all locks that it has on it.
pub(crate) fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}
