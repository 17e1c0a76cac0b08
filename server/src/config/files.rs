//! The files of tables, looked at before they are loaded.

use std::fs::File;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{FileFormat, TableConfig};
use crate::exit::Exit;
use crate::nearest::nearest;

/// Endings of files that the cache reads.
const ENDINGS: [&str; 5] = ["parquet", "csv", "arrow", "arrows", "feather"];

/// The lengths of the files of a path or pattern, or what is wrong with them.
pub(super) fn look(table: &TableConfig, pattern: &str) -> Vec<Result<u64, (Exit, String)>> {
    match list(pattern) {
        Ok(paths) => paths.iter().map(|path| look_at(table, path)).collect(),
        Err(message) => vec![Err((Exit::NotFound, message))],
    }
}

fn look_at(table: &TableConfig, path: &Path) -> Result<u64, (Exit, String)> {
    let name = path.display();
    let found = File::open(path).and_then(|file| file.metadata());
    let found = found.map_err(|error| (Exit::NotFound, format!("cannot open `{name}`: {error}")))?;
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let is_parquet = match table.format {
        Some(format) => format == FileFormat::Parquet,
        None if ENDINGS.contains(&ending.as_str()) => ending == "parquet",
        None => {
            let endings = ENDINGS.join(", ");
            let message = format!("the ending of `{name}` names no format; give `format`, or use {endings}");
            return Err((Exit::Usage, message));
        }
    };
    if is_parquet {
        look_at_columns(table, path).map_err(|message| (Exit::Failed, message))?;
    }
    Ok(found.len())
}

/// Whether a Parquet file has the columns of the key and the order. Other formats say that only with their rows.
fn look_at_columns(table: &TableConfig, path: &Path) -> Result<(), String> {
    let name = path.display();
    // A file that is damaged can make the decoder panic.
    let opened = catch_unwind(|| {
        let file = File::open(path).map_err(|error| error.to_string())?;
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())
    });
    let reader = opened
        .unwrap_or_else(|_| Err("the decoder panicked".to_owned()))
        .map_err(|error| format!("`{name}` is no readable Parquet file: {error}"))?;
    let known = || reader.schema().fields().iter().map(|field| field.name().as_str());
    for column in table.primary_key.iter().chain(&table.sort_by) {
        if known().all(|known| known != column) {
            let hint = nearest(column, known())
                .map_or_else(String::new, |known| format!("; did you mean `{known}`?"));
            return Err(format!("`{name}` has no column `{column}`{hint}"));
        }
    }
    Ok(())
}

/// Files of a path or pattern, as the cache finds them.
fn list(pattern: &str) -> Result<Vec<PathBuf>, String> {
    if !pattern.contains(['*', '?', '[']) || Path::new(pattern).exists() {
        return Ok(vec![pattern.into()]);
    }
    let paths = glob::glob(pattern).map_err(|error| format!("`{pattern}` is not a pattern: {error}"))?;
    let paths: Vec<PathBuf> =
        paths.collect::<Result<_, _>>().map_err(|error| format!("cannot list `{pattern}`: {error}"))?;
    if paths.is_empty() {
        return Err(format!("no file matches `{pattern}`"));
    }
    Ok(paths)
}
