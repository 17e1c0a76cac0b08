//! One committed state of the cache: which tables there are and which segments make them up.
//!
//! States are immutable and share what did not change, so that a reader holds one for as long as it likes.

use std::collections::{BTreeMap, HashMap};
#[cfg(feature = "sidecar")]
use std::os::unix::fs::MetadataExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use arrow::ipc::MetadataVersion;
use arrow::ipc::convert::try_schema_from_ipc_buffer;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};

use super::edit::{CatalogRecord, Edit, SegmentRecord, TableContentRecord, TableRecord};
use super::format::SEGMENT_ALIGNMENT;
use super::key;
use super::maps::{FileId, Maps};
use super::segment::Segment;
use super::vfs::{OsVfs, Vfs};
use crate::api::error::{Error, ErrorCode, Result};
use crate::api::version::Version;

/// How many incarnations a state remembers; a reader that slept through more is told that its version may be lost.
const INCARNATIONS_KEPT: usize = 64;

/// Where segments lie and how they are read.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The cache directory.
    pub(crate) dir: PathBuf,
    /// Access to it.
    pub(crate) vfs: Arc<dyn Vfs>,
    /// Segments that are mapped now.
    pub(crate) maps: Arc<Maps>,
}

impl Files {
    /// A cache directory of the operating system's files.
    pub(crate) fn below(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir).map_err(|error| Error::io("find", dir, error))?;
        Ok(Self::new(dir, Arc::new(OsVfs)))
    }

    /// A cache directory with other access to it; the path is absolute.
    pub(crate) fn new(dir: PathBuf, vfs: Arc<dyn Vfs>) -> Self {
        Self { dir, vfs, maps: Arc::default() }
    }

    /// Device and inode of the page that readers follow: two processes that find the same see the same directory, by
    /// whatever path. `None` if it is not there.
    #[cfg(feature = "sidecar")]
    pub(crate) fn identity(&self) -> Option<(u64, u64)> {
        let metadata = self.head_path().metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    }

    /// Folder of a table.
    pub(crate) fn table_dir(&self, table: u64) -> PathBuf {
        self.dir.join("tables").join(table.to_string())
    }

    /// Path of a segment.
    pub(crate) fn segment_path(&self, table: u64, segment: u64) -> PathBuf {
        self.table_dir(table).join(format!("{segment}.arrow"))
    }

    /// Folder of the log.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Page that readers in other processes follow.
    pub(crate) fn head_path(&self) -> PathBuf {
        self.live_dir().join("head")
    }

    /// Folder of what is rebuilt at every open.
    pub(crate) fn live_dir(&self) -> PathBuf {
        self.dir.join("live")
    }

    /// Folder of files that are worth nothing after a crash.
    pub(crate) fn tmp_dir(&self) -> PathBuf {
        self.dir.join("tmp")
    }
}

/// What of a table never changes.
#[derive(Debug)]
pub(crate) struct TableShape {
    /// Its number.
    pub(crate) id: u64,
    /// Its name.
    pub(crate) name: String,
    /// Its columns.
    pub(crate) schema: SchemaRef,
    /// Columns of its primary key; none: no key.
    pub(crate) primary_key: Vec<usize>,
    /// Columns by which every segment is sorted; none: as they came.
    pub(crate) sort_by: Vec<usize>,
}

impl TableShape {
    fn from_record(record: &TableRecord) -> Result<Self> {
        let damaged = |what: String| {
            Error::new(ErrorCode::Corrupt, format!("definition of table `{}`: {what}", record.name))
        };
        // The bytes passed a checksum, but Arrow panics on a malformed schema and a panic must not leave here.
        let schema = catch_unwind(|| try_schema_from_ipc_buffer(&record.schema))
            .map_err(|_| damaged("schema not understood".to_owned()))?
            .map_err(|error| damaged("schema not understood".to_owned()).with_source(error))?;
        let columns = |names: &[String]| -> Result<Vec<usize>> {
            names
                .iter()
                .map(|name| schema.index_of(name).map_err(|error| damaged(error.to_string())))
                .collect()
        };
        Ok(Self {
            id: record.id,
            name: record.name.clone(),
            primary_key: columns(&record.primary_key)?,
            sort_by: columns(&record.sort_by)?,
            schema: Arc::new(schema),
        })
    }

    pub(crate) fn to_record(&self) -> Result<TableRecord> {
        let names = |columns: &[usize]| {
            columns.iter().map(|&column| self.schema.field(column).name().clone()).collect()
        };
        let internal = |error| Error::internal("cannot encode a schema").with_source(error);
        let options =
            IpcWriteOptions::try_new(SEGMENT_ALIGNMENT, false, MetadataVersion::V5).map_err(internal)?;
        let message = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
            &self.schema,
            &mut DictionaryTracker::new(true),
            &options,
        );
        let mut schema = Vec::new();
        write_message(&mut schema, message, &options).map_err(internal)?;
        Ok(TableRecord {
            id: self.id,
            name: self.name.clone(),
            schema,
            primary_key: names(&self.primary_key),
            sort_by: names(&self.sort_by),
        })
    }
}

/// A segment that belongs to a table; its file is opened at first use.
#[derive(Debug)]
pub(crate) struct SegmentHandle {
    record: SegmentRecord,
    shape: Arc<TableShape>,
    files: Files,
    opened: OnceLock<Segment>,
}

impl SegmentHandle {
    pub(crate) fn new(record: SegmentRecord, shape: Arc<TableShape>, files: Files) -> Self {
        Self { record, shape, files, opened: OnceLock::new() }
    }

    /// What the catalog knows of it.
    pub(crate) fn record(&self) -> &SegmentRecord {
        &self.record
    }

    /// Columns of its table.
    #[inline]
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.shape.schema
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> PathBuf {
        self.files.segment_path(self.shape.id, self.record.id)
    }

    /// The open segment.
    ///
    /// # Errors
    /// [`ErrorCode::Corrupt`] or [`ErrorCode::Io`]; the next call tries again.
    #[inline]
    pub(crate) fn open(&self) -> Result<&Segment> {
        match self.opened.get() {
            Some(segment) => Ok(segment),
            None => self.open_now(),
        }
    }

    #[cold]
    fn open_now(&self) -> Result<&Segment> {
        let shape = &self.shape;
        let vfs = self.files.vfs.as_ref();
        let segment =
            Segment::open(vfs, self.path(), shape.schema.clone(), shape.primary_key.clone(), &self.record)?;
        Ok(self.opened.get_or_init(|| {
            let file = FileId { table: shape.id, segment: self.record.id };
            self.files.maps.insert(segment.region(), file);
            segment
        }))
    }

    /// Whether a key can be in it by its bounds.
    #[inline]
    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        self.record.min_key.as_slice() <= key && key <= self.record.max_key.as_slice()
    }
}

impl Drop for SegmentHandle {
    fn drop(&mut self) {
        // Whoever asks from now on may find the file removed.
        if let Some(segment) = self.opened.get() {
            self.files.maps.remove(segment.region());
        }
    }
}

/// A table at one version.
#[derive(Clone, Debug)]
pub(crate) struct TableState {
    /// What of it never changes.
    pub(crate) shape: Arc<TableShape>,
    /// Its segments, oldest first.
    pub(crate) segments: Vec<Arc<SegmentHandle>>,
    /// See [`Edit::SetFreshness`].
    pub(crate) as_of: Option<i64>,
}

impl TableState {
    /// Rows of the table.
    pub(crate) fn rows(&self) -> u64 {
        self.segments.iter().map(|segment| segment.record.rows).sum()
    }

    /// Bytes of its segments on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.record.len).sum()
    }

    /// The segment and row that carry an encoded key.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<(&Arc<SegmentHandle>, u32)>> {
        let hash = key::hash(key);
        for segment in self.segments.iter().rev().filter(|segment| segment.may_hold(key)) {
            if let Some(row) = segment.open()?.find(hash, key)? {
                return Ok(Some((segment, row)));
            }
        }
        Ok(None)
    }
}

/// A committed state.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Its version.
    pub(crate) version: Version,
    /// The newest incarnations, this one among them, and the sequence of the last commit before each, oldest first: it
    /// tells a reader of an earlier one whether commits that it saw were lost.
    pub(crate) incarnations: Vec<(u64, u64)>,
    /// Tables by number.
    pub(crate) tables: BTreeMap<u64, Arc<TableState>>,
    /// Numbers by name.
    pub(crate) names: HashMap<String, u64>,
    /// Number of the next table.
    pub(crate) next_table: u64,
    /// Number of the next segment, as far as commits tell.
    pub(crate) next_segment: u64,
}

impl State {
    /// The state that a manifest describes.
    pub(crate) fn from_record(version: Version, record: &CatalogRecord, files: &Files) -> Result<Self> {
        let mut state = Self {
            version,
            incarnations: record.incarnations.clone(),
            tables: BTreeMap::new(),
            names: HashMap::new(),
            next_table: record.next_table,
            next_segment: record.next_segment,
        };
        for content in &record.tables {
            let table = content.table.id;
            state.apply(&Edit::DefineTable(content.table.clone()), files)?;
            state.apply(&Edit::AddSegments { table, segments: content.segments.clone() }, files)?;
            if let Some(as_of) = content.as_of {
                state.apply(&Edit::SetFreshness { table, as_of }, files)?;
            }
        }
        Ok(state)
    }

    /// The description of this state in a manifest.
    pub(crate) fn to_record(&self, log: u64) -> Result<CatalogRecord> {
        let tables = self.tables.values().map(|table| {
            Ok(TableContentRecord {
                table: table.shape.to_record()?,
                segments: table.segments.iter().map(|segment| segment.record.clone()).collect(),
                as_of: table.as_of,
            })
        });
        Ok(CatalogRecord {
            log,
            incarnations: self.incarnations.clone(),
            next_table: self.next_table,
            next_segment: self.next_segment,
            tables: tables.collect::<Result<_>>()?,
        })
    }

    /// Begins an incarnation behind the last commit; it takes a sequence of its own.
    pub(crate) fn begin_incarnation(&mut self, incarnation: u64) {
        self.incarnations.push((incarnation, self.version.sequence));
        let superfluous = self.incarnations.len().saturating_sub(INCARNATIONS_KEPT);
        self.incarnations.drain(..superfluous);
        self.version = Version { incarnation, sequence: self.version.sequence + 1 };
    }

    /// Whether everything that was committed up to `version` is in this state; `None` if it is of another cache, or of an
    /// incarnation that was forgotten.
    pub(crate) fn includes(&self, version: Version) -> Option<bool> {
        let position =
            self.incarnations.iter().position(|&(incarnation, _)| incarnation == version.incarnation)?;
        let ended_at =
            self.incarnations.get(position + 1).map_or(self.version.sequence, |&(_, ended_at)| ended_at);
        Some(version.sequence <= ended_at)
    }

    /// Applies one edit of a commit.
    ///
    /// # Errors
    /// [`ErrorCode::Corrupt`] if the edit does not fit the state.
    pub(crate) fn apply(&mut self, edit: &Edit, files: &Files) -> Result<()> {
        match edit {
            Edit::DefineTable(record) => {
                let shape = Arc::new(TableShape::from_record(record)?);
                self.next_table = self.next_table.max(record.id.saturating_add(1));
                self.names.insert(record.name.clone(), record.id);
                self.tables
                    .insert(record.id, Arc::new(TableState { shape, segments: Vec::new(), as_of: None }));
            }
            Edit::DropTable { table } => {
                if let Some(dropped) = self.tables.remove(table) {
                    self.names.remove(&dropped.shape.name);
                }
            }
            Edit::AddSegments { table, segments } => {
                let last = segments.iter().map(|segment| segment.id.saturating_add(1)).max();
                self.next_segment = self.next_segment.max(last.unwrap_or_default());
                let state = self.table_mut(*table)?;
                let shape = state.shape.clone();
                state.segments.extend(segments.iter().map(|record| {
                    Arc::new(SegmentHandle::new(record.clone(), shape.clone(), files.clone()))
                }));
            }
            Edit::DropSegments { table, segments } => {
                self.table_mut(*table)?.segments.retain(|segment| !segments.contains(&segment.record.id));
            }
            Edit::SetFreshness { table, as_of } => self.table_mut(*table)?.as_of = Some(*as_of),
        }
        Ok(())
    }

    /// A table by name.
    ///
    /// # Errors
    /// [`ErrorCode::TableNotFound`], naming the nearest table there is.
    pub(crate) fn table(&self, name: &str) -> Result<&Arc<TableState>> {
        self.names.get(name).and_then(|id| self.tables.get(id)).ok_or_else(|| self.not_found(name))
    }

    fn not_found(&self, name: &str) -> Error {
        let known = self.names.keys().map(String::as_str);
        let hint = crate::api::error::suggestion(name, known);
        Error::new(ErrorCode::TableNotFound, format!("there is no table `{name}`{hint}"))
    }

    /// Takes over the open segments of another state, where both have them.
    pub(crate) fn adopt(&mut self, other: &Self) {
        for (id, table) in &mut self.tables {
            let Some(known) = other.tables.get(id) else { continue };
            for segment in &mut Arc::make_mut(table).segments {
                let wanted = (segment.record.id, segment.record.directory_checksum);
                let held = known
                    .segments
                    .iter()
                    .find(|held| (held.record.id, held.record.directory_checksum) == wanted);
                if let Some(held) = held {
                    *segment = held.clone();
                }
            }
        }
    }

    /// Maps every segment that is not mapped yet. A damaged one is left to the reads that need it.
    ///
    /// # Errors
    /// [`ErrorCode::Io`] if a file is not there or cannot be read.
    pub(crate) fn open_segments(&self) -> Result<()> {
        let mut segments = self.tables.values().flat_map(|table| &table.segments);
        segments.try_for_each(|segment| match segment.open() {
            Err(error) if error.code() != ErrorCode::Corrupt => Err(error),
            _ => Ok(()),
        })
    }

    /// Paths of all segments.
    pub(crate) fn segment_paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.tables.values().flat_map(|table| table.segments.iter().map(|segment| segment.path()))
    }

    fn table_mut(&mut self, id: u64) -> Result<&mut TableState> {
        let table = self.tables.get_mut(&id);
        table.map(Arc::make_mut).ok_or_else(|| {
            Error::new(ErrorCode::Corrupt, format!("an edit names table {id}, which there is not"))
        })
    }
}
