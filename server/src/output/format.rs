//! The formats that rows are written in.

use std::path::Path;

use clap::ValueEnum;
use pillion::nearest;

use crate::failure::Failure;

/// What rows are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people
    Table,
    /// CSV with a header line; nulls are empty, and empty texts are quoted
    Csv,
    /// One JSON object per line and row
    Json,
    /// An Arrow IPC stream
    Arrow,
    /// An Arrow IPC file, also called Feather
    Feather,
    /// A Parquet file
    Parquet,
}

/// File name endings and their formats. Arrow recommends `.arrow` for files and `.arrows` for streams.
const ENDINGS: [(&str, Format); 9] = [
    ("txt", Format::Table),
    ("csv", Format::Csv),
    ("json", Format::Json),
    ("jsonl", Format::Json),
    ("ndjson", Format::Json),
    ("arrows", Format::Arrow),
    ("arrow", Format::Feather),
    ("feather", Format::Feather),
    ("parquet", Format::Parquet),
];

impl Format {
    /// The format that a file's name ends in.
    ///
    /// # Errors
    /// [`Exit::Usage`](crate::Exit::Usage), naming the nearest ending there is.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if let Some((_, format)) = ENDINGS.iter().find(|(name, _)| *name == ending) {
            return Ok(*format);
        }
        let advice = match nearest(&ending, ENDINGS.iter().map(|(name, _)| *name)) {
            Some(name) => format!("; did you mean `.{name}`?"),
            None => format!("; known are {}", ENDINGS.map(|(name, _)| format!(".{name}")).join(", ")),
        };
        let message = format!("`{}` has no ending that names its format{advice}", path.display());
        Err(Failure::usage(message).hint("say what to write with --format"))
    }

    /// Whether it has bytes that a terminal cannot show.
    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Arrow | Self::Feather | Self::Parquet)
    }

    /// Whether its output can hold the answers of several statements, one after another.
    pub(crate) fn holds_several(self) -> bool {
        !matches!(self, Self::Feather | Self::Parquet)
    }
}
