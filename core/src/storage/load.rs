//! Turns a stream of rows into the segments of one run: checked, sorted, keys unique.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::util::display::array_value_to_string;

use super::batch::batch_len;
use super::edit::SegmentRecord;
use super::format::{BATCH_ROWS, SEGMENT_BYTES_TARGET, SEGMENT_ROWS_MAX};
use super::key;
use super::segment::{Segment, SegmentWriter};
use super::sort::{BATCH_BYTES_TARGET, Sorter};
use super::state::{Files, SegmentHandle, TableShape, TableState};
use crate::api::error::{Error, ErrorCode, Result, suggestion};

/// What a load needs to know.
pub(crate) struct Load<'a> {
    /// Where segments go.
    pub(crate) files: &'a Files,
    /// The table.
    pub(crate) shape: &'a Arc<TableShape>,
    /// Next segment number of the cache.
    pub(crate) next_segment: &'a AtomicU64,
    /// Bytes of rows that a sort keeps in memory.
    pub(crate) memory: usize,
    /// How many of the rows come from the table itself, first, to be merged with new ones.
    pub(crate) merged_rows: u64,
    /// Rows that stay: their keys must not come again.
    pub(crate) existing: Option<&'a TableState>,
}

/// Segments that were written and not committed yet; their files are removed unless
/// [`keep`](Self::keep) is called.
pub(crate) struct NewSegments {
    files: Files,
    segments: Vec<SegmentHandle>,
    unfinished: Option<PathBuf>,
}

impl NewSegments {
    /// The records to commit.
    pub(crate) fn records(&self) -> Vec<SegmentRecord> {
        self.segments.iter().map(|segment| segment.record().clone()).collect()
    }

    /// Rows in them.
    pub(crate) fn rows(&self) -> u64 {
        self.segments.iter().map(|segment| segment.record().rows).sum()
    }

    /// They are committed: their files stay.
    pub(crate) fn keep(mut self) {
        self.segments.clear();
    }
}

impl Drop for NewSegments {
    fn drop(&mut self) {
        let paths = self.segments.iter().map(SegmentHandle::path).chain(self.unfinished.take());
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
    /// [`ErrorCode::SchemaMismatch`], [`ErrorCode::NullKey`], [`ErrorCode::DuplicateKey`],
    /// [`ErrorCode::DiskFull`], [`ErrorCode::Io`], and what `batches` gives. Nothing stays on disk.
    pub(crate) fn run(&self, batches: &mut dyn Iterator<Item = Result<RecordBatch>>) -> Result<NewSegments> {
        let dir = self.files.table_dir(self.shape.id);
        let vfs = self.files.vfs.as_ref();
        vfs.create_dir_all(&dir).map_err(|error| Error::io("create", &dir, error))?;
        let run = self.next_segment.load(Ordering::Relaxed);
        let new = NewSegments { files: self.files.clone(), segments: Vec::new(), unfinished: None };
        let mut output = Output { load: self, run, writer: None, new };
        let mut seen = 0_u64;
        let mut conform = |batch: Result<RecordBatch>| -> Result<RecordBatch> {
            let batch = batch?;
            self.refuse_null_keys(&batch, seen)?;
            let batch = conform(&self.shape.schema, &batch)?;
            seen += batch.num_rows() as u64;
            Ok(batch)
        };
        if self.shape.sort_by.is_empty() {
            let mut rebatch = Rebatch::default();
            for batch in batches {
                rebatch.push(conform(batch)?, &mut |batch| output.write(&batch))?;
            }
            rebatch.finish(&mut |batch| output.write(&batch))?;
        } else {
            let scratch = Scratch::create(self.files, self.shape.id, run)?;
            let mut sorter = Sorter::new(
                self.files.vfs.clone(),
                scratch.dir.clone(),
                self.shape.schema.clone(),
                self.shape.sort_by.clone(),
                self.memory,
            )?;
            for batch in batches {
                sorter.push(conform(batch)?)?;
            }
            sorter.finish(&mut |batch| output.write(&batch))?;
        }
        output.close_segment()?;
        // The folder of the table, and the folder of tables, which may have gained it.
        vfs.sync_dir(&dir).map_err(|error| Error::io("sync", &dir, error))?;
        if let Some(tables) = dir.parent() {
            vfs.sync_dir(tables).map_err(|error| Error::io("sync", tables, error))?;
        }
        Ok(output.new)
    }

    fn refuse_null_keys(&self, batch: &RecordBatch, rows_before: u64) -> Result<()> {
        for &column in &self.shape.primary_key {
            let name = self.shape.schema.field(column).name();
            // That it is there at all is checked with the other columns.
            let Some(array) = batch.column_by_name(name) else { continue };
            if array.logical_null_count() > 0 {
                let row = (0..array.len()).find(|&row| array.is_null(row)).unwrap_or_default();
                return Err(Error::new(
                    ErrorCode::NullKey,
                    format!(
                        "row {} has no value in `{name}`, which is part of the primary key of `{}`; \
                         fill it in, leave the row out, or choose another key",
                        (rows_before + row as u64 + 1).saturating_sub(self.merged_rows),
                        self.shape.name
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// The segments of a run as they are written.
struct Output<'a> {
    load: &'a Load<'a>,
    run: u64,
    writer: Option<(u64, SegmentWriter)>,
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
        writer.write_batch(batch)?;
        let is_full = writer.rows() + BATCH_ROWS as u64 > SEGMENT_ROWS_MAX as u64
            || writer.len() >= SEGMENT_BYTES_TARGET;
        if is_full { self.close_segment() } else { Ok(()) }
    }

    fn close_segment(&mut self) -> Result<()> {
        let Some((id, writer)) = self.writer.take() else { return Ok(()) };
        let (record, hashes) = writer.finish(id, self.run)?;
        let handle = SegmentHandle::new(record, self.load.shape.clone(), self.load.files.clone());
        self.new.segments.push(handle);
        self.new.unfinished = None;
        let Some((newest, earlier)) = self.new.segments.split_last() else { return Ok(()) };
        if !hashes.is_empty() {
            self.refuse_duplicates_within(newest.open()?, hashes)?;
            let existing = self.load.existing.into_iter().flat_map(|table| &table.segments).map(Arc::as_ref);
            for other in earlier.iter().chain(existing) {
                self.refuse_duplicates_between(newest, other)?;
            }
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
        let (a, b) = (newest.record(), other.record());
        if a.max_key < b.min_key || b.max_key < a.min_key {
            return Ok(());
        }
        let (segment, other_segment) = (newest.open()?, other.open()?);
        for row in 0..segment.rows() {
            let key = segment.key_at(row)?;
            if other.may_hold(&key) && other_segment.find(key::hash(&key), &key)?.is_some() {
                return Err(self.duplicate(segment, row));
            }
        }
        Ok(())
    }

    fn duplicate(&self, segment: &Segment, row: usize) -> Error {
        let shape = self.load.shape;
        let (batch, index) = segment.locate(row);
        let values = shape.primary_key.iter().map(|&column| {
            let array = segment.cell(batch, column, index)?;
            let value = array_value_to_string(array, index)
                .map_err(|error| Error::internal("cannot display a key").with_source(error))?;
            Ok(format!("{}={value}", shape.schema.field(column).name()))
        });
        match values.collect::<Result<Vec<_>>>() {
            Ok(values) => Error::new(
                ErrorCode::DuplicateKey,
                format!(
                    "the primary key of `{}` is not unique: two rows have {}; \
                     choose a key that is, or define the table without one",
                    shape.name,
                    values.join(", ")
                ),
            ),
            Err(error) => error,
        }
    }
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

/// Makes batches of the size of segments' batches out of batches of any size.
#[derive(Default)]
struct Rebatch {
    pending: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Rebatch {
    fn push(
        &mut self,
        mut batch: RecordBatch,
        emit: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        while self.rows + batch.num_rows() >= BATCH_ROWS {
            let head = BATCH_ROWS - self.rows;
            self.pending.push(batch.slice(0, head));
            batch = batch.slice(head, batch.num_rows() - head);
            self.finish(emit)?;
        }
        if batch.num_rows() > 0 {
            self.rows += batch.num_rows();
            self.bytes += batch_len(&batch);
            self.pending.push(batch);
            if self.bytes >= BATCH_BYTES_TARGET {
                self.finish(emit)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, emit: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        (self.rows, self.bytes) = (0, 0);
        let Some(first) = pending.first() else { return Ok(()) };
        let batch = concat_batches(&first.schema(), &pending)
            .map_err(|error| Error::internal("cannot join batches").with_source(error))?;
        emit(batch)
    }
}

/// The batch with the columns of `schema` in its order.
///
/// # Errors
/// [`ErrorCode::SchemaMismatch`], naming the first column that does not fit.
fn conform(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let mismatch = |what: String| Error::new(ErrorCode::SchemaMismatch, what);
    let found = batch.schema();
    for field in found.fields() {
        if schema.index_of(field.name()).is_err() {
            let hint = suggestion(field.name(), schema.fields().iter().map(|field| field.name().as_str()));
            return Err(mismatch(format!("the table has no column `{}`{hint}", field.name())));
        }
    }
    let columns = schema.fields().iter().map(|field| {
        let Ok(column) = found.index_of(field.name()) else {
            return Err(mismatch(format!("the rows lack the column `{}`", field.name())));
        };
        let array = batch.column(column);
        if array.data_type() != field.data_type() {
            let (name, is, wanted) = (field.name(), array.data_type(), field.data_type());
            return Err(mismatch(format!("column `{name}` is {wanted} and the rows bring {is}; cast it")));
        }
        if !field.is_nullable() && array.logical_null_count() > 0 {
            return Err(mismatch(format!(
                "column `{}` must not be null and the rows bring nulls",
                field.name()
            )));
        }
        Ok(array.clone())
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_>>()?)
        .map_err(|error| mismatch("the rows do not fit the table".to_owned()).with_source(error))
}
