//! Values of options.

use adbc_core::error::{Error, Result, Status};
use adbc_core::options::OptionValue;

use crate::errors::refusal;

/// The text of an option.
///
/// # Errors
/// [`Status::InvalidArguments`] for other values.
pub(crate) fn text(key: &str, value: OptionValue) -> Result<String> {
    match value {
        OptionValue::String(text) => Ok(text),
        _ => Err(refusal(Status::InvalidArguments, format!("the option `{key}` is a text"))),
    }
}

/// Yes or no.
///
/// # Errors
/// [`Status::InvalidArguments`] for other values.
pub(crate) fn switch(key: &str, value: &OptionValue) -> Result<bool> {
    bool::try_from(value).map_err(|_| {
        refusal(Status::InvalidArguments, format!("the option `{key}` is the text `true` or `false`"))
    })
}

/// Names of columns, separated by commas.
///
/// # Errors
/// [`Status::InvalidArguments`] for other values, and for an empty name.
pub(crate) fn names(key: &str, value: OptionValue) -> Result<Vec<String>> {
    let text = text(key, value)?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) {
        return Err(refusal(
            Status::InvalidArguments,
            format!("the option `{key}` is names of columns, such as `a,b`"),
        ));
    }
    Ok(names)
}

/// The error for an option that there is not, when it is set.
pub(crate) fn unknown(key: &str) -> Error {
    refusal(Status::NotImplemented, format!("there is no option `{key}`"))
}

/// The error for an option that has no value, or not one of the type that is asked for.
pub(crate) fn unset(key: &str) -> Error {
    refusal(Status::NotFound, format!("the option `{key}` has no such value"))
}
