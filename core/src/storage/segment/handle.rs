//! A segment that belongs to a table.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;

use super::reader::Segment;
use crate::api::error::Result;
use crate::storage::edit::SegmentRecord;
use crate::storage::files::Files;
use crate::storage::maps::FileId;
use crate::storage::table::TableShape;

/// A segment that belongs to a table; its file is opened at first use.
#[derive(Debug)]
pub(crate) struct SegmentHandle {
    record: SegmentRecord,
    shape: Arc<TableShape>,
    files: Files,
    is_fresh: bool,
    opened: OnceLock<Segment>,
}

impl SegmentHandle {
    pub(crate) fn new(record: SegmentRecord, shape: Arc<TableShape>, files: Files) -> Self {
        Self { record, shape, files, is_fresh: false, opened: OnceLock::new() }
    }

    /// Of a segment that a process which runs wrote a moment ago: its pages need not be verified.
    pub(crate) fn fresh(record: SegmentRecord, shape: Arc<TableShape>, files: Files) -> Self {
        Self { record, shape, files, is_fresh: true, opened: OnceLock::new() }
    }

    /// What the catalog knows of it.
    pub(crate) fn record(&self) -> &SegmentRecord {
        &self.record
    }

    /// Its number.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.record.id
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
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io); the next call tries again.
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
        if self.is_fresh {
            segment.trust();
        }
        Ok(self.opened.get_or_init(|| {
            let file = FileId { table: shape.id, segment: self.record.id };
            self.files.maps.insert(segment.region(), file);
            segment
        }))
    }

    /// Whether a key can be in it by its bounds.
    #[inline]
    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        self.record.may_hold(key)
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
