//! Recovery: from the files of a directory to the rows of every table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::records::{Edit, Log, LogRecord, Manifest, RowsRecord};
use super::rows::batch;
use super::table::{Place, Table};

/// The contents of a directory.
pub(crate) struct Contents {
    /// Incarnation and sequence.
    pub(crate) version: (u64, u64),
    /// Tables by name.
    pub(crate) tables: BTreeMap<String, Table>,
    /// Positions of sources.
    pub(crate) positions: BTreeMap<String, Vec<u8>>,
    /// Incarnations, and the sequence before each.
    pub(crate) incarnations: Vec<(u64, u64)>,
    /// The manifest that the replay began with, and the number of manifests.
    pub(crate) manifest: (u64, usize),
    /// Whether the last record is that of a clean close.
    pub(crate) closed: bool,
}

/// Reads a directory whose files are whole, except for a record that was being written.
pub(crate) fn read(dir: &Path) -> Contents {
    let manifests = numbered(dir, |name| name.strip_prefix("manifest-"));
    let newest = manifests.iter().rev().find_map(|(&sequence, path)| {
        let manifest = Manifest::parse(&fs::read(path).unwrap())?;
        assert_eq!(manifest.sequence, sequence, "the sequence in the name");
        Some(manifest)
    });
    let manifest = newest.expect("a directory without a manifest is no cache");
    let mut replay = Replay {
        dir,
        version: (manifest.incarnation, manifest.sequence),
        tables: BTreeMap::new(),
        positions: manifest.body.positions.into_iter().map(|(name, at)| (name, at.into_vec())).collect(),
        incarnations: manifest.body.incarnations,
        closed: false,
    };
    for content in manifest.body.tables {
        assert!(content.table.id < manifest.body.next_table);
        let mut table = Table::new(dir, &content.table);
        for segment in content.segments {
            assert!(segment.id < manifest.body.next_segment);
            table.segments.push(segment);
        }
        table.add_deleted(&content.deleted);
        table.as_of = content.as_of;
        assert!(replay.tables.insert(content.table.id, table).is_none());
    }
    let logs: BTreeMap<u64, Log> = numbered(&dir.join("log"), |name| name.strip_suffix(".log"))
        .into_iter()
        .filter(|(number, _)| *number >= manifest.body.log)
        .filter_map(|(number, path)| Some((number, Log::parse(number, fs::read(path).unwrap())?)))
        .collect();
    for (&number, log) in &logs {
        let limit = logs.range(number + 1..).map(|(_, later)| later.base_sequence).min();
        replay.log(number, log, limit.unwrap_or(u64::MAX));
    }
    let Replay { version, tables, positions, incarnations, closed, .. } = replay;
    assert_eq!(incarnations.last().map(|(incarnation, _)| *incarnation), Some(version.0));
    Contents {
        version,
        tables: tables.into_values().map(|table| (table.name.clone(), table)).collect(),
        positions,
        incarnations,
        manifest: (manifest.sequence, manifests.len()),
        closed,
    }
}

/// Files of a folder whose names are numbers, once `number` has removed the rest of the name.
fn numbered(dir: &Path, number: impl Fn(&str) -> Option<&str>) -> BTreeMap<u64, PathBuf> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| Some((number(name.to_str()?)?.parse().ok()?, dir.join(&name)))).collect()
}

struct Replay<'a> {
    dir: &'a Path,
    version: (u64, u64),
    tables: BTreeMap<u64, Table>,
    positions: BTreeMap<String, Vec<u8>>,
    incarnations: Vec<(u64, u64)>,
    closed: bool,
}

impl Replay<'_> {
    fn log(&mut self, number: u64, log: &Log, limit: u64) {
        assert!(log.base_sequence <= self.version.1, "commits before log file {number} are missing");
        let mut offset = 64;
        self.closed = false;
        while let Some((record, next)) = log.record(offset) {
            let sequence = self.version.1;
            if record.sequence > limit {
                return;
            }
            match record.kind {
                2 if record.sequence == sequence + 1 => self.commit(number, &record),
                2 => assert!(record.sequence <= sequence, "a commit is missing"),
                _ => {}
            }
            if record.sequence >= sequence {
                if record.incarnation != self.version.0 {
                    self.incarnations.push((record.incarnation, record.sequence - 1));
                    let superfluous = self.incarnations.len().saturating_sub(64);
                    self.incarnations.drain(..superfluous);
                }
                self.version = (record.incarnation, record.sequence);
            }
            self.closed = record.kind == 3;
            offset = next;
        }
        assert!(!log.has_records_behind(offset), "a record of log file {number} is damaged");
    }

    fn commit(&mut self, log: u64, record: &LogRecord<'_>) {
        for edit in record.edits() {
            self.edit(edit, (log, record.sequence), record.data);
        }
    }

    fn table(&mut self, table: u64) -> &mut Table {
        self.tables.get_mut(&table).expect("an edit names a table that there is")
    }

    fn edit(&mut self, edit: Edit, (log, sequence): (u64, u64), data: &[u8]) {
        match edit {
            Edit::DefineTable(record) => {
                let table = Table::new(self.dir, &record);
                assert!(self.tables.insert(record.id, table).is_none());
            }
            Edit::DropTable { table } => drop(self.tables.remove(&table)),
            Edit::AddSegments { table, segments, replaced, deleted } => {
                let table = self.table(table);
                let mut count = table.add_deleted(&deleted);
                let old = table.segments.len();
                table.segments.extend(segments);
                if replaced > 0 {
                    count += table.delete_tail_rows_in(old);
                }
                assert_eq!(count, replaced, "rows that new segments replace");
            }
            Edit::Insert { table, rows, replaced } => {
                let table = self.table(table);
                let rows = batch(&table.schema, &rows.positions, data);
                assert_eq!(table.insert((log, sequence), rows), replaced, "rows that inserted ones replace");
            }
            Edit::Delete { table, keys, deleted } => {
                let keys = binary(&keys, data);
                assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "each key once");
                let table = self.table(table);
                table.begin_tail(log, sequence);
                let count = keys.iter().filter(|key| table.delete(key)).count();
                assert_eq!(count as u64, deleted, "rows that are deleted");
            }
            Edit::Truncate { table } => {
                let table = self.table(table);
                table.segments.clear();
                table.deleted.clear();
                table.tails.clear();
            }
            Edit::Rewrite { table, segments, log, into, deleted } => {
                let table = self.table(table);
                let has = |id: u64| table.segments.iter().any(|segment| segment.id == id);
                let is_done = match into.as_slice() {
                    [] => !segments.iter().any(|&id| has(id)) && !table.tails.keys().any(|&tail| tail <= log),
                    [first, ..] => has(first.id),
                };
                if !is_done {
                    let before = table.live_rows();
                    let place = table.segments.iter().position(|segment| segments.contains(&segment.id));
                    let place = place.unwrap_or(table.segments.len());
                    table.segments.splice(place..place, into);
                    table.segments.retain(|segment| !segments.contains(&segment.id));
                    table.deleted.retain(|id, _| !segments.contains(id));
                    table.tails.retain(|&tail, _| tail > log);
                    table.add_deleted(&deleted);
                    assert_eq!(table.live_rows(), before, "rows were moved and nothing else");
                }
            }
            Edit::SetFreshness { table, as_of } => self.table(table).as_of = Some(as_of),
            Edit::SetPosition { source, position } if position.is_empty() => {
                self.positions.remove(&source);
            }
            Edit::SetPosition { source, position } => {
                self.positions.insert(source, position.into_vec());
            }
        }
    }
}

/// Encoded keys.
fn binary(keys: &RowsRecord, data: &[u8]) -> Vec<Vec<u8>> {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, Field, Schema};
    let schema = Arc::new(Schema::new(vec![Field::new("key", DataType::Binary, false)]));
    let keys = batch(&schema, &keys.positions, data);
    let column = keys.column(0).as_binary::<i32>();
    (0..column.len()).map(|row| column.value(row).to_vec()).collect()
}

/// The file of a segment.
pub(super) fn segment_path(dir: &Path, table: u64, segment: u64) -> PathBuf {
    dir.join(format!("tables/{table}/{segment}.arrow"))
}

impl Table {
    /// Deletes the row with a key; returns whether there was one.
    fn delete(&mut self, key: &[u8]) -> bool {
        match self.find(key) {
            Some(Place::Segment(segment, row)) => self.deleted.entry(segment).or_default().insert(row),
            Some(Place::Tail(log, row)) => {
                self.tails.get_mut(&log).is_some_and(|tail| tail.deleted.insert(row))
            }
            None => false,
        }
    }

    /// Adds rows, replacing those with the same keys; returns how many were replaced.
    fn insert(&mut self, (log, sequence): (u64, u64), rows: arrow::array::RecordBatch) -> u64 {
        let keys = self.keys_of(&rows);
        let replaced = keys.iter().filter(|key| self.delete(key)).count();
        let tail = self.begin_tail(log, sequence);
        let first = tail.rows;
        tail.rows += rows.num_rows();
        tail.newest.extend(keys.into_iter().zip(first..));
        tail.batches.push(rows);
        replaced as u64
    }
}
