//! Where the password comes from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use pillion::{Error, ErrorCode, Result};

/// The password of a user. All but [`Text`](Self::Text) are read again for every connection, so a password that was
/// changed is used without a restart. `Debug` never shows it.
#[derive(Clone, Default)]
pub enum Password {
    /// None is sent.
    #[default]
    None,
    /// This text.
    Text(String),
    /// The first line of a file.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// What a function returns. It runs on a thread of the source, so it must not wait for long.
    Function(Arc<dyn Fn() -> Result<String> + Send + Sync>),
}

impl Password {
    /// The password as it is now.
    pub(crate) fn read(&self) -> Result<Option<String>> {
        match self {
            Self::None => Ok(None),
            Self::Text(text) => Ok(Some(text.clone())),
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Error::new(
                        ErrorCode::SourceRefused,
                        format!("the file of the password, {}, cannot be read", path.display()),
                    )
                    .with_source(error)
                })?;
                Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
            }
            Self::Environment(name) => std::env::var(name).map(Some).map_err(|_| {
                Error::new(
                    ErrorCode::SourceRefused,
                    format!("the variable `{name}` of the environment, which holds the password, is not set"),
                )
            }),
            Self::Function(function) => function().map(Some),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Environment(name) => f.debug_tuple("Environment").field(name).finish(),
            Self::Function(_) => f.write_str("Function(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_each_time_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let password = Password::File(path.clone());
        let error = password.read().unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceRefused);
        for secret in ["first", "second"] {
            std::io::Write::write_all(
                &mut std::fs::File::create(&path).unwrap(),
                format!("{secret}\n").as_bytes(),
            )
            .unwrap();
            assert_eq!(password.read().unwrap().as_deref(), Some(secret));
        }
        let shown = format!("{:?}", [Password::Text("hidden".into()), password, Password::default()]);
        assert!(!shown.contains("hidden") && shown.contains("Text(..)"), "{shown}");
    }
}
