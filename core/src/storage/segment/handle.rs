//! A segment that belongs to a table.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;

use super::reader::Segment;
use crate::storage::catalog::edit::SegmentRecord;
use crate::storage::catalog::files::Files;
use crate::storage::mapped::maps::FileId;
use crate::storage::table::TableShape;
use crate::types::error::{Error, ErrorCode, Result};

/// A segment that belongs to a table; its file is opened at first use.
#[derive(Debug)]
pub(crate) struct SegmentHandle {
    record: SegmentRecord,
    shape: Arc<TableShape>,
    files: Files,
    is_fresh: bool,
    opened: OnceLock<Segment>,
    /// The damage that a move of its rows met.
    met: OnceLock<String>,
    given_up: Option<GivenUp>,
}

/// Why this process no longer reads rows of a segment.
#[derive(Clone, Copy, Debug, Default)]
struct GivenUp {
    /// Its file was not there, or could not be read.
    is_missing: bool,
    /// It may be readable at another time: the file is there.
    may_pass: bool,
    /// Recovery marked rows of tails as deleted though this segment may not replace them.
    hides_tails: bool,
}

impl SegmentHandle {
    pub(crate) fn new(record: SegmentRecord, shape: Arc<TableShape>, files: Files) -> Self {
        Self::with(record, shape, files, false, None)
    }

    /// A segment just written by a process that is still running: its pages need not be verified.
    pub(crate) fn fresh(record: SegmentRecord, shape: Arc<TableShape>, files: Files) -> Self {
        Self::with(record, shape, files, true, None)
    }

    fn with(
        record: SegmentRecord,
        shape: Arc<TableShape>,
        files: Files,
        is_fresh: bool,
        given_up: Option<GivenUp>,
    ) -> Self {
        Self { record, shape, files, is_fresh, opened: OnceLock::new(), met: OnceLock::new(), given_up }
    }

    /// This segment, given up: `error` came up where its rows had to be looked up, so nobody knows which of them are
    /// live. Every read that needs it fails, in this version and in later ones. With `hides_tails` it stands for rows
    /// of tails too.
    pub(crate) fn give_up(&self, error: &Error, hides_tails: bool) -> Self {
        let may_pass = error.code() == ErrorCode::Io && !error.is_not_found();
        let damage = self.record.damage.clone().unwrap_or_else(|| {
            let first = if may_pass { "mend that and open the cache again, or " } else { "" };
            format!(
                "{error}; nobody knows any more which rows of this file were replaced, so none of them is read: \
                 {first}replace table `{}`, or drop it",
                self.shape.name
            )
        });
        let directory_checksum = match self.record.damage {
            Some(_) => self.record.directory_checksum,
            None => !self.record.directory_checksum,
        };
        let record = SegmentRecord { directory_checksum, damage: Some(damage), ..self.record.clone() };
        let before = self.given_up.unwrap_or_default();
        let given_up = GivenUp {
            is_missing: before.is_missing || error.code() == ErrorCode::Io,
            may_pass: before.may_pass || may_pass,
            hides_tails: before.hides_tails || hides_tails,
        };
        Self::with(record, self.shape.clone(), self.files.clone(), false, Some(given_up))
    }

    /// What is left of a segment that was given up once its rows are in other segments: it still hides tails.
    pub(crate) fn without_rows(&self) -> Self {
        let record = SegmentRecord { rows: 0, ..self.record.clone() };
        Self::with(record, self.shape.clone(), self.files.clone(), false, self.given_up)
    }

    /// Whether nobody knows which of its rows are live.
    pub(crate) fn is_given_up(&self) -> bool {
        self.record.damage.is_some()
    }

    /// Whether it was given up for a reason that may be gone when the cache is opened again. No manifest may record it
    /// as given up.
    pub(crate) fn may_pass(&self) -> bool {
        self.given_up.is_some_and(|given_up| given_up.may_pass)
    }

    /// Whether recovery marked rows of tails as deleted though this segment may not replace them.
    pub(crate) fn hides_tails(&self) -> bool {
        self.given_up.is_some_and(|given_up| given_up.hides_tails)
    }

    /// Fails if it was given up because its file was not there or could not be read.
    ///
    /// # Errors
    /// [`Io`](ErrorCode::Io).
    pub(crate) fn refuse_missing(&self) -> Result<()> {
        match (&self.record.damage, self.given_up) {
            (Some(damage), Some(GivenUp { is_missing: true, .. })) => {
                Err(Error::new(ErrorCode::Io, damage.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Remembers why moving its rows failed. From then on they are left where they are.
    pub(crate) fn meet(&self, damage: String) {
        self.met.get_or_init(|| damage);
    }

    /// The damage that is known in it.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.record.damage.as_deref().or_else(|| self.met.get().map(String::as_str))
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
        if let Some(damage) = &self.record.damage {
            return Err(Error::new(ErrorCode::Corrupt, damage.clone()));
        }
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

    /// Whether its bounds allow it to hold a key.
    #[inline]
    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        self.record.may_hold(key)
    }
}

impl Drop for SegmentHandle {
    fn drop(&mut self) {
        // From now on the file may be removed, so no answer may refer to it.
        if let Some(segment) = self.opened.get() {
            self.files.maps.remove(segment.region());
        }
    }
}
