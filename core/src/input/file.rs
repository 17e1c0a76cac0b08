//! One file of an input: how it is opened, and what is said of a bad one.

use std::fs::File;
use std::path::Path;

use crate::types::error::{Error, ErrorCode, Result};
use crate::types::panics;

/// Opens a file for reading.
///
/// # Errors
/// [`ErrorCode::SourceNotFound`].
pub(super) fn open_for_reading(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| {
        Error::new(ErrorCode::SourceNotFound, format!("cannot open `{}`: {error}", path.display()))
            .with_source(error)
    })
}

/// The error of a file that is not what it should be.
pub(super) fn invalid(
    path: &Path,
    what: &str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let cause = cause.into();
    Error::new(ErrorCode::SourceInvalid, format!("`{}` {what}: {cause}", path.display())).with_source(cause)
}

/// Runs a decoder. A damaged file makes it fail or panic; either is an error of the file.
pub(super) fn contained<T, E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
    what: &str,
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T> {
    let refused = |error: E| match missing_codec(&error.to_string()) {
        Some(codec) => {
            let message = format!(
                "`{}` is compressed by {codec}, which this build cannot read: write it with another compression, or without",
                path.display()
            );
            Error::new(ErrorCode::Unsupported, message).with_source(error)
        }
        None => invalid(path, what, error),
    };
    panics::catch(|| read().map_err(refused), || invalid(path, what, "the decoder panicked"))
}

/// Runs code that reads texts, whose errors name the file already.
pub(super) fn contained_texts<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    panics::catch(read, || invalid(path, "cannot be read", "the decoder panicked"))
}

/// The compression that a build lacks, if that is what an error of Arrow or Parquet says: the file is not damaged.
pub fn missing_codec(error: &str) -> Option<&'static str> {
    const SAID: [(&str, &str); 8] = [
        ("lz4 IPC decompression requires the lz4 feature", "LZ4"),
        ("zstd IPC decompression requires the zstd feature", "Zstandard"),
        ("Disabled feature at compile time: brotli", "Brotli"),
        ("Disabled feature at compile time: flate2", "gzip"),
        ("Disabled feature at compile time: lz4", "LZ4"),
        ("Disabled feature at compile time: snap", "Snappy"),
        ("Disabled feature at compile time: zstd", "Zstandard"),
        ("codec type LZO is not supported", "LZO"),
    ];
    SAID.iter().find(|(said, _)| error.contains(said)).map(|(_, codec)| *codec)
}
