//! Passwords, tokens and keys, and where they are read.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::types::error::{Error, ErrorCode, Result};

/// A password, a token or a key of a source. Sources read it again for every connection, so it can be replaced while the source is
/// in use. Neither errors nor `Debug` show it.
#[derive(Clone)]
#[non_exhaustive]
pub enum Secret {
    /// Itself.
    Text(String),
    /// The value of a variable of the environment.
    Environment(String),
    /// The content of a file, without the ends of lines behind it.
    File(PathBuf),
    /// What a function returns. It runs on a thread of the source, so it must not wait for long.
    Function(Arc<dyn Fn() -> Result<String> + Send + Sync>),
}

impl Secret {
    /// What it is now. Blocks while a file is read.
    ///
    /// # Errors
    /// [`SourceRefused`](ErrorCode::SourceRefused) if it is not where it should be; what the function returns.
    pub fn read(&self) -> Result<String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Environment(name) => std::env::var(name).map_err(|_| {
                let message =
                    format!("the variable `{name}` of the environment, which holds a credential, is not set");
                Error::new(ErrorCode::SourceRefused, message)
            }),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    let message =
                        format!("the file of a credential, `{}`, cannot be read: {error}", path.display());
                    Err(Error::new(ErrorCode::SourceRefused, message).with_source(error))
                }
            },
            Self::Function(function) => function(),
        }
    }
}

/// Two functions are equal if they are the same one.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) | (Self::Environment(a), Self::Environment(b)) => a == b,
            (Self::File(a), Self::File(b)) => a == b,
            (Self::Function(a), Self::Function(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Eq for Secret {}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_each_time_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let secret = Secret::File(path.clone());
        let error = secret.read().unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceRefused);
        assert!(error.message().contains("password"), "{error}");
        for (text, read) in
            [("first\n", "first"), ("second one", "second one"), ("{\n\"key\": 1}\r\n\n", "{\n\"key\": 1}")]
        {
            std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), text.as_bytes()).unwrap();
            assert_eq!(secret.read().unwrap(), read);
        }
        let unset = Secret::Environment("PILLION_TEST_NOT_SET".into());
        assert_eq!(unset.read().unwrap_err().code(), ErrorCode::SourceRefused);
        let given = Secret::Function(Arc::new(|| Ok("hidden".to_owned())));
        assert_eq!(given.read().unwrap(), "hidden");
        assert!(given == given.clone() && given != secret && secret == Secret::File(path));
        let shown = format!("{:?}", [Secret::from("hidden"), secret, unset, given]);
        assert!(!shown.contains("hidden") && shown.contains("Text(..)"), "{shown}");
    }
}
