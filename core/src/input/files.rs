//! Files on disk, read one after another.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::adapt::FileAdapter;
use super::file::{contained_texts, open_for_reading};
use super::folders::Folders;
use super::options::FileOptions;
use super::plan::{FilePlan, PlannedFile};
use super::reading::{FileBatches, FileColumns, FileFormat, FileReading};
use super::{Files, InputFile, OpenInput, arrow_ipc};
use crate::types::error::{Error, ErrorCode, Result, suggestion};

/// A file and how it is read.
struct LocalFile {
    path: PathBuf,
    reading: FileReading,
}

/// Opens files one after another, as one set of columns. `table` has the columns of the table that the rows go into, if it is
/// there.
///
/// # Errors
/// [`ErrorCode::SourceNotFound`], [`ErrorCode::SourceInvalid`], [`ErrorCode::SchemaMismatch`];
/// [`ErrorCode::InvalidArgument`] for an unknown ending.
pub(super) fn open(files: Files, table: Option<&SchemaRef>) -> Result<OpenInput> {
    let Files { patterns, options, types } = files;
    let table = types.as_ref().or(table);
    let mut files = Vec::new();
    for pattern in &patterns {
        for path in list(pattern)? {
            files.push(LocalFile::of(path, &options)?);
        }
    }
    if files.is_empty() {
        return Err(Error::new(ErrorCode::InvalidArgument, "no files are named"));
    }
    // A file of texts without a byte has no rows, and so no columns of its own.
    if files.iter().any(|file| !file.is_without_bytes()) {
        files.retain(|file| !file.is_without_bytes());
    }
    // Looks at every file before the first row is read, so that files that do not fit are reported early.
    let planned = files.iter().map(|file| file.planned(&options, table)).collect::<Result<Vec<_>>>()?;
    // Objects often lack what is null.
    let may_lack = files.iter().any(|file| file.reading.format() == FileFormat::NdJson);
    if let Some(table) = table {
        check_names(&planned, &options, table, may_lack)?;
    }
    let plan = Arc::new(FilePlan::for_table(planned, options, table, may_lack)?);
    let schema = plan.schema().clone();
    let batches = files.into_iter().enumerate().flat_map(move |(number, file)| {
        file.open(&plan, number).unwrap_or_else(|error| Box::new(std::iter::once(Err(error))))
    });
    Ok(OpenInput { schema, batches: Box::new(batches) })
}

/// Every file, or why it cannot be read. Reads no rows.
pub(super) fn look(files: &Files) -> Vec<Result<InputFile>> {
    let look_at_all = |pattern: &String| match list(pattern) {
        Ok(paths) => paths.into_iter().map(|path| look_at(path, files)).collect(),
        Err(error) => vec![Err(error)],
    };
    files.patterns.iter().flat_map(look_at_all).collect()
}

fn look_at(path: PathBuf, files: &Files) -> Result<InputFile> {
    let found = open_for_reading(&path)?.metadata().map_err(|error| Error::io("look at", &path, error))?;
    let file = LocalFile::of(path, &files.options)?;
    let schema = match (file.reading.is_texts(), &files.types) {
        (true, types) => types.as_ref().map(without_metadata),
        (false, _) => match file.columns(&files.options, None)? {
            FileColumns::Declared(schema, _) => Some(file.with_folders(&schema, &files.options)?),
            FileColumns::Texts(_) => None,
        },
    };
    Ok(InputFile { path: file.path, bytes: found.len(), schema })
}

impl LocalFile {
    fn of(path: PathBuf, options: &FileOptions) -> Result<Self> {
        let reading = FileReading::of(&path.to_string_lossy(), options)?;
        Ok(Self { path, reading })
    }

    fn is_without_bytes(&self) -> bool {
        self.reading.is_texts() && self.path.metadata().is_ok_and(|found| found.is_file() && found.len() == 0)
    }

    fn planned(&self, options: &FileOptions, table: Option<&SchemaRef>) -> Result<PlannedFile> {
        let name = self.name();
        let columns = Arc::new(self.columns(options, table)?.check(&name)?);
        Ok(PlannedFile { path: name.clone(), name, columns })
    }

    fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    fn columns(&self, options: &FileOptions, table: Option<&SchemaRef>) -> Result<FileColumns> {
        match self.reading.format() {
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => super::parquet::columns(&self.path),
            FileFormat::Arrow => arrow_ipc::columns(&self.path),
            _ if !self.reading.is_texts() => Err(self.reading.lacking(&self.name())),
            _ => {
                let file = open_for_reading(&self.path)?;
                let is_known = |name: &str| table.is_some_and(|table| table.column_with_name(name).is_some());
                contained_texts(&self.path, || {
                    self.reading.look_at_texts(&self.name(), file, options, &is_known)
                })
            }
        }
    }

    fn open(&self, plan: &Arc<FilePlan>, number: usize) -> Result<FileBatches> {
        let adapter = Arc::new(FileAdapter::new(plan, plan.schema(), number)?);
        let batches = match self.reading.format() {
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => super::parquet::open(&self.path, adapter.wanted())?,
            FileFormat::Arrow => arrow_ipc::open(&self.path, adapter.wanted())?,
            _ => {
                let file = open_for_reading(&self.path)?;
                let open = || self.reading.open_texts(&self.name(), file, adapter.wanted());
                let path = self.path.clone();
                let mut batches = contained_texts(&self.path, open)?;
                Box::new(std::iter::from_fn(move || {
                    contained_texts(&path, || batches.next().transpose()).transpose()
                }))
            }
        };
        Ok(Box::new(batches.flat_map(move |batch| adapted(&adapter, batch))))
    }

    /// The columns of the file and of its folders.
    fn with_folders(&self, schema: &SchemaRef, options: &FileOptions) -> Result<SchemaRef> {
        let name = self.name();
        let folders = Folders::of(&[&name], options, None)?;
        let of_file = schema.fields().iter().filter(|field| !folders.has(field.name()));
        let fields: Vec<_> = of_file.chain(folders.schema().fields()).cloned().collect();
        Ok(Schema::new(fields).into())
    }
}

/// The pieces of a batch of a file, as batches of all files together.
fn adapted(
    adapter: &Arc<FileAdapter>,
    batch: Result<RecordBatch>,
) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
    match batch {
        Ok(batch) => {
            let (pieces, adapter) = (adapter.pieces(batch), adapter.clone());
            Box::new(pieces.map(move |piece| adapter.adapt(&piece)))
        }
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}

/// Checks that files of texts have columns of the table only, and all of them together unless they `may_lack` some.
///
/// # Errors
/// [`ErrorCode::SourceInvalid`] with the file and the columns.
fn check_names(
    files: &[PlannedFile],
    options: &FileOptions,
    table: &SchemaRef,
    may_lack: bool,
) -> Result<()> {
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let folders = Folders::of(&paths, options, Some(table))?;
    let known = || table.fields().iter().map(|field| field.name().as_str());
    let others = |file: &PlannedFile, why: String| {
        Error::new(
            ErrorCode::SourceInvalid,
            format!("`{}` has other columns than its table: {why}", file.name),
        )
    };
    let is_new = |name: &str| !options.is_left_out(name) && table.column_with_name(name).is_none();
    if let (Some(file), Some(new)) =
        (files.first(), folders.schema().fields().iter().find(|field| is_new(field.name())))
    {
        let why = format!(
            "`{}` is in the names of its folders; set the option `hive` to `off`, so that folders are no columns",
            new.name()
        );
        return Err(others(file, why));
    }
    let texts: Vec<&PlannedFile> =
        files.iter().filter(|file| matches!(&*file.columns, FileColumns::Texts(_))).collect();
    let mut found: Vec<&str> = folders.schema().fields().iter().map(|field| field.name().as_str()).collect();
    for file in &texts {
        for name in file.columns.names() {
            if is_new(name) && !folders.has(name) {
                let why = format!("the table has no column `{name}`{}", suggestion(name, known()));
                return Err(others(file, why));
            }
            found.push(name);
        }
    }
    let lacking = known().find(|name| !found.contains(name));
    match (texts.first(), lacking) {
        (Some(file), Some(lacking)) if texts.len() == files.len() && !may_lack => {
            Err(others(file, format!("`{lacking}` is missing")))
        }
        _ => Ok(()),
    }
}

/// Files that a path or pattern names, in the order of their names.
///
/// # Errors
/// [`ErrorCode::SourceNotFound`] if there is none.
fn list(pattern: &str) -> Result<Vec<PathBuf>> {
    if !pattern.contains(['*', '?', '[']) || Path::new(pattern).exists() {
        let path = PathBuf::from(pattern);
        return match path.metadata() {
            Ok(_) => Ok(vec![path]),
            Err(error) => {
                Err(Error::new(ErrorCode::SourceNotFound, format!("cannot open `{pattern}`: {error}"))
                    .with_source(error))
            }
        };
    }
    let paths = glob::glob(pattern).map_err(|error| {
        Error::new(ErrorCode::InvalidArgument, format!("`{pattern}` is not a pattern")).with_source(error)
    })?;
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(|error| {
        Error::new(ErrorCode::SourceNotFound, format!("cannot list `{pattern}`")).with_source(error)
    })?;
    // `**/*` matches folders too.
    paths.retain(|path| !path.is_dir());
    if paths.is_empty() {
        return Err(Error::new(ErrorCode::SourceNotFound, format!("no file matches `{pattern}`")));
    }
    Ok(paths)
}

/// Metadata of a file's schema describes that file and its writer, not the table.
fn without_metadata(schema: &SchemaRef) -> SchemaRef {
    Schema::new(schema.fields().clone()).into()
}
