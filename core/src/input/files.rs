//! Lists of input files, read one after another.

use std::path::{Path, PathBuf};

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::file::open_for_reading;
use super::{Format, InputFile, OpenInput, Pattern, arrow_ipc};
use crate::types::error::{Error, ErrorCode, Result, suggestion};

/// Opens files one after another; all must have the columns of the first.
///
/// # Errors
/// [`ErrorCode::SourceNotFound`], [`ErrorCode::SourceInvalid`]; [`ErrorCode::InvalidArgument`] for an unknown ending.
pub(super) fn open(patterns: Vec<Pattern>, table: Option<&SchemaRef>) -> Result<OpenInput> {
    let mut files = Vec::new();
    for Pattern { text, format } in patterns {
        for path in list(&text)? {
            let format = match &format {
                Some(format) => format.clone(),
                None => format_by_ending(&path)?,
            };
            files.push((path, format));
        }
    }
    let Some((first_path, first_format)) = files.first() else {
        return Err(Error::new(ErrorCode::InvalidArgument, "no files are named"));
    };
    // Opens every file before reading the first row, so that files that do not fit are reported early.
    let mut schema = without_metadata(&open_one(first_path, first_format, table)?.schema);
    for (path, format) in &files[1..] {
        let other = without_metadata(&open_one(path, format, Some(&schema))?.schema);
        if !same_columns(&other, &schema) {
            let message = format!("`{}` has other columns than `{}`", path.display(), first_path.display());
            return Err(Error::new(ErrorCode::SourceInvalid, message));
        }
        schema = nullable_in_either(&schema, &other);
    }
    let known = schema.clone();
    let batches =
        files.into_iter().flat_map(move |(path, format)| match open_one(&path, &format, Some(&known)) {
            Ok(input) => input.batches,
            Err(error) => Box::new(std::iter::once(Err(error))),
        });
    Ok(OpenInput { schema, batches: Box::new(batches) })
}

/// Every file, or why it cannot be read. Reads no rows.
pub(super) fn look(patterns: &[Pattern]) -> Vec<Result<InputFile>> {
    let look_at_all = |pattern: &Pattern| match list(&pattern.text) {
        Ok(paths) => paths.into_iter().map(|path| look_at(path, pattern.format.as_ref())).collect(),
        Err(error) => vec![Err(error)],
    };
    patterns.iter().flat_map(look_at_all).collect()
}

fn look_at(path: PathBuf, format: Option<&Format>) -> Result<InputFile> {
    let format = match format {
        Some(format) => format.clone(),
        None => format_by_ending(&path)?,
    };
    let found = open_for_reading(&path)?.metadata().map_err(|error| Error::io("look at", &path, error))?;
    let schema = match format {
        #[cfg(feature = "csv")]
        Format::Csv(told) => told,
        declaring => Some(open_one(&path, &declaring, None)?.schema),
    };
    Ok(InputFile { path, bytes: found.len(), schema: schema.as_ref().map(without_metadata) })
}

/// The fields of `schema`, each nullable if it is so in `schema` or in `other`.
fn nullable_in_either(schema: &SchemaRef, other: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let nullable = other.field_with_name(field.name()).is_ok_and(Field::is_nullable);
        field.as_ref().clone().with_nullable(field.is_nullable() || nullable)
    });
    Schema::new(fields.collect::<Vec<_>>()).into()
}

/// Opens a file. `known` has the types of columns, for formats that do not declare them.
fn open_one(path: &Path, format: &Format, known: Option<&SchemaRef>) -> Result<OpenInput> {
    match format {
        #[cfg(feature = "parquet")]
        Format::Parquet => super::parquet::open(path),
        #[cfg(feature = "csv")]
        Format::Csv(told) => super::csv::open(path, told.as_ref().or(known)),
        Format::Arrow => {
            #[cfg(not(feature = "csv"))]
            let _ = known;
            arrow_ipc::open(path)
        }
    }
}

fn format_by_ending(path: &Path) -> Result<Format> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
    match ending.as_str() {
        #[cfg(feature = "parquet")]
        "parquet" => Ok(Format::Parquet),
        #[cfg(feature = "csv")]
        "csv" => Ok(Format::Csv(None)),
        "arrow" | "arrows" | "feather" => Ok(Format::Arrow),
        other => Err(Error::new(
            ErrorCode::InvalidArgument,
            format!(
                "the ending of `{}` names no format{}; there are parquet, csv, arrow, arrows and feather",
                path.display(),
                suggestion(other, ["parquet", "csv", "arrow", "arrows", "feather"])
            ),
        )),
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
    let paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(|error| {
        Error::new(ErrorCode::SourceNotFound, format!("cannot list `{pattern}`")).with_source(error)
    })?;
    if paths.is_empty() {
        return Err(Error::new(ErrorCode::SourceNotFound, format!("no file matches `{pattern}`")));
    }
    Ok(paths)
}

/// Whether files can be of one table: names and types of columns must agree, nullability and order may differ.
fn same_columns(a: &SchemaRef, b: &SchemaRef) -> bool {
    a.fields().len() == b.fields().len()
        && a.fields().iter().all(|field| {
            b.field_with_name(field.name()).is_ok_and(|other| other.data_type() == field.data_type())
        })
}

/// Metadata of a file's schema describes that file and its writer, not the table.
fn without_metadata(schema: &SchemaRef) -> SchemaRef {
    Schema::new(schema.fields().clone()).into()
}
