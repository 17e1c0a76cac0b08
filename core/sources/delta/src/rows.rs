//! Rows on their way from the files of a table to whoever fetches them.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use delta_kernel::engine::arrow_data::{ArrowEngineData, EngineDataArrowExt};
use delta_kernel::engine::reader_options;
use delta_kernel::scan::state::ScanFile;
use delta_kernel::schema::SchemaRef as DeltaSchemaRef;
use delta_kernel::{Engine, ExpressionEvaluator};
use pillion::{Error, ErrorCode, Result};
use pillion_object_store::{OpeningFile, ParquetFile};

use crate::conform::{conform, texts};
use crate::engine::TableRows;
use crate::failures::vanished;
use crate::position::Position;
use crate::table::Table;

/// Files whose reading begins before they are needed.
const AHEAD: usize = 4;

/// What is read of each file of a table.
pub(crate) struct Reading {
    pub(crate) table: Table,
    /// The columns that files have, by the names that they have there.
    pub(crate) physical: DeltaSchemaRef,
    /// The columns that the table has of them.
    pub(crate) logical: DeltaSchemaRef,
    pub(crate) schema: SchemaRef,
    /// For each column of the schema its type in the table, and whether it is read as text.
    pub(crate) stored: Vec<(DataType, bool)>,
    pub(crate) position: Option<Position>,
}

/// The rows of some files of a table, read when they are asked for.
pub(crate) struct Rows {
    reading: Reading,
    files: VecDeque<ScanFile>,
    /// The first of `files`, whose reading began.
    ahead: VecDeque<OpeningFile>,
    open: Option<OpenFile>,
    is_over: bool,
}

struct OpenFile {
    name: String,
    rows: TableRows,
    /// Makes columns of the table of those of the file.
    evaluator: Option<Arc<dyn ExpressionEvaluator>>,
    /// The numbers of the rows of the file that are deleted, in their order.
    deleted: Vec<u64>,
    /// Rows that were read.
    at: u64,
}

impl Rows {
    pub(crate) fn new(reading: Reading, files: Vec<ScanFile>) -> Self {
        Self { reading, files: files.into(), ahead: VecDeque::new(), open: None, is_over: false }
    }

    fn read(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            self.reading.table.engine.files.call().check()?;
            let Some(open) = &mut self.open else {
                match self.next_file()? {
                    Some(file) => self.open = Some(file),
                    None => return Ok(None),
                }
                continue;
            };
            match self.reading.next_rows(open)? {
                Some(rows) if rows.num_rows() == 0 => {}
                Some(rows) => return Ok(Some(rows)),
                None => self.open = None,
            }
        }
    }

    fn next_file(&mut self) -> Result<Option<OpenFile>> {
        while self.ahead.len() < self.files.len().min(AHEAD) {
            let next = &self.files[self.ahead.len()];
            self.ahead.push_back(self.reading.begin(next)?);
        }
        match (self.files.pop_front(), self.ahead.pop_front()) {
            (Some(file), Some(opening)) => self.reading.open(&file, opening).map(Some),
            _ => Ok(None),
        }
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let rows = self.read();
        self.is_over = !matches!(rows, Ok(Some(_)));
        if self.is_over {
            (self.files, self.ahead, self.open) = (VecDeque::new(), VecDeque::new(), None);
        }
        rows.transpose()
    }
}

impl Reading {
    fn path_of(&self, file: &ScanFile) -> Result<String> {
        let url = self.table.ask(|| Ok(self.table.root().join(&file.path)?))?;
        self.table.engine.paths.path_of(&url)
    }

    fn begin(&self, file: &ScanFile) -> Result<OpeningFile> {
        self.table.engine.files.open_parquet(&self.path_of(file)?, file.size.max(0).unsigned_abs())
    }

    fn open(&self, file: &ScanFile, opening: OpeningFile) -> Result<OpenFile> {
        let table = &self.table;
        let opened = opening.wait(reader_options()).map_err(|error| match error.code() {
            ErrorCode::SourceNotFound => vanished(&table.shown, error.message()),
            _ => error,
        })?;
        let name = opened.name();
        let deleted = self.deleted(file, &opened)?;
        table.ask(|| {
            let evaluator = file.transform.as_ref().map(|transform| {
                let logical = self.logical.as_ref().clone().into();
                let evaluation = table.engine.evaluation_handler();
                evaluation.new_expression_evaluator(self.physical.clone(), transform.clone(), logical)
            });
            let rows =
                TableRows::new(opened, self.physical.clone(), table.root().join(&file.path)?.as_str())?;
            Ok(OpenFile { name, rows, evaluator: evaluator.transpose()?, deleted, at: 0 })
        })
    }

    /// The numbers of the rows of a file that are deleted, in their order. A log is not believed that deletes rows behind the last one.
    fn deleted(&self, file: &ScanFile, opened: &ParquetFile) -> Result<Vec<u64>> {
        let table = &self.table;
        let rows = opened.metadata().metadata().file_metadata().num_rows().max(0).unsigned_abs();
        let wrong = |what: String| {
            let message = format!("the log deletes {what} of `{}`, which has {rows} rows", opened.name());
            Error::new(ErrorCode::SourceInvalid, message)
        };
        // Before the vector is read, which may be as large as it says.
        match table.ask(|| file.dv_info.cardinality())? {
            None => return Ok(Vec::new()),
            Some(count) if count > rows => return Err(wrong(format!("{count} rows"))),
            Some(_) => {}
        }
        let deleted = table.ask(|| file.dv_info.get_row_indexes(&table.engine, table.root()))?;
        let mut deleted = deleted.unwrap_or_default();
        deleted.sort_unstable();
        match deleted.last() {
            Some(last) if *last >= rows => Err(wrong(format!("the row with the number {last}"))),
            _ => Ok(deleted),
        }
    }

    /// The next wanted rows of a file, of which there may be none; `None` behind its last row.
    fn next_rows(&self, open: &mut OpenFile) -> Result<Option<RecordBatch>> {
        let Some(rows) = self.table.ask(|| open.rows.next_rows())? else { return Ok(None) };
        let name = open.name.clone();
        let unfit = |error: ArrowError| {
            let message = format!("`{name}` has rows that its table cannot have: {error}");
            Error::new(ErrorCode::SourceInvalid, message)
        };
        let rows = open.without_deleted(rows.into()).map_err(unfit)?;
        let rows = match &open.evaluator {
            Some(evaluator) => self.table.ask(|| {
                let rows: Box<dyn delta_kernel::EngineData> =
                    evaluator.evaluate(&ArrowEngineData::new(rows))?;
                rows.try_into_record_batch()
            })?,
            None => rows,
        };
        self.wanted(&rows).map(Some).map_err(unfit)
    }

    /// The wanted rows and columns of rows of the table.
    fn wanted(&self, rows: &RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
        let kept = self.position.as_ref().map(|position| position.keep(rows)).transpose()?;
        let rows = kept.as_ref().unwrap_or(rows);
        let columns = self.schema.fields().iter().zip(&self.stored).map(|(field, (stored, is_text))| {
            let missing = || ArrowError::SchemaError(format!("the column `{}` did not come", field.name()));
            let column = rows.column_by_name(field.name()).ok_or_else(missing)?;
            let column = conform(column, stored)?;
            if *is_text { texts(&column) } else { Ok(column) }
        });
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}

impl OpenFile {
    /// Rows of the file without those that are deleted.
    fn without_deleted(&mut self, rows: RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
        let first = self.at;
        self.at += rows.num_rows() as u64;
        let from = self.deleted.partition_point(|row| *row < first);
        let until = self.deleted.partition_point(|row| *row < self.at);
        let deleted = self.deleted.get(from..until).unwrap_or_default();
        if deleted.is_empty() {
            return Ok(rows);
        }
        let mut kept = vec![true; rows.num_rows()];
        for row in deleted {
            if let Some(kept) = usize::try_from(row - first).ok().and_then(|row| kept.get_mut(row)) {
                *kept = false;
            }
        }
        filter_record_batch(&rows, &BooleanArray::from(kept))
    }
}
