//! A version of a table: its columns, and the files that its log says it has.

use std::sync::Arc;

use delta_kernel::scan::state::ScanFile;
use delta_kernel::scan::{Scan, ScanBuilder};
use delta_kernel::{KernelResult, Snapshot, SnapshotRef};
use pillion::Result;
use pillion::source::Relation;
use url::Url;

use crate::columns::Columns;
use crate::engine::TableEngine;
use crate::failures::ask;
use crate::head::Head;

/// A version of a table that was opened for the time of a call.
pub(crate) struct Table {
    pub(crate) engine: TableEngine,
    pub(crate) snapshot: SnapshotRef,
    pub(crate) head: Head,
    pub(crate) columns: Columns,
    /// How errors name it.
    pub(crate) shown: String,
}

impl Table {
    /// # Errors
    /// Those of names in the relation.
    pub(crate) fn new(
        engine: TableEngine,
        snapshot: SnapshotRef,
        head: Head,
        shown: String,
        relation: &Relation,
    ) -> Result<Self> {
        let columns = Columns::new(&shown, &snapshot.schema(), relation)?;
        Ok(Self { engine, snapshot, head, columns, shown })
    }

    /// Where its files are.
    pub(crate) fn root(&self) -> &Url {
        self.snapshot.table_root()
    }

    /// Asks the kernel something; see [`ask`].
    ///
    /// # Errors
    /// As [`ask`].
    pub(crate) fn ask<T>(&self, work: impl FnOnce() -> KernelResult<T>) -> Result<T> {
        ask(&self.shown, self.engine.files.call(), work)
    }

    /// A scan of all files, or of those that the kernel can choose.
    ///
    /// # Errors
    /// As [`ask`].
    pub(crate) fn scan(
        &self,
        scanned: impl FnOnce(ScanBuilder) -> KernelResult<ScanBuilder>,
    ) -> Result<Scan> {
        self.ask(|| scanned(self.snapshot.clone().scan_builder())?.build())
    }

    /// The files of a scan, the oldest ones first.
    ///
    /// # Errors
    /// As [`ask`].
    pub(crate) fn files(&self, scan: &Scan) -> Result<Vec<ScanFile>> {
        let mut found = self.ask(|| scan.scan_metadata(&self.engine))?;
        let mut files = Vec::new();
        while let Some(some) = self.ask(|| found.next().transpose())? {
            files = self
                .ask(|| some.visit_scan_files(files, |files: &mut Vec<ScanFile>, file| files.push(file)))?;
        }
        files.sort_by(|a, b| (a.modification_time, &a.path).cmp(&(b.modification_time, &b.path)));
        Ok(files)
    }
}

/// Reads the log of a table up to a version.
///
/// # Errors
/// As [`ask`].
pub(crate) fn snapshot(engine: &TableEngine, shown: &str, root: &Url, version: u64) -> Result<Arc<Snapshot>> {
    let snapshot = || Snapshot::builder_for(root.as_str()).at_version(version).build(engine);
    ask(shown, engine.files.call(), snapshot)
}

/// How many rows files have, if their log says it of all.
pub(crate) fn rows_of(files: &[ScanFile]) -> Option<u64> {
    let rows = |file: &ScanFile| {
        let deleted = file.dv_info.cardinality().ok()?.unwrap_or(0);
        Some(file.stats.as_ref()?.num_records.saturating_sub(deleted))
    };
    files.iter().map(rows).sum()
}

/// How many bytes files have.
pub(crate) fn bytes_of(files: &[ScanFile]) -> u64 {
    files.iter().map(|file| file.size.max(0).unsigned_abs()).sum()
}
