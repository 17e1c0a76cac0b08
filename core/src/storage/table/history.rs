//! What commits did to a table since a version, as the log tells it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::TableState;
use crate::storage::catalog::edit::{Edit, SegmentRecord};
use crate::storage::catalog::files::Files;
use crate::storage::catalog::state::{RecordData, State, read_rows};
use crate::storage::key::decode::decode_keys;
use crate::storage::log::{self, LogFile, RecordKind};
use crate::storage::segment::SegmentHandle;
use crate::storage::tail::KeyColumn;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::version::Version;

/// What happened to a row: the first column of changes.
pub(crate) const CHANGE_COLUMN: &str = "_change";
/// The sequence of the commit: the second column of changes.
pub(crate) const SEQUENCE_COLUMN: &str = "_sequence";

/// One commit's change of a table.
enum Happened {
    Rows(RecordBatch),
    Segment(Arc<SegmentHandle>),
    Deleted(KeyColumn),
    Truncated,
}

/// The changes of a table, oldest first.
pub(crate) struct History {
    table: Arc<TableState>,
    schema: SchemaRef,
    changes: Vec<(u64, Happened)>,
}

impl History {
    /// What was committed after `since`, up to a state.
    ///
    /// # Errors
    /// [`ErrorCode::WentBack`] if `since` is of another cache or was lost; [`ErrorCode::HistoryGone`] if the log does
    /// not reach back to it; [`ErrorCode::Corrupt`], [`ErrorCode::Io`].
    pub(crate) fn read(
        files: &Files,
        state: &State,
        table: &Arc<TableState>,
        since: Version,
    ) -> Result<Self> {
        if state.includes(since) != Some(true) {
            return Err(Error::new(
                ErrorCode::WentBack,
                format!("version {since} is not of this cache, or was lost in a crash; read the table anew"),
            ));
        }
        let mut reader =
            Reader { files, table, until: state.version.sequence, next: since.sequence, changes: Vec::new() };
        if since.sequence < state.version.sequence {
            reader.read(since)?;
        }
        Ok(Self { table: table.clone(), schema: schema(&table.shape.schema), changes: reader.changes })
    }

    /// Columns of the changes: what happened, the commit's sequence, and the table's columns, each of which may be
    /// null.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The changes as batches.
    pub(crate) fn batches(self) -> impl Iterator<Item = Result<RecordBatch>> + Send + 'static {
        let Self { table, schema, changes } = self;
        changes.into_iter().flat_map(move |(sequence, happened)| {
            batches_of(&table, &schema, sequence, happened).unwrap_or_else(|error| vec![Err(error)])
        })
    }
}

/// The columns of changes of a table with these columns.
fn schema(table: &SchemaRef) -> SchemaRef {
    let mut fields = vec![
        Field::new(CHANGE_COLUMN, DataType::Utf8, false),
        Field::new(SEQUENCE_COLUMN, DataType::UInt64, false),
    ];
    fields.extend(table.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(fields))
}

fn batches_of(
    table: &TableState,
    schema: &SchemaRef,
    sequence: u64,
    happened: Happened,
) -> Result<Vec<Result<RecordBatch>>> {
    let batch = |what: &str, rows: usize, columns: Vec<ArrayRef>| {
        let mut all: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(what, rows))),
            Arc::new(UInt64Array::from_value(sequence, rows)),
        ];
        all.extend(columns);
        RecordBatch::try_new(schema.clone(), all)
            .map_err(|error| Error::internal("cannot hold changes").with_source(error))
    };
    let fields = table.shape.schema.fields();
    let nulls = |rows: usize| -> Vec<ArrayRef> {
        fields.iter().map(|field| new_null_array(field.data_type(), rows)).collect()
    };
    Ok(match happened {
        Happened::Rows(rows) => vec![batch("upsert", rows.num_rows(), rows.columns().to_vec())],
        Happened::Segment(segment) => {
            let open = segment.open()?;
            let all: Vec<usize> = (0..fields.len()).collect();
            let read = |number: usize| {
                let rows = open.read_batch(number, &all, open.schema())?;
                batch("upsert", rows.num_rows(), rows.columns().to_vec())
            };
            (0..open.batch_count()).map(read).collect()
        }
        Happened::Deleted(keys) => {
            let types: Vec<&DataType> =
                table.shape.primary_key.iter().map(|&column| fields[column].data_type()).collect();
            let mut columns = nulls(keys.len());
            for (&column, array) in table.shape.primary_key.iter().zip(decode_keys(&keys, &types)?) {
                columns[column] = array;
            }
            vec![batch("delete", keys.len(), columns)]
        }
        Happened::Truncated => vec![batch("truncate", 1, nulls(1))],
    })
}

struct Reader<'a> {
    files: &'a Files,
    table: &'a Arc<TableState>,
    until: u64,
    /// The last sequence that was read.
    next: u64,
    changes: Vec<(u64, Happened)>,
}

impl Reader<'_> {
    fn read(&mut self, since: Version) -> Result<()> {
        let gone = || {
            Error::new(
                ErrorCode::HistoryGone,
                format!(
                    "the log does not reach back to version {since} any more; read the table anew, and keep more \
                     history with `CacheOptions::history`"
                ),
            )
        };
        let (vfs, dir) = (self.files.vfs.as_ref(), self.files.log_dir());
        let names = vfs.list(&dir).map_err(|error| Error::io("list", &dir, error))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| log::file_number(name)).collect();
        numbers.sort_unstable();
        // The newest file that begins at or before `since` has what follows `since`. Older files are not read.
        let mut first = None;
        for (position, &number) in numbers.iter().enumerate().rev() {
            let base = unless_gone(LogFile::base_sequence_of(vfs, &dir.join(log::file_name(number))))?;
            if base.is_some_and(|base| base <= since.sequence) {
                first = Some(position);
                break;
            }
        }
        let mut logs = Vec::new();
        for &number in &numbers[first.ok_or_else(gone)?..] {
            // A file that is gone leaves a gap, which is noticed below.
            logs.extend(unless_gone(LogFile::read(vfs, &dir.join(log::file_name(number))))?);
        }
        for (position, file) in logs.iter().enumerate() {
            if file.base_sequence() > self.next {
                return Err(gone());
            }
            let limit = logs[position + 1..].iter().map(LogFile::base_sequence).min();
            self.file(file, limit.unwrap_or(u64::MAX).min(self.until)).map_err(|error| {
                // The segment was replaced since, and its file is gone.
                if error.is_not_found() { gone().with_source(error) } else { error }
            })?;
        }
        if self.next < self.until { Err(gone()) } else { Ok(()) }
    }

    fn file(&mut self, file: &LogFile, limit: u64) -> Result<()> {
        let mut offset = file.behind(self.next);
        while let Some((record, end)) = file.record_at(offset) {
            let sequence = record.version.sequence;
            if sequence > limit {
                break;
            }
            if sequence > self.next {
                self.next = sequence;
                if record.kind == RecordKind::Commit {
                    let edits: Vec<Edit> = rmp_serde::from_slice(record.edits).map_err(|error| {
                        Error::corrupt(file.path(), offset as u64, "edits not understood").with_source(error)
                    })?;
                    let data = RecordData { region: file.region(), offset: offset + record.data_offset() };
                    let id = self.table.shape.id;
                    for edit in edits.iter().filter(|edit| is_of(edit, id)) {
                        self.edit(edit, sequence, data)?;
                    }
                }
            }
            offset = end;
        }
        Ok(())
    }

    fn edit(&mut self, edit: &Edit, sequence: u64, data: RecordData<'_>) -> Result<()> {
        match edit {
            // Whoever reads the changes may still hold rows of an earlier table of this name.
            Edit::DefineTable(_) => self.changes.push((sequence, Happened::Truncated)),
            Edit::AddSegments { segments, .. } => {
                for record in segments {
                    let segment = self.segment(record)?;
                    self.changes.push((sequence, Happened::Segment(segment)));
                }
            }
            Edit::Insert { rows, .. } => {
                let rows = read_rows(&self.table.shape.schema, rows, Some(data))?;
                self.changes.push((sequence, Happened::Rows(rows)));
            }
            Edit::Delete { keys, .. } => {
                let keys = KeyColumn::from_batch(&read_rows(&KeyColumn::schema(), keys, Some(data))?);
                self.changes.push((sequence, Happened::Deleted(keys)));
            }
            Edit::Truncate { .. } => self.changes.push((sequence, Happened::Truncated)),
            _ => {}
        }
        Ok(())
    }

    /// Maps a segment now: its file may be removed before it is read.
    fn segment(&self, record: &SegmentRecord) -> Result<Arc<SegmentHandle>> {
        if let Some(held) =
            self.table.segments.iter().find(|held| held.id() == record.id && !held.is_given_up())
        {
            held.open()?;
            return Ok(held.clone());
        }
        // With maps of its own, so that no answer refers another process to the file: nothing keeps the file from being
        // removed.
        let files = Files { maps: Arc::default(), ..self.files.clone() };
        let handle = SegmentHandle::new(record.clone(), self.table.shape.clone(), files);
        handle.open()?;
        Ok(Arc::new(handle))
    }
}

/// What was read of a file, or nothing if the file was removed. Any other failure stays one: the disk may be well again
/// when the caller asks once more.
fn unless_gone<T>(read: Result<Option<T>>) -> Result<Option<T>> {
    match read {
        Err(error) if error.is_not_found() => Ok(None),
        read => read,
    }
}

/// Whether an edit defines or changes a table.
fn is_of(edit: &Edit, table: u64) -> bool {
    match edit {
        Edit::DefineTable(record) => record.id == table,
        edit => edit.table() == Some(table),
    }
}
