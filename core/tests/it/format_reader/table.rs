//! A table: segments, deleted rows of them, and tails.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::keys::encode;
use super::reader::segment_path;
use super::records::{DeletedRecord, SegmentRecord, TableRecord};
use super::rows::texts;
use super::segment::Segment;

/// The place of a row: the segment or the log file, and the row's number.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Segment(u64, usize),
    Tail(u64, usize),
}

/// Rows in a log file.
#[derive(Default)]
pub(crate) struct Tail {
    /// The commit that began this tail.
    pub(super) since: u64,
    pub(super) batches: Vec<RecordBatch>,
    /// The number of rows of all batches.
    pub(crate) rows: usize,
    pub(super) deleted: BTreeSet<usize>,
    /// The newest row with each key.
    pub(super) newest: HashMap<Vec<u8>, usize>,
}

/// A table.
pub(crate) struct Table {
    dir: PathBuf,
    pub(super) id: u64,
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    /// Names of the columns of the key, and of those that segments are sorted by.
    pub(crate) key_names: (Vec<String>, Vec<String>),
    pub(super) primary_key: Vec<usize>,
    pub(super) segments: Vec<SegmentRecord>,
    /// Deleted rows by segment.
    pub(crate) deleted: BTreeMap<u64, BTreeSet<usize>>,
    /// Tails by log file.
    pub(crate) tails: BTreeMap<u64, Tail>,
    pub(crate) as_of: Option<i64>,
    open: RefCell<HashMap<u64, Rc<Segment>>>,
}

impl Table {
    pub(super) fn new(dir: &Path, record: &TableRecord) -> Self {
        let schema = arrow::ipc::convert::try_schema_from_ipc_buffer(&record.schema).unwrap();
        Self {
            dir: dir.to_owned(),
            id: record.id,
            name: record.name.clone(),
            primary_key: record.primary_key.iter().map(|name| schema.index_of(name).unwrap()).collect(),
            key_names: (record.primary_key.clone(), record.sort_by.clone()),
            schema: Arc::new(schema),
            segments: Vec::new(),
            deleted: BTreeMap::new(),
            tails: BTreeMap::new(),
            as_of: None,
            open: RefCell::default(),
        }
    }

    /// The tail of a log file; if there is none, this commit begins it.
    pub(super) fn begin_tail(&mut self, log: u64, sequence: u64) -> &mut Tail {
        self.tails.entry(log).or_insert_with(|| Tail { since: sequence, ..Tail::default() })
    }

    fn open(&self, record: &SegmentRecord) -> Rc<Segment> {
        let path = segment_path(&self.dir, self.id, record.id);
        let read = || Rc::new(Segment::read(&path, record, &self.schema, &self.primary_key));
        self.open.borrow_mut().entry(record.id).or_insert_with(read).clone()
    }

    /// Adds deleted rows of segments; returns how many were not deleted before.
    pub(super) fn add_deleted(&mut self, records: &[DeletedRecord]) -> u64 {
        let mut count = 0;
        for record in records {
            let segment = self.segments.iter().find(|segment| segment.id == record.segment);
            let len = segment.expect("a segment of the table").rows;
            let deleted = self.deleted.entry(record.segment).or_default();
            for row in record.rows() {
                assert!((row as u64) < len, "a row of the segment");
                count += u64::from(deleted.insert(row));
            }
        }
        count
    }

    pub(super) fn keys_of(&self, rows: &RecordBatch) -> Vec<Vec<u8>> {
        let keyed = if self.primary_key.is_empty() { 0 } else { rows.num_rows() };
        (0..keyed).map(|row| encode(rows, &self.primary_key, row)).collect()
    }

    /// The place of the row with a key.
    pub(super) fn find(&self, key: &[u8]) -> Option<Place> {
        for (&log, tail) in self.tails.iter().rev() {
            match tail.newest.get(key) {
                Some(row) if !tail.deleted.contains(row) => return Some(Place::Tail(log, *row)),
                _ => {}
            }
        }
        for record in self.segments.iter().rev() {
            if let Some(row) = self.open(record).find(key)
                && !self.is_deleted(record.id, row)
            {
                return Some(Place::Segment(record.id, row));
            }
        }
        None
    }

    fn is_deleted(&self, segment: u64, row: usize) -> bool {
        self.deleted.get(&segment).is_some_and(|rows| rows.contains(&row))
    }

    /// Deletes the rows of tails whose keys are in the segments from number `first` on; returns how many there were.
    pub(super) fn delete_tail_rows_in(&mut self, first: usize) -> u64 {
        let new: Vec<_> = self.segments[first..].iter().map(|record| self.open(record)).collect();
        let mut count = 0;
        for tail in self.tails.values_mut() {
            for (key, row) in &tail.newest {
                if new.iter().any(|segment| segment.find(key).is_some()) {
                    count += u64::from(tail.deleted.insert(*row));
                }
            }
        }
        count
    }

    /// Every row that is not deleted, and its key.
    fn live(&self) -> Vec<(Vec<u8>, String)> {
        let mut live = Vec::new();
        let mut add = |rows: &RecordBatch, is_live: &dyn Fn(usize) -> bool| {
            let keys = self.keys_of(rows);
            for (row, text) in texts(rows).into_iter().enumerate().filter(|(row, _)| is_live(*row)) {
                live.push((keys.get(row).cloned().unwrap_or_default(), text));
            }
        };
        for record in &self.segments {
            add(&self.open(record).rows, &|row| !self.is_deleted(record.id, row));
        }
        for tail in self.tails.values() {
            let mut first = 0;
            for rows in &tail.batches {
                add(rows, &|row| !tail.deleted.contains(&(first + row)));
                first += rows.num_rows();
            }
            assert_eq!(first, tail.rows);
        }
        if !self.primary_key.is_empty() {
            let keys: BTreeSet<_> = live.iter().map(|(key, _)| key).collect();
            assert_eq!(keys.len(), live.len(), "a key of table `{}` is there twice", self.name);
        }
        live
    }

    /// The keys of all rows of a tail, deleted ones included, each with the number of its batch.
    pub(super) fn tail_keys(&self, tail: &Tail) -> Vec<(Vec<u8>, usize)> {
        let batches = tail.batches.iter().enumerate();
        batches
            .flat_map(|(batch, rows)| self.keys_of(rows).into_iter().map(move |key| (key, batch)))
            .collect()
    }

    /// Every row as text, in the order of the texts.
    pub(crate) fn live_rows(&self) -> Vec<String> {
        let mut rows: Vec<String> = self.live().into_iter().map(|(_, text)| text).collect();
        rows.sort();
        rows
    }
}
