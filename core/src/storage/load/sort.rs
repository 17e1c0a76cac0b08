//! Sorts any number of rows in bounded memory: sorted runs on disk, merged.

use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::row::{RowConverter, Rows, SortField};

use crate::storage::batch::row_lens::RowLens;
use crate::storage::batch::{BATCH_BYTES_TARGET, batch_len};
use crate::storage::format::BATCH_ROWS;
use crate::storage::mapped::region::Region;
use crate::storage::vfs::{Vfs, VfsFile};
use crate::types::error::{Error, Result};

/// Bytes that a sort takes for each row beside the row and its key: its place in the order, and half of that again while the
/// order is made.
const PLACE_BYTES: usize = size_of::<Place>() + size_of::<Place>() / 2;
/// Rows of a batch that are taken at once, so that a place in the order is short.
const PUSHED_ROWS: usize = 1 << 24;
/// Most rows of a batch of a run on disk; a merge holds one such batch of every run.
const SPILL_ROWS: usize = 8192;
/// A batch of a run has at most this share of the memory of a sort.
const SPILL_SHARE: usize = 32;

/// Ascending, nulls last: what SQL's `ORDER BY` means by default.
pub(crate) const ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };

/// Collects rows and gives them back in order.
pub(crate) struct Sorter {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    name: String,
    schema: SchemaRef,
    columns: Vec<usize>,
    converter: RowConverter,
    budget: usize,
    buffered: Vec<Keyed>,
    /// Bytes of the buffered rows, and of what sorting them takes.
    buffered_len: usize,
    runs: Vec<SpillFile>,
}

/// Rows with what a sort needs to know of them.
struct Keyed {
    batch: RecordBatch,
    keys: Rows,
    lens: RowLens,
}

/// The number of a buffered batch, and of a row in it.
type Place = (u32, u32);

/// The most that a batch may have; a batch of a single row may have more bytes.
#[derive(Clone, Copy)]
struct Limits {
    rows: usize,
    bytes: usize,
}

/// A batch for segments.
const BATCH: Limits = Limits { rows: BATCH_ROWS, bytes: BATCH_BYTES_TARGET };

impl Sorter {
    /// Sorts by `columns`; keeps about `budget` bytes in memory, of rows and of what sorting them takes, and the rest in files
    /// below `dir` that begin with `name`.
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        dir: PathBuf,
        name: &str,
        schema: SchemaRef,
        columns: Vec<usize>,
        budget: usize,
    ) -> Result<Self> {
        let fields = columns
            .iter()
            .map(|&column| SortField::new_with_options(schema.field(column).data_type().clone(), ORDER));
        let converter = RowConverter::new(fields.collect()).map_err(arrow_error)?;
        Ok(Self {
            vfs,
            dir,
            name: name.to_owned(),
            schema,
            columns,
            converter,
            budget,
            buffered: Vec::new(),
            buffered_len: 0,
            runs: Vec::new(),
        })
    }

    /// Takes rows.
    ///
    /// # Errors
    /// [`DiskFull`](crate::ErrorCode::DiskFull), [`Io`](crate::ErrorCode::Io).
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        for start in (0..batch.num_rows()).step_by(PUSHED_ROWS) {
            let rows = batch.slice(start, PUSHED_ROWS.min(batch.num_rows() - start));
            let keyed = Keyed::new(&self.converter, &self.columns, rows)?;
            self.buffered_len += keyed.bytes();
            self.buffered.push(keyed);
            if self.buffered_len >= self.budget {
                self.spill()?;
            }
        }
        Ok(())
    }

    /// Calls `emit` with all rows in order, in batches for segments.
    ///
    /// # Errors
    /// Those of [`push`](Self::push), and what `emit` returns.
    pub(crate) fn finish(mut self, emit: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        if self.runs.is_empty() {
            return self.sort_buffered(BATCH, emit);
        }
        self.spill()?;
        let readers = self.runs.iter().map(SpillFile::open).collect::<Result<Vec<_>>>()?;
        Merge::new(&self.converter, &self.columns, readers)?.run(BATCH, emit)
    }

    fn spill(&mut self) -> Result<()> {
        if self.buffered.is_empty() {
            return Ok(());
        }
        let bytes = (self.budget / SPILL_SHARE).min(BATCH_BYTES_TARGET);
        let path = self.dir.join(format!("{}-{}", self.name, self.runs.len()));
        let mut writer = SpillWriter::create(self.vfs.as_ref(), &path, &self.schema)?;
        self.runs.push(SpillFile { vfs: self.vfs.clone(), path });
        self.sort_buffered(Limits { rows: SPILL_ROWS, bytes }, &mut |batch| writer.write(&batch))?;
        writer.finish()
    }

    fn sort_buffered(
        &mut self,
        limits: Limits,
        emit: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let buffered = std::mem::take(&mut self.buffered);
        self.buffered_len = 0;
        let mut order: Vec<Place> = Vec::with_capacity(buffered.iter().map(|it| it.batch.num_rows()).sum());
        for (number, keyed) in (0..).zip(&buffered) {
            let rows = u32::try_from(keyed.batch.num_rows()).map_err(|_| Error::internal("too many rows"))?;
            order.extend((0..rows).map(|row| (number, row)));
        }
        let key = |&(batch, row): &Place| buffered[batch as usize].keys.row(row as usize);
        if !order.is_sorted_by(|a, b| key(a) <= key(b)) {
            order.sort_by(|a, b| key(a).cmp(&key(b)));
        }
        let sources: Vec<&RecordBatch> = buffered.iter().map(|keyed| &keyed.batch).collect();
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let mut bytes: usize = 0;
            let fits = |&&(batch, row): &&Place| {
                bytes += buffered[batch as usize].lens.of_row(row as usize);
                bytes <= limits.bytes
            };
            let rows = rest.iter().take(limits.rows).take_while(fits).count().max(1);
            let (part, others) = rest.split_at(rows);
            let part: Vec<_> = part.iter().map(|&(batch, row)| (batch as usize, row as usize)).collect();
            emit(interleave_record_batch(&sources, &part).map_err(arrow_error)?)?;
            rest = others;
        }
        Ok(())
    }
}

impl Keyed {
    fn new(converter: &RowConverter, columns: &[usize], batch: RecordBatch) -> Result<Self> {
        let arrays: Vec<ArrayRef> = columns.iter().map(|&column| batch.column(column).clone()).collect();
        let mut keys = converter.empty_rows(batch.num_rows(), 0);
        converter.append(&mut keys, &arrays).map_err(arrow_error)?;
        let lens = RowLens::of(&batch);
        Ok(Self { batch, keys, lens })
    }

    /// Bytes that a sort takes for these rows.
    fn bytes(&self) -> usize {
        let places = PLACE_BYTES * self.batch.num_rows();
        batch_len(&self.batch) + self.keys.size() + self.lens.size() + places
    }
}

fn arrow_error(error: ArrowError) -> Error {
    Error::internal("cannot sort rows").with_source(error)
}

/// A sorted run on disk; removed when dropped.
struct SpillFile {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
}

type SpillReader = StreamReader<Cursor<Region>>;

impl SpillFile {
    fn open(&self) -> Result<SpillReader> {
        let region = self.vfs.map(&self.path).map_err(|error| Error::io("map", &self.path, error))?;
        StreamReader::try_new(Cursor::new(region), None).map_err(arrow_error)
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        if let Err(error) = self.vfs.remove(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove a temporary file");
        }
    }
}

struct SpillWriter {
    path: PathBuf,
    writer: StreamWriter<io::BufWriter<FileSink>>,
}

impl SpillWriter {
    fn create(vfs: &dyn Vfs, path: &Path, schema: &SchemaRef) -> Result<Self> {
        let file = vfs.create(path).map_err(|error| Error::io("create", path, error))?;
        let sink = io::BufWriter::with_capacity(1 << 20, FileSink { file, position: 0 });
        let writer = StreamWriter::try_new(sink, schema).map_err(|error| Self::error(path, error))?;
        Ok(Self { path: path.to_owned(), writer })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(|error| Self::error(&self.path, error))
    }

    fn finish(mut self) -> Result<()> {
        self.writer
            .finish()
            .and_then(|()| self.writer.flush())
            .map_err(|error| Self::error(&self.path, error))
    }

    fn error(path: &Path, error: ArrowError) -> Error {
        match error {
            ArrowError::IoError(_, error) => Error::io("write", path, error),
            other => arrow_error(other),
        }
    }
}

/// Appends to a file.
struct FileSink {
    file: Box<dyn VfsFile>,
    position: u64,
}

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.position)?;
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A merge of sorted runs by a binary heap of cursors. Ties go to the earlier run, so that the sort is stable.
struct Merge<'a> {
    converter: &'a RowConverter,
    columns: &'a [usize],
    cursors: Vec<RunCursor>,
    /// Numbers of cursors that have rows left; the first has the smallest row.
    heap: Vec<usize>,
}

struct RunCursor {
    reader: SpillReader,
    rows: Keyed,
    row: usize,
}

impl<'a> Merge<'a> {
    fn new(converter: &'a RowConverter, columns: &'a [usize], readers: Vec<SpillReader>) -> Result<Self> {
        let mut cursors = Vec::with_capacity(readers.len());
        for mut reader in readers {
            if let Some(batch) = reader.next() {
                let rows = Keyed::new(converter, columns, batch.map_err(arrow_error)?)?;
                cursors.push(RunCursor { reader, rows, row: 0 });
            }
        }
        let mut merge = Self { converter, columns, heap: (0..cursors.len()).collect(), cursors };
        for position in (0..merge.heap.len() / 2).rev() {
            merge.sift_down(position);
        }
        Ok(merge)
    }

    fn run(mut self, limits: Limits, emit: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let mut sources: Vec<RecordBatch> = self.batches();
        // Where the current batch of each cursor stands in `sources`.
        let mut source_of: Vec<usize> = (0..sources.len()).collect();
        let mut order = Vec::with_capacity(limits.rows);
        let mut bytes = 0;
        while let Some(&first) = self.heap.first() {
            let cursor = &mut self.cursors[first];
            let len = cursor.rows.lens.of_row(cursor.row);
            if order.len() == limits.rows || !order.is_empty() && bytes + len > limits.bytes {
                let references: Vec<&RecordBatch> = sources.iter().collect();
                emit(interleave_record_batch(&references, &order).map_err(arrow_error)?)?;
                (bytes, sources) = (0, self.batches());
                source_of = (0..sources.len()).collect();
                order.clear();
            }
            let cursor = &mut self.cursors[first];
            bytes += len;
            order.push((source_of[first], cursor.row));
            cursor.row += 1;
            if cursor.row == cursor.rows.batch.num_rows() {
                match cursor.reader.next() {
                    Some(batch) => {
                        cursor.rows = Keyed::new(self.converter, self.columns, batch.map_err(arrow_error)?)?;
                        cursor.row = 0;
                        source_of[first] = sources.len();
                        sources.push(cursor.rows.batch.clone());
                    }
                    None => {
                        self.heap.swap_remove(0);
                    }
                }
            }
            self.sift_down(0);
        }
        if order.is_empty() {
            return Ok(());
        }
        let references: Vec<&RecordBatch> = sources.iter().collect();
        emit(interleave_record_batch(&references, &order).map_err(arrow_error)?)
    }

    fn batches(&self) -> Vec<RecordBatch> {
        self.cursors.iter().map(|cursor| cursor.rows.batch.clone()).collect()
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        let row = |number: usize| self.cursors[number].rows.keys.row(self.cursors[number].row);
        (row(a), a) < (row(b), b)
    }

    fn sift_down(&mut self, mut position: usize) {
        loop {
            let mut smallest = position;
            for child in [2 * position + 1, 2 * position + 2] {
                if child < self.heap.len() && self.is_before(self.heap[child], self.heap[smallest]) {
                    smallest = child;
                }
            }
            if smallest == position {
                return;
            }
            self.heap.swap(position, smallest);
            position = smallest;
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;
    use crate::storage::vfs::OsVfs;

    /// A fixed sequence of numbers that look random.
    fn numbers(count: i64) -> impl Iterator<Item = i64> {
        (0..count).map(|n| (n.wrapping_mul(6_364_136_223_846_793_005) >> 33) % 5000)
    }

    fn sort(budget: usize, count: i64) -> (Vec<(Option<i64>, i64)>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let fields = vec![
            Field::new("key", DataType::Int64, true),
            Field::new("position", DataType::Int64, false),
            Field::new("payload", DataType::Utf8, false),
        ];
        let schema = Arc::new(Schema::new(fields));
        let mut sorter =
            Sorter::new(Arc::new(OsVfs), dir.path().to_owned(), "run", schema.clone(), vec![0], budget)
                .unwrap();
        let keys: Vec<Option<i64>> = numbers(count).map(|n| (n % 7 != 0).then_some(n)).collect();
        for (start, chunk) in (0..).step_by(1000).zip(keys.chunks(1000)) {
            let end = start + i64::try_from(chunk.len()).unwrap();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(chunk.to_vec())),
                Arc::new(Int64Array::from_iter_values(start..end)),
                Arc::new(StringArray::from_iter_values(
                    chunk.iter().map(|key| format!("payload of {key:?}")),
                )),
            ];
            sorter.push(&RecordBatch::try_new(schema.clone(), columns).unwrap()).unwrap();
        }
        let runs = sorter.runs.len();
        let mut sorted = Vec::new();
        sorter
            .finish(&mut |batch| {
                let keys = batch.column(0).as_primitive::<Int64Type>();
                let positions = batch.column(1).as_primitive::<Int64Type>();
                for (row, (key, position)) in keys.iter().zip(positions.values()).enumerate() {
                    assert_eq!(batch.column(2).as_string::<i32>().value(row), format!("payload of {key:?}"));
                    sorted.push((key, *position));
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(dir.path().read_dir().unwrap().count(), 0, "runs are removed");
        (sorted, runs)
    }

    fn expected(count: i64) -> Vec<(Option<i64>, i64)> {
        let keys = numbers(count).map(|n| (n % 7 != 0).then_some(n));
        let mut rows: Vec<_> = keys.zip(0..).collect();
        // Nulls last; ties as they came.
        rows.sort_by_key(|(key, position)| (key.is_none(), *key, *position));
        rows
    }

    #[test]
    fn rows_come_out_in_order_whether_or_not_they_fit_in_memory() {
        for (budget, least_runs) in [(usize::MAX, 0), (1 << 20, 3), (1, 100)] {
            let (sorted, runs) = sort(budget, 100_000);
            assert!(runs >= least_runs, "{runs} runs with a budget of {budget}");
            assert_eq!(sorted, expected(100_000), "budget {budget}");
        }
    }

    /// Neighbours in the order may all be long even if rows are short on average.
    #[test]
    fn batches_are_bounded_by_the_bytes_of_their_rows() {
        let fields =
            vec![Field::new("key", DataType::Int64, true), Field::new("text", DataType::Utf8, false)];
        let schema = Arc::new(Schema::new(fields));
        let long = "x".repeat(1 << 20);
        for budget in [usize::MAX, 16 << 20] {
            let dir = tempfile::tempdir().unwrap();
            let vfs = Arc::new(OsVfs);
            let mut sorter =
                Sorter::new(vfs, dir.path().to_owned(), "run", schema.clone(), vec![0], budget).unwrap();
            for part in 0..75 {
                let keys = Int64Array::from_iter_values(
                    (0..1000).map(|row| if row == 0 { 500_000 } else { 1000 * row + part }),
                );
                let texts = StringArray::from_iter_values(
                    (0..1000).map(|row| if row == 0 { long.as_str() } else { "" }),
                );
                sorter
                    .push(
                        &RecordBatch::try_new(schema.clone(), vec![Arc::new(keys), Arc::new(texts)]).unwrap(),
                    )
                    .unwrap();
            }
            let (mut rows, mut longs, mut largest) = (0, 0, 0);
            sorter
                .finish(&mut |batch| {
                    largest = largest.max(batch_len(&batch));
                    rows += batch.num_rows();
                    longs += batch
                        .column(1)
                        .as_string::<i32>()
                        .iter()
                        .flatten()
                        .filter(|text| !text.is_empty())
                        .count();
                    Ok(())
                })
                .unwrap();
            assert_eq!((rows, longs), (75_000, 75), "budget {budget}");
            assert!(largest <= BATCH_BYTES_TARGET, "a batch of {largest} bytes, budget {budget}");
        }
    }

    #[test]
    fn no_rows_sort_to_nothing() {
        assert_eq!(sort(1, 0).0, Vec::new());
    }
}
