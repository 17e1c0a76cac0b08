//! Errors of input files, on their way through the cache.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;

use crate::exit::Exit;
use crate::failure::Failure;

/// An error of an input file.
#[derive(Debug)]
pub(super) struct FileError {
    pub(super) exit: Exit,
    pub(super) message: String,
    pub(super) source: Option<Box<dyn StdError + Send + Sync>>,
}

impl FileError {
    pub(super) fn new(path: &Path, what: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, message: format!("`{}` {what}", path.display()), source: None }
    }

    pub(super) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for FileError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<&FileError> for Failure {
    fn from(error: &FileError) -> Self {
        let failure = Self::new(error.exit, &*error.message);
        match error.source() {
            Some(source) => failure.because(source),
            None => failure,
        }
    }
}

/// The failure of a load: of a file, if that is what is at the bottom of it.
pub(super) fn explain(error: pillion::Error) -> Failure {
    let mut cause = error.source();
    while let Some(next) = cause {
        if let Some(error) = next.downcast_ref::<FileError>() {
            return error.into();
        }
        cause = next.source();
    }
    error.into()
}
