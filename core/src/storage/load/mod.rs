//! Turns a stream of rows into the segments of one run: checked, sorted, keys unique.

pub(crate) mod sort;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use crate::storage::batch::{BATCH_BYTES_TARGET, Rebatch};
use crate::storage::catalog::edit::SegmentRecord;
use crate::storage::catalog::files::Files;
use crate::storage::format::{BATCH_ROWS, SEGMENT_BYTES_TARGET, SEGMENT_ROWS_MAX};
use crate::storage::key;
use crate::storage::load::sort::Sorter;
use crate::storage::segment::{Segment, SegmentHandle, SegmentWriter};
use crate::storage::store::pace::Pace;
use crate::storage::table::{TableShape, TableState};
use crate::storage::tail::KeyColumn;
use crate::types::error::{Error, Result};

/// If the pace is limited, a segment is synced each time this many bytes were written, and not only at its end.
const SYNC_BYTES: u64 = 8 << 20;

/// What a load needs to know.
pub(crate) struct Load<'a> {
    /// Where segments go.
    pub(crate) files: &'a Files,
    /// The table.
    pub(crate) shape: &'a Arc<TableShape>,
    /// Next segment number of the cache; runs are numbered with segments.
    pub(crate) next_segment: &'a AtomicU64,
    /// Bytes that a sort keeps in memory.
    pub(crate) memory: usize,
    /// What to do if a key comes more than once.
    pub(crate) duplicates: Duplicates,
    /// What holds the load to a number of bytes a second, if anything does.
    pub(crate) pace: Option<&'a Pace>,
}

/// What a load does if a key comes more than once.
#[derive(Clone, Copy)]
pub(crate) enum Duplicates {
    /// Refuses the rows.
    Refuse,
    /// Takes the row that comes last.
    LastWins,
    /// Nothing: the rows are from the table itself.
    Unique,
}

/// Segments that were written and not committed yet; their files are removed unless
/// [`keep`](Self::keep) is called.
pub(crate) struct NewSegments {
    files: Files,
    segments: Vec<Arc<SegmentHandle>>,
    unfinished: Option<PathBuf>,
}

impl NewSegments {
    /// The records to commit.
    pub(crate) fn records(&self) -> Vec<SegmentRecord> {
        self.segments.iter().map(|segment| segment.record().clone()).collect()
    }

    /// The segments.
    pub(crate) fn segments(&self) -> &[Arc<SegmentHandle>] {
        &self.segments
    }

    /// Rows in them.
    pub(crate) fn rows(&self) -> u64 {
        self.segments.iter().map(|segment| segment.record().rows).sum()
    }

    /// Fails if one of their keys is in `table` at a sequence.
    ///
    /// # Errors
    /// [`DuplicateKey`](crate::ErrorCode::DuplicateKey); those of reading the keys.
    pub(crate) fn refuse_existing(&self, table: &TableState, sequence: u64) -> Result<()> {
        for new in &self.segments {
            let record = new.record();
            let may_be_there = |other: &Arc<SegmentHandle>| record.overlaps(other.record());
            if table.tails.is_empty() && !table.segments.iter().any(may_be_there) {
                continue;
            }
            let segment = new.open()?;
            for row in 0..segment.rows() {
                if table.find(&segment.key_at(row)?, sequence)?.is_some() {
                    return Err(duplicate(&table.shape, segment, row));
                }
            }
        }
        Ok(())
    }

    /// They are committed: their files stay.
    pub(crate) fn keep(mut self) {
        self.segments.clear();
    }
}

impl Drop for NewSegments {
    fn drop(&mut self) {
        // If the panic is in the middle of a commit, a record of the log may already name the files. The next opening
        // removes those that nothing names.
        if std::thread::panicking() {
            return;
        }
        let paths = self.segments.iter().map(|segment| segment.path()).chain(self.unfinished.take());
        for path in paths {
            if let Err(error) = self.files.vfs.remove(&path) {
                tracing::warn!(%error, path = %path.display(), "cannot remove a segment that was not committed");
            }
        }
    }
}

impl Load<'_> {
    /// Writes all rows as one run; files and directory entries are durable when it returns.
    ///
    /// # Errors
    /// [`SchemaMismatch`](crate::ErrorCode::SchemaMismatch), [`NullKey`](crate::ErrorCode::NullKey),
    /// [`InvalidKey`](crate::ErrorCode::InvalidKey), [`DuplicateKey`](crate::ErrorCode::DuplicateKey),
    /// [`DiskFull`](crate::ErrorCode::DiskFull), [`Io`](crate::ErrorCode::Io), and what `batches` gives. After an
    /// error nothing stays on disk.
    pub(crate) fn run(&self, batches: &mut dyn Iterator<Item = Result<RecordBatch>>) -> Result<NewSegments> {
        let dir = self.files.table_dir(self.shape.id);
        let vfs = self.files.vfs.as_ref();
        vfs.create_dir_all(&dir).map_err(|error| Error::io("create", &dir, error))?;
        // Taken now, because rows of the same table may be moved meanwhile.
        let run = self.next_segment.fetch_add(1, Ordering::Relaxed);
        let new = NewSegments { files: self.files.clone(), segments: Vec::new(), unfinished: None };
        let mut output = Output { load: self, run, writer: None, unsynced: 0, new };
        let mut seen = 0;
        let conformed = batches.map(|batch| self.shape.conform(&batch?, &mut seen));
        let by_key = (!self.shape.primary_key.is_empty() && matches!(self.duplicates, Duplicates::LastWins))
            .then_some(&self.shape.primary_key);
        let scratch = Scratch::create(self.files, self.shape.id, run)?;
        match by_key {
            Some(key) if *key == self.shape.sort_by => {
                let mut last = LastOfKey::new(self.shape);
                self.sort(&scratch, key, conformed, &mut |batch| {
                    last.push(&batch, &mut |batch| output.write(&batch))
                })?;
                last.finish(&mut |batch| output.write(&batch))?;
            }
            Some(key) => {
                // Sorted twice: by key, to find the last row of each key, and then in the table's order.
                let mut again = (!self.shape.sort_by.is_empty())
                    .then(|| self.sorter(&scratch, "again", &self.shape.sort_by))
                    .transpose()?;
                let mut last = LastOfKey::new(self.shape);
                let mut emit = |batch: RecordBatch| match &mut again {
                    Some(again) => again.push(&batch),
                    None => output.write(&batch),
                };
                self.sort(&scratch, key, conformed, &mut |batch| last.push(&batch, &mut emit))?;
                last.finish(&mut emit)?;
                if let Some(again) = again {
                    again.finish(&mut |batch| output.write(&batch))?;
                }
            }
            None if self.shape.sort_by.is_empty() => {
                let mut rebatch = Rebatch::new(BATCH_ROWS, BATCH_BYTES_TARGET);
                for batch in conformed {
                    rebatch.push(&batch?, &mut |batch| output.write(&batch))?;
                }
                rebatch.finish(&mut |batch| output.write(&batch))?;
            }
            None => self.sort(&scratch, &self.shape.sort_by, conformed, &mut |batch| output.write(&batch))?,
        }
        output.close_segment()?;
        // The folder of the table, and the folder of tables, which may have a new entry.
        vfs.sync_dir(&dir).map_err(|error| Error::io("sync", &dir, error))?;
        if let Some(tables) = dir.parent() {
            vfs.sync_dir(tables).map_err(|error| Error::io("sync", tables, error))?;
        }
        Ok(output.new)
    }

    fn sorter(&self, scratch: &Scratch<'_>, name: &str, columns: &[usize]) -> Result<Sorter> {
        Sorter::new(
            self.files.vfs.clone(),
            scratch.dir.clone(),
            name,
            self.shape.schema.clone(),
            columns.to_vec(),
            self.memory,
        )
    }

    fn sort(
        &self,
        scratch: &Scratch<'_>,
        columns: &[usize],
        batches: impl Iterator<Item = Result<RecordBatch>>,
        emit: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let mut sorter = self.sorter(scratch, "run", columns)?;
        for batch in batches {
            sorter.push(&batch?)?;
        }
        sorter.finish(emit)
    }
}

/// Passes on the last of neighbouring rows with the same key.
struct LastOfKey<'a> {
    shape: &'a TableShape,
    /// The last row so far, and its key: the next one may have it too.
    held: Option<(RecordBatch, Vec<u8>)>,
}

impl<'a> LastOfKey<'a> {
    fn new(shape: &'a TableShape) -> Self {
        Self { shape, held: None }
    }

    fn push(&mut self, batch: &RecordBatch, emit: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let keys = KeyColumn::of(batch, &self.shape.primary_key)?;
        let Some(last) = keys.len().checked_sub(1) else { return Ok(()) };
        if let Some((row, key)) = self.held.take()
            && key != keys.key(0)
        {
            emit(row)?;
        }
        let is_last: BooleanArray = (0..last).map(|row| Some(keys.key(row) != keys.key(row + 1))).collect();
        let head = filter_record_batch(&batch.slice(0, last), &is_last)
            .map_err(|error| Error::internal("cannot select rows").with_source(error))?;
        self.held = Some((batch.slice(last, 1), keys.key(last).to_vec()));
        emit(head)
    }

    fn finish(self, emit: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        match self.held {
            Some((row, _)) => emit(row),
            None => Ok(()),
        }
    }
}

/// The segments of a run as they are written.
struct Output<'a> {
    load: &'a Load<'a>,
    run: u64,
    writer: Option<(u64, SegmentWriter)>,
    /// Bytes written since the last sync.
    unsynced: u64,
    new: NewSegments,
}

impl Output<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (_, writer) = match &mut self.writer {
            Some(writer) => writer,
            empty => {
                let id = self.load.next_segment.fetch_add(1, Ordering::Relaxed);
                let shape = self.load.shape;
                let path = self.load.files.segment_path(shape.id, id);
                let vfs = self.load.files.vfs.as_ref();
                let key = shape.primary_key.clone();
                let writer = SegmentWriter::create(vfs, path, shape.schema.clone(), key);
                self.new.unfinished = Some(self.load.files.segment_path(shape.id, id));
                empty.insert((id, writer?))
            }
        };
        let before = writer.len();
        writer.write_batch(batch)?;
        // Rows that the table has already are moved however long their keys are.
        if !matches!(self.load.duplicates, Duplicates::Unique) {
            self.load.shape.refuse_long_key(writer.longest_key())?;
        }
        if let Some(pace) = self.load.pace {
            let written = writer.len() - before;
            self.unsynced += written;
            if self.unsynced >= SYNC_BYTES && pace.is_limited() {
                writer.sync()?;
                self.unsynced = 0;
            }
            pace.wrote(written);
        }
        let is_full = writer.rows() + BATCH_ROWS as u64 > SEGMENT_ROWS_MAX as u64
            || writer.len() >= SEGMENT_BYTES_TARGET;
        if is_full { self.close_segment() } else { Ok(()) }
    }

    fn close_segment(&mut self) -> Result<()> {
        let Some((id, writer)) = self.writer.take() else { return Ok(()) };
        self.unsynced = 0;
        let (record, hashes) = writer.finish(id, self.run)?;
        let handle = SegmentHandle::new(record, self.load.shape.clone(), self.load.files.clone());
        self.new.segments.push(Arc::new(handle));
        self.new.unfinished = None;
        if !matches!(self.load.duplicates, Duplicates::Refuse) {
            return Ok(());
        }
        let Some((newest, earlier)) = self.new.segments.split_last() else { return Ok(()) };
        if !hashes.is_empty() {
            self.refuse_duplicates_within(newest.open()?, hashes)?;
            earlier.iter().try_for_each(|other| self.refuse_duplicates_between(newest, other))?;
        }
        Ok(())
    }

    fn refuse_duplicates_within(&self, segment: &Segment, hashes: Vec<u64>) -> Result<()> {
        let mut order: Vec<(u64, u32)> = hashes.into_iter().zip(0_u32..).collect();
        order.sort_unstable();
        for group in order.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1) {
            for (position, &(_, row)) in group.iter().enumerate() {
                let key = segment.key_at(row as usize)?;
                for &(_, other) in &group[..position] {
                    if segment.key_at(other as usize)? == key {
                        return Err(self.duplicate(segment, row as usize));
                    }
                }
            }
        }
        Ok(())
    }

    fn refuse_duplicates_between(&self, newest: &SegmentHandle, other: &SegmentHandle) -> Result<()> {
        if !newest.record().overlaps(other.record()) {
            return Ok(());
        }
        let (segment, other_segment) = (newest.open()?, other.open()?);
        for row in 0..segment.rows() {
            let key = segment.key_at(row)?;
            if other.may_hold(&key) && other_segment.find(key::hash(&key), &key, false)?.is_some() {
                return Err(self.duplicate(segment, row));
            }
        }
        Ok(())
    }

    fn duplicate(&self, segment: &Segment, row: usize) -> Error {
        duplicate(self.load.shape, segment, row)
    }
}

fn duplicate(shape: &TableShape, segment: &Segment, row: usize) -> Error {
    let (batch, index) = segment.locate(row);
    shape.duplicate_key(index, |column| segment.cell(batch, column, index))
}

/// A folder for temporary files of one load; removed when dropped.
struct Scratch<'a> {
    files: &'a Files,
    dir: PathBuf,
}

impl<'a> Scratch<'a> {
    fn create(files: &'a Files, table: u64, run: u64) -> Result<Self> {
        let dir = files.tmp_dir().join(format!("load-{table}-{run}"));
        files.vfs.create_dir_all(&dir).map_err(|error| Error::io("create", &dir, error))?;
        Ok(Self { files, dir })
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        remove_scratch(self.files, &self.dir);
    }
}

/// Removes a folder of temporary files.
pub(crate) fn remove_scratch(files: &Files, dir: &Path) {
    for name in files.vfs.list(dir).unwrap_or_default() {
        if let Err(error) = files.vfs.remove(&dir.join(name)) {
            tracing::warn!(%error, dir = %dir.display(), "cannot remove a temporary file");
        }
    }
    if let Err(error) = files.vfs.remove_dir(dir) {
        tracing::warn!(%error, dir = %dir.display(), "cannot remove a temporary folder");
    }
}
