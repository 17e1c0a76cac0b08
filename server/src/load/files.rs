//! Several files as one reader of rows.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::csv;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::file_error::FileError;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::nearest::nearest;
use crate::output::format::ending;
use crate::output::progress::Progress;

/// Rows of a batch that is read from a file.
const BATCH_ROWS: usize = 16 << 10;
/// What an Arrow IPC file starts with; a stream does not.
const ARROW_FILE_MAGIC: &[u8] = b"ARROW1";

#[derive(Clone, Copy)]
enum FileFormat {
    Parquet,
    Csv,
    Arrow,
}

const ENDINGS: [(&str, FileFormat); 5] = [
    ("parquet", FileFormat::Parquet),
    ("csv", FileFormat::Csv),
    ("arrow", FileFormat::Arrow),
    ("feather", FileFormat::Arrow),
    ("arrows", FileFormat::Arrow),
];

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, FileError>> + Send>;

/// Checks that files are there and of a format that can be loaded.
pub(super) fn check(paths: &[PathBuf]) -> Result<(), Failure> {
    for path in paths {
        open_file(path).map_err(|error| Failure::from(&error))?;
        ending(path, &ENDINGS)?;
    }
    Ok(())
}

/// Files of the same columns.
pub(super) struct Files {
    schema: SchemaRef,
    files: VecDeque<InputFile>,
}

struct InputFile {
    path: PathBuf,
    format: FileFormat,
    schema: SchemaRef,
}

impl Files {
    /// Finds out the columns of all files, and that they are the same. CSV columns have the types of `table`, or
    /// else those of the first file.
    pub(super) fn open(paths: &[PathBuf], table: Option<SchemaRef>) -> Result<Self, Failure> {
        let mut types = table;
        let mut files: VecDeque<InputFile> = VecDeque::new();
        for path in paths {
            let format = ending(path, &ENDINGS)?;
            let schema = columns(path, format, types.as_deref()).map_err(|error| Failure::from(&error))?;
            if let Some(first) = files.front() {
                same_columns(first, path, &schema)?;
            }
            types.get_or_insert_with(|| schema.clone());
            files.push_back(InputFile { path: path.clone(), format, schema });
        }
        Ok(Self { schema: merged(&files), files })
    }

    /// The rows of all files, one file after another, and how many of them were read.
    pub(super) fn reader(self, progress: Progress) -> (Reader, Counter) {
        let counter = Counter(Arc::default());
        let Self { schema, files } = self;
        (Reader { schema, files, batches: None, progress, counter: counter.clone() }, counter)
    }
}

/// How many rows were read.
#[derive(Clone)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(super) fn rows(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reads one file after another.
pub(super) struct Reader {
    schema: SchemaRef,
    files: VecDeque<InputFile>,
    batches: Option<Batches>,
    progress: Progress,
    counter: Counter,
}

impl Reader {
    fn read(&mut self) -> Result<Option<RecordBatch>, FileError> {
        loop {
            if let Some(batch) = self.batches.as_mut().and_then(Iterator::next) {
                let batch = batch?;
                let rows = self.counter.0.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                self.progress.at(rows + batch.num_rows() as u64, 0);
                return Ok(Some(batch));
            }
            match self.files.pop_front() {
                Some(file) => self.batches = Some(batches(&file)?),
                None => return Ok(None),
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map_err(|error| ArrowError::ExternalError(Box::new(error))).transpose()
    }
}

impl RecordBatchReader for Reader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

fn open_file(path: &Path) -> Result<File, FileError> {
    let refused = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Report };
        let message = format!("cannot open `{}`", path.display());
        FileError { exit, message, source: Some(error.into()) }
    };
    File::open(path).map_err(refused)
}

/// The columns of a file.
fn columns(path: &Path, format: FileFormat, types: Option<&Schema>) -> Result<SchemaRef, FileError> {
    let file = open_file(path)?;
    match format {
        FileFormat::Parquet => {
            contained(path, || ParquetRecordBatchReaderBuilder::try_new(file).map(|it| it.schema().clone()))
        }
        FileFormat::Csv => csv_columns(path, file, types),
        FileFormat::Arrow => contained(path, || arrow_reader(file).map(|it| it.schema())),
    }
}

fn batches(file: &InputFile) -> Result<Batches, FileError> {
    let opened = open_file(&file.path)?;
    match file.format {
        FileFormat::Parquet => {
            let reader = contained(&file.path, || {
                ParquetRecordBatchReaderBuilder::try_new(opened)?.with_batch_size(BATCH_ROWS).build()
            })?;
            Ok(guarded(&file.path, reader))
        }
        FileFormat::Csv => {
            let builder = csv::ReaderBuilder::new(file.schema.clone()).with_header(true);
            let reader = builder.with_batch_size(BATCH_ROWS).build(opened);
            let reader = reader.map_err(|error| not_csv(&file.path, error))?;
            let path = file.path.clone();
            Ok(Box::new(reader.map(move |batch| {
                batch.map_err(|error| FileError::new(&path, "does not fit its columns").because(error))
            })))
        }
        FileFormat::Arrow => Ok(guarded(&file.path, contained(&file.path, || arrow_reader(opened))?)),
    }
}

fn arrow_reader(mut file: File) -> Result<Box<dyn RecordBatchReader + Send>, ArrowError> {
    let mut magic = Vec::new();
    (&mut file).take(ARROW_FILE_MAGIC.len() as u64).read_to_end(&mut magic)?;
    file.rewind()?;
    Ok(if magic == ARROW_FILE_MAGIC {
        Box::new(FileReader::try_new(BufReader::new(file), None)?)
    } else {
        Box::new(StreamReader::try_new(BufReader::new(file), None)?)
    })
}

/// The columns of a CSV file in their order, with the types of `types` by name, or inferred from all its lines.
fn csv_columns(path: &Path, file: File, types: Option<&Schema>) -> Result<SchemaRef, FileError> {
    let lines = types.map(|_| 0);
    let inferred = csv::reader::Format::default().with_header(true).infer_schema(BufReader::new(file), lines);
    let (inferred, _) = inferred.map_err(|error| not_csv(path, error))?;
    let Some(types) = types else { return Ok(Arc::new(inferred)) };
    let typed = inferred.fields().iter().map(|field| {
        let known = types.field_with_name(field.name());
        known.cloned().map_err(|_| FileError::new(path, unknown_column(field.name(), types)))
    });
    Ok(Arc::new(Schema::new(typed.collect::<Result<Vec<_>, _>>()?)))
}

fn not_csv(path: &Path, error: ArrowError) -> FileError {
    FileError::new(path, "is not a CSV file with a header line").because(error)
}

/// Damaged files make a decoder fail, or panic; either is an error of the file.
fn contained<T, E: StdError + Send + Sync + 'static>(
    path: &Path,
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T, FileError> {
    let damaged = || FileError::new(path, "is damaged or not of the format that its name ends in");
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|error| damaged().because(error)),
        Err(_) => Err(damaged().because("the decoder panicked")),
    }
}

/// The batches of a decoder, which is not asked again after an error.
fn guarded(path: &Path, mut reader: impl RecordBatchReader + Send + 'static) -> Batches {
    let path = path.to_owned();
    let mut failed = false;
    Box::new(std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let next = contained(&path, || reader.next().transpose()).transpose();
        failed = matches!(next, Some(Err(_)));
        next
    }))
}

fn same_columns(first: &InputFile, path: &Path, schema: &Schema) -> Result<(), Failure> {
    let failure = |what: String| Failure::from(&FileError::new(path, what));
    for field in schema.fields() {
        match first.schema.field_with_name(field.name()) {
            Ok(expected) if expected.data_type() == field.data_type() => {}
            Ok(expected) => {
                let (name, is, other) = (field.name(), field.data_type(), expected.data_type());
                let first = first.path.display();
                return Err(failure(format!("has `{name}` as {is}, and `{first}` has it as {other}")));
            }
            Err(_) => return Err(failure(unknown_column(field.name(), &first.schema))),
        }
    }
    match first.schema.fields().iter().find(|field| schema.field_with_name(field.name()).is_err()) {
        Some(missing) => {
            let (name, first) = (missing.name(), first.path.display());
            Err(failure(format!("lacks the column `{name}`, which `{first}` has")))
        }
        None => Ok(()),
    }
}

/// Columns of the first file; one that may be null in any file may be null.
fn merged(files: &VecDeque<InputFile>) -> SchemaRef {
    let Some(first) = files.front() else { return Arc::new(Schema::empty()) };
    let fields = first.schema.fields().iter().map(|field| {
        let nullable =
            files.iter().any(|file| file.schema.field_with_name(field.name()).is_ok_and(Field::is_nullable));
        field.as_ref().clone().with_nullable(nullable)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn unknown_column(name: &str, known: &Schema) -> String {
    let hint = match nearest(name, known.fields().iter().map(|field| field.name().as_str())) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    format!("has a column `{name}`, which is unknown{hint}")
}
