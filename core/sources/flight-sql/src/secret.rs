//! Tokens, passwords and headers, and where they are read.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use pillion::{Error, ErrorCode, Result};

/// A token, a password or the value of a header. It is read again for every connection, so it can be replaced while the source
/// is in use. Neither errors nor `Debug` show it.
#[derive(Clone)]
#[non_exhaustive]
pub enum Secret {
    /// Itself.
    Text(String),
    /// The value of a variable of the environment.
    Environment(String),
    /// The first line of a file.
    File(PathBuf),
    /// What a function returns. It runs on a thread of the source, so it must not wait for long.
    Function(Arc<dyn Fn() -> Result<String> + Send + Sync>),
}

impl Secret {
    /// What it is now.
    ///
    /// # Errors
    /// [`ErrorCode::SourceRefused`] if it is not where it should be.
    pub(crate) fn read(&self) -> Result<String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Environment(name) => std::env::var(name).map_err(|_| {
                let message =
                    format!("the variable `{name}` of the environment, which holds a credential, is not set");
                Error::new(ErrorCode::SourceRefused, message)
            }),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.lines().next().unwrap_or_default().to_owned()),
                Err(error) => {
                    let message = format!("the file of a credential, {}, cannot be read", path.display());
                    Err(Error::new(ErrorCode::SourceRefused, message).with_source(error))
                }
            },
            Self::Function(function) => function(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::Environment(name) => f.debug_tuple("Environment").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Function(_) => f.write_str("Function(..)"),
        }
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
