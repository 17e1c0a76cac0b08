//! Checkpoints for the kernel, and the rows of data files.

use std::collections::VecDeque;
use std::iter::Flatten;
use std::ops::Range;
use std::sync::Arc;
use std::vec::IntoIter;

use arrow::array::RecordBatch;
use delta_kernel::engine::arrow_conversion::TryFromArrow;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::engine::arrow_utils::{
    ReorderIndex, RowIndexBuilder, fixup_parquet_read, ordering_needs_row_indexes, parquet_read_plan,
};
use delta_kernel::engine::reader_options;
use delta_kernel::schema::{SchemaRef, StructType};
use delta_kernel::{
    EngineData, FileDataReadResultIterator, FileMeta, FileSize, KernelError, KernelResult,
    KernelResultIteratorStatic, ParquetFooter, ParquetHandler, PredicateRef,
};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use pillion::{Error, ErrorCode};
use pillion_object_store::{OpeningFile, ParquetFile};
use url::Url;

use super::TableEngine;
use crate::failures::{only_reads, to_kernel};

pub(super) struct Parquet(pub(super) TableEngine);

impl TableEngine {
    /// Begins to open a file.
    fn open(&self, file: &FileMeta) -> KernelResult<OpeningFile> {
        let path = self.paths.path_of(&file.location).map_err(to_kernel)?;
        let bytes = match file.size {
            // The log may not say it.
            0 => self.files.look(&path).map_err(to_kernel)?.bytes(),
            bytes => bytes,
        };
        self.files.open_parquet(&path, bytes).map_err(to_kernel)
    }
}

impl ParquetHandler for Parquet {
    fn read_parquet_files(
        &self,
        files: &[FileMeta],
        schema: SchemaRef,
        _: Option<PredicateRef>,
    ) -> KernelResult<FileDataReadResultIterator> {
        let files = files.iter().cloned().collect();
        Ok(Box::new(ManyRows { engine: self.0.clone(), schema, files, open: None }))
    }

    fn read_parquet_footer(&self, file: &FileMeta) -> KernelResult<ParquetFooter> {
        let opened = self.0.open(file)?.wait(reader_options()).map_err(to_kernel)?;
        let schema = StructType::try_from_arrow(opened.metadata().schema().as_ref())?;
        Ok(ParquetFooter { schema: Arc::new(schema) })
    }

    fn write_parquet_file(
        &self,
        _: Url,
        _: KernelResultIteratorStatic<Box<dyn EngineData>>,
    ) -> KernelResult<FileSize> {
        Err(only_reads())
    }
}

/// The rows of several files.
struct ManyRows {
    engine: TableEngine,
    schema: SchemaRef,
    files: VecDeque<FileMeta>,
    open: Option<TableRows>,
}

impl ManyRows {
    fn read(&mut self) -> KernelResult<Option<Box<dyn EngineData>>> {
        loop {
            if let Some(rows) = &mut self.open {
                if let Some(rows) = rows.next_rows()? {
                    return Ok(Some(Box::new(rows)));
                }
                self.open = None;
            }
            let Some(file) = self.files.pop_front() else { return Ok(None) };
            let opened = self.engine.open(&file)?.wait(reader_options()).map_err(to_kernel)?;
            self.open = Some(TableRows::new(opened, self.schema.clone(), file.location.as_str())?);
        }
    }
}

impl Iterator for ManyRows {
    type Item = KernelResult<Box<dyn EngineData>>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.read();
        if !matches!(rows, Ok(Some(_))) {
            (self.files, self.open) = (VecDeque::new(), None);
        }
        rows.transpose()
    }
}

/// The rows of a file, in the columns and types that somebody asks for.
pub(crate) struct TableRows {
    file: ParquetFile,
    schema: SchemaRef,
    order: Vec<ReorderIndex>,
    mask: ProjectionMask,
    url: String,
    /// Row groups that are still to be read.
    groups: Range<usize>,
    open: Option<Group>,
}

/// A row group that is being read, with the numbers that its rows have in the file where somebody asks for them.
struct Group {
    reader: ParquetRecordBatchReader,
    numbers: Option<Flatten<IntoIter<Range<i64>>>>,
}

impl TableRows {
    pub(crate) fn new(file: ParquetFile, schema: SchemaRef, url: &str) -> KernelResult<Self> {
        let (order, mask) =
            parquet_read_plan(&schema, file.metadata()).map_err(|error| unfit(&file, &error))?;
        let groups = 0..file.metadata().metadata().num_row_groups();
        let mask = mask.unwrap_or_else(ProjectionMask::all);
        Ok(Self { file, schema, order, mask, url: url.to_owned(), groups, open: None })
    }

    /// The next rows, in the order of the file; `None` behind the last ones.
    pub(crate) fn next_rows(&mut self) -> KernelResult<Option<ArrowEngineData>> {
        loop {
            if let Some(group) = &mut self.open {
                let file = &self.file;
                if let Some(batch) = file.decode(|| group.reader.next().transpose()).map_err(to_kernel)? {
                    return self.fix(batch).map(Some);
                }
                // The bytes of a group go before those of the next one come.
                self.open = None;
            }
            let Some(group) = self.groups.next() else { return Ok(None) };
            let numbers = ordering_needs_row_indexes(&self.order).then(|| {
                let mut numbers = RowIndexBuilder::new(self.file.metadata().metadata().row_groups());
                numbers.select_row_groups(&[group]);
                numbers.build()
            });
            let reader = self.file.read_group(group, &self.mask).map_err(to_kernel)?;
            self.open = Some(Group { reader, numbers: numbers.transpose()? });
        }
    }

    fn fix(&mut self, batch: RecordBatch) -> KernelResult<ArrowEngineData> {
        // Rows without a column of the file are counted all the same; the kernel's own code needs one.
        if self.schema.num_fields() == 0 {
            return Ok(ArrowEngineData::new(batch));
        }
        let numbers = self.open.as_mut().and_then(|group| group.numbers.as_mut());
        fixup_parquet_read(batch, &self.order, numbers, Some(&self.url), Some(&self.schema))
            .map_err(|error| unfit(&self.file, &error))
    }
}

/// The error of a file whose columns are not those of its table.
fn unfit(file: &ParquetFile, error: &KernelError) -> KernelError {
    let why = error.without_backtrace();
    let message = format!("`{}` does not have the columns of its table: {why}", file.name());
    to_kernel(Error::new(ErrorCode::SourceInvalid, message))
}
