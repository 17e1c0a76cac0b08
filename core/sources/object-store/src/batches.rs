//! The rows of a fetch: file after file, a batch at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use pillion::Result;
use pillion::files::{FileAdapter, FileBatches};
use pillion::source::Call;

use crate::file::SourceFile;
use crate::formats::{self, BATCH_BYTES, BATCH_ROWS};
use crate::plan::Plan;
use crate::runtime::{Ahead, Driver};
use crate::store::Store;

/// Small files that are read before they are needed.
const AHEAD: usize = 6;

/// Rows of some files of a relation, made when they are asked for.
pub(crate) struct Batches {
    pub(crate) plan: Arc<Plan>,
    pub(crate) schema: SchemaRef,
    pub(crate) store: Store,
    pub(crate) driver: Driver,
    pub(crate) call: Call,
    /// Numbers of the files that are still to be opened.
    files: VecDeque<usize>,
    /// Small files whose reading began, in the order of `files`.
    ahead: VecDeque<(usize, Ahead<Bytes>)>,
    open: Option<Open>,
    is_over: bool,
}

struct Open {
    file: SourceFile,
    adapter: FileAdapter,
    batches: FileBatches,
    /// What is left of the last batch of the file.
    of_file: Box<dyn Iterator<Item = RecordBatch> + Send>,
    /// What is left of it in the types of the relation.
    pieces: VecDeque<RecordBatch>,
}

impl Batches {
    pub(crate) fn new(
        plan: Arc<Plan>,
        schema: SchemaRef,
        store: Store,
        driver: Driver,
        call: Call,
        files: Vec<usize>,
    ) -> Self {
        Self {
            plan,
            schema,
            store,
            driver,
            call,
            files: files.into(),
            ahead: VecDeque::new(),
            open: None,
            is_over: false,
        }
    }

    fn read(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            self.call.check()?;
            let Some(open) = &mut self.open else {
                match self.files.pop_front() {
                    Some(file) => self.open = Some(self.open(file)?),
                    None => return Ok(None),
                }
                continue;
            };
            if let Some(piece) = open.pieces.pop_front() {
                return Ok(Some(piece));
            }
            if let Some(piece) = open.of_file.next() {
                let batch = open.adapter.adapt(&piece)?;
                open.pieces.extend(pieces(&batch).into_iter().filter(|piece| piece.num_rows() > 0));
                continue;
            }
            match open.batches.next() {
                Some(batch) => open.of_file = Box::new(open.adapter.pieces(batch?)),
                None => {
                    open.file.look_again()?;
                    self.open = None;
                }
            }
        }
    }

    fn open(&mut self, number: usize) -> Result<Open> {
        let found = &self.plan.files[number];
        let adapter = FileAdapter::new(&self.plan.columns, &self.schema, number)?;
        let mut file = SourceFile::new(&self.store, &self.driver, &self.call, found);
        if self.is_small(number) {
            file = match self.ahead.pop_front() {
                Some((ahead, bytes)) if ahead == number => {
                    file.with_bytes(self.driver.run(&self.call, bytes.get())?)
                }
                _ => file.with_all()?,
            };
        }
        self.read_ahead()?;
        let batches = formats::open(&self.plan.readings[number], &file, adapter.wanted())?;
        Ok(Open { file, adapter, batches, of_file: Box::new(std::iter::empty()), pieces: VecDeque::new() })
    }

    fn is_small(&self, number: usize) -> bool {
        (1..=self.store.small_file()).contains(&self.plan.files[number].meta.size)
    }

    /// Begins to read the next small files.
    fn read_ahead(&mut self) -> Result<()> {
        let next = self.files.iter().copied().filter(|number| self.is_small(*number));
        let next: Vec<usize> = next.take(AHEAD).skip(self.ahead.len()).collect();
        for number in next {
            let found = self.plan.files[number].clone();
            let range = 0..found.meta.size;
            self.ahead.push_back((number, self.driver.spawn(self.store.clone().read(found, range))?));
        }
        Ok(())
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let batch = self.read();
        self.is_over = !matches!(batch, Ok(Some(_)));
        if self.is_over {
            (self.files, self.ahead, self.open) = (VecDeque::new(), VecDeque::new(), None);
        }
        batch.transpose()
    }
}

/// A batch in pieces of limited size.
fn pieces(batch: &RecordBatch) -> Vec<RecordBatch> {
    let (rows, bytes) = (batch.num_rows(), batch.columns().iter().map(bytes_of).sum::<usize>());
    let piece = (BATCH_BYTES / (bytes / rows.max(1)).max(1)).clamp(1, BATCH_ROWS);
    // Memory has some room to spare, which is not a reason to divide.
    if rows <= BATCH_ROWS && bytes <= 2 * BATCH_BYTES {
        return vec![batch.clone()];
    }
    (0..rows).step_by(piece).map(|start| batch.slice(start, piece.min(rows - start))).collect()
}

/// Bytes of the rows of a column. Of memory that a slice shares, only that of its own rows counts, unless they are views.
fn bytes_of(column: &ArrayRef) -> usize {
    match column.data_type() {
        DataType::Utf8View | DataType::BinaryView => column.get_array_memory_size(),
        _ => column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()),
    }
}
