//! What a connection shares with its sidecar, so that answers need not come through the socket, and what it knows of its
//! tables.

use std::any::Any;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use pillion_ipc::Lease;

use crate::answer::cells::CellColumns;
use crate::storage::{FileId, Files, Region};
use crate::types::error::{Error, ErrorCode, Result};
use crate::wire::{DirIdentity, Memory, decode_schema};

/// How often to look for mapped files that the sidecar removed: their disk space becomes free only when they are
/// unmapped.
const PRUNE_INTERVAL: Duration = Duration::from_secs(1);

/// Tables whose columns are remembered; when there are more, all are forgotten and asked for again.
const TABLES_KNOWN_MAX: usize = 1024;

/// Longest columns of an answer that are remembered, in bytes.
const SCHEMA_KEPT_LEN: usize = 64 << 10;

/// Memory and files of a sidecar that this process can read.
#[derive(Debug, Default)]
pub(super) struct SharedPages {
    /// Whether the sidecar heeds the bounds of single reads.
    heeds_bounds: bool,
    arena: Option<ArenaView>,
    files: Option<FilesView>,
    /// Columns of the tables that this process asked for: answers to lookups do not repeat them. Read without a lock,
    /// which a forked child could find held for ever.
    tables: ArcSwap<HashMap<u64, Columns>>,
    /// Columns of the last answer of many rows: those of the next one are often the same.
    last_answer: ArcSwapOption<SentSchema>,
}

/// Columns as they were sent, and as they are.
#[derive(Debug)]
struct SentSchema {
    bytes: Vec<u8>,
    schema: SchemaRef,
}

/// The columns of a table.
#[derive(Clone, Debug)]
struct Columns {
    schema: SchemaRef,
    /// `None` if rows of the table cannot be sent as cells.
    cells: Option<Arc<CellColumns>>,
}

impl SharedPages {
    pub(super) fn new(arena: Option<ArenaView>, files: Option<FilesView>, heeds_bounds: bool) -> Self {
        Self { heeds_bounds, arena, files, ..Self::default() }
    }

    /// Whether the sidecar heeds the bounds of single reads.
    pub(super) fn heeds_bounds(&self) -> bool {
        self.heeds_bounds
    }

    /// Whether there are files.
    pub(super) fn has_files(&self) -> bool {
        self.files.is_some()
    }

    /// The columns of a table, if they are known.
    pub(super) fn schema(&self, table: u64) -> Option<SchemaRef> {
        self.tables.load().get(&table).map(|columns| columns.schema.clone())
    }

    /// How rows of a table are sent as cells. `None` if its columns are not known, `Some(None)` if its rows cannot be
    /// sent so.
    pub(super) fn cells(&self, table: u64) -> Option<Option<Arc<CellColumns>>> {
        self.tables.load().get(&table).map(|columns| columns.cells.clone())
    }

    /// Remembers the columns of a table.
    pub(super) fn learn_schema(&self, table: u64, schema: &SchemaRef) {
        if self.tables.load().contains_key(&table) {
            return;
        }
        let learned = Columns { schema: schema.clone(), cells: CellColumns::of(schema).map(Arc::new) };
        self.tables.rcu(|tables| {
            // Tables that are needed again are asked for again.
            let is_full = tables.len() >= TABLES_KNOWN_MAX;
            let mut tables = if is_full { HashMap::new() } else { HashMap::clone(tables) };
            tables.insert(table, learned.clone());
            tables
        });
    }

    /// The columns of an answer.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for bytes that are not columns.
    pub(super) fn answer_schema(&self, bytes: &[u8]) -> Result<SchemaRef> {
        if let Some(last) = self.last_answer.load().as_ref()
            && last.bytes == bytes
        {
            return Ok(last.schema.clone());
        }
        let schema = decode_schema(bytes)?;
        if bytes.len() <= SCHEMA_KEPT_LEN {
            let sent = SentSchema { bytes: bytes.to_vec(), schema: schema.clone() };
            self.last_answer.store(Some(Arc::new(sent)));
        }
        Ok(schema)
    }

    /// Leases that are not needed any more and that the sidecar was not told of yet.
    pub(super) fn take_returns(&self) -> Vec<u64> {
        self.arena.as_ref().map(|arena| std::mem::take(&mut *arena.returns.lock())).unwrap_or_default()
    }
}

impl Memory for SharedPages {
    fn lease(&self, lease: Lease) -> Result<(Region, Arc<dyn Any + Send + Sync>)> {
        let arena = self
            .arena
            .as_ref()
            .ok_or_else(|| Error::internal("the sidecar sent an answer in memory that it does not share"))?;
        let guard = Arc::new(HeldLease { id: lease.id, returns: arena.returns.clone() });
        arena.populate(&lease)?;
        Ok((arena.region.clone(), guard))
    }

    fn file(&self, file: FileId) -> Result<Region> {
        let files = self
            .files
            .as_ref()
            .ok_or_else(|| Error::internal("the sidecar sent an answer in files that it does not share"))?;
        files.map(file)
    }
}

/// Memory that the sidecar writes.
#[derive(Debug)]
pub(super) struct ArenaView {
    region: Region,
    /// Bytes from the start whose pages this process has mapped in.
    populated: AtomicUsize,
    returns: Arc<Mutex<Vec<u64>>>,
}

impl ArenaView {
    /// Maps memory that came from the sidecar. Its seals keep the sidecar from taking it away.
    pub(super) fn map(memory: &File) -> Result<Self> {
        let region = Region::map(memory).map_err(|error| {
            Error::new(ErrorCode::Io, "cannot map the sidecar's memory").with_source(error)
        })?;
        Ok(Self { region, populated: AtomicUsize::new(0), returns: Arc::default() })
    }

    /// Maps the pages of a lease in: one call for many pages costs less than a fault for each.
    fn populate(&self, lease: &Lease) -> Result<()> {
        let Some(end) = lease.offset.checked_add(lease.len).filter(|end| *end <= self.region.len()) else {
            return Err(Error::internal("the sidecar sent an answer outside of the memory that it shares"));
        };
        let before = self.populated.fetch_max(end, Ordering::Relaxed);
        if before < end {
            let failed =
                |error| Error::new(ErrorCode::Io, "cannot read the sidecar's memory").with_source(error);
            self.region.populate(before, end - before).map_err(failed)?;
        }
        Ok(())
    }
}

/// A lease that arrays still use.
struct HeldLease {
    id: u64,
    returns: Arc<Mutex<Vec<u64>>>,
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.returns.lock().push(self.id);
    }
}

/// The cache directory of the sidecar, as this process sees it.
#[derive(Debug)]
pub(super) struct FilesView {
    files: Files,
    mapped: Mutex<Mapped>,
}

#[derive(Debug)]
struct Mapped {
    regions: HashMap<FileId, Region>,
    pruned_at: Instant,
}

impl FilesView {
    /// The directory at `dir`, if the sidecar means the same one.
    pub(super) fn find(dir: &Path, identity: DirIdentity) -> Option<Self> {
        let files = Files::below(dir).ok()?;
        // Opening the file also shows that it is readable.
        File::open(files.head_path()).ok()?;
        let (device, inode) = files.identity()?;
        (DirIdentity { device, inode } == identity).then(|| Self {
            files,
            mapped: Mutex::new(Mapped { regions: HashMap::new(), pruned_at: Instant::now() }),
        })
    }

    fn map(&self, file: FileId) -> Result<Region> {
        let mut mapped = self.mapped.lock();
        if mapped.pruned_at.elapsed() >= PRUNE_INTERVAL {
            mapped.pruned_at = Instant::now();
            mapped.regions.retain(|file, _| self.files.segment_path(file.table, file.segment).exists());
        }
        if let Some(region) = mapped.regions.get(&file) {
            return Ok(region.clone());
        }
        let path = self.files.segment_path(file.table, file.segment);
        let region = self.files.vfs.map(&path).map_err(|error| Error::io("map", &path, error))?;
        mapped.regions.insert(file, region.clone());
        Ok(region)
    }
}
