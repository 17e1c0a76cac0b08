//! How the files of a relation are read: the options that its definition gives.

use pillion::source::Relation;
use pillion::{Error, ErrorCode, FileOptions, Result};

use crate::names::suggestion;

/// The option that only relations have.
const EMPTY: &str = "empty";

/// Options of a relation.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) files: FileOptions,
    /// Whether there may be no files.
    pub(crate) may_be_empty: bool,
}

impl Options {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`].
    pub(crate) fn of(relation: &Relation) -> Result<Self> {
        let files = FileOptions::new().leave_out(relation.left_out()).as_text(relation.read_as_text());
        let mut options = Self { files, may_be_empty: false };
        for (name, value) in relation.options() {
            match (name.as_str(), value.as_str()) {
                (EMPTY, "refuse") => {}
                (EMPTY, "allow") => options.may_be_empty = true,
                (EMPTY, other) => {
                    let message = format!("the option `empty` is `allow` or `refuse`, and not `{other}`");
                    return Err(Error::new(ErrorCode::InvalidArgument, message));
                }
                (name, _) if !FileOptions::NAMES.contains(&name) => return Err(unknown(name)),
                (name, value) => options.files = options.files.option(name, value)?,
            }
        }
        Ok(options)
    }
}

fn unknown(name: &str) -> Error {
    let known = || FileOptions::NAMES.into_iter().chain([EMPTY]);
    let message = format!(
        "files have no option `{name}`{}; there are {}",
        suggestion(name, known()),
        known().collect::<Vec<_>>().join(", ")
    );
    Error::new(ErrorCode::InvalidArgument, message)
}
