//! Passwords and keys, and where they are read.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use pillion::{Error, ErrorCode, Result};

/// A password or a key. It is read again whenever the source is asked for something, so it can be replaced while the source
/// is in use. Neither errors nor `Debug` show it.
#[derive(Clone)]
#[non_exhaustive]
pub enum Secret {
    /// Itself.
    Text(String),
    /// The value of a variable of the environment.
    Env(String),
    /// The content of a file, without the ends of lines behind it.
    File(PathBuf),
    /// What a function gives.
    Function(Arc<dyn Fn() -> Result<String> + Send + Sync>),
}

impl Secret {
    /// # Errors
    /// [`ErrorCode::SourceRefused`] if it is not where it should be.
    pub(crate) fn read(&self) -> Result<String> {
        let missing = |message: String| Error::new(ErrorCode::SourceRefused, message);
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Env(name) => std::env::var(name).map_err(|_| {
                missing(format!(
                    "the variable `{name}` of the environment, which has a credential, is not set"
                ))
            }),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    Err(missing(format!("cannot read the credential in `{}`: {error}", path.display())))
                }
            },
            Self::Function(function) => function(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Function(_) => f.write_str("Function(…)"),
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
