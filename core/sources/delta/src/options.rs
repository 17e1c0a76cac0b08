//! The options of a relation.

use pillion::source::Relation;
use pillion::{Error, ErrorCode, Result};

use crate::names::suggestion;

const VERSION: &str = "version";

/// What a relation says besides the folder of its table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The version that is read; the latest one if there is none.
    pub(crate) version: Option<u64>,
}

impl Options {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`].
    pub(crate) fn of(relation: &Relation) -> Result<Self> {
        let mut options = Self::default();
        for (name, value) in relation.options() {
            if name != VERSION {
                let near = suggestion(name, [VERSION]);
                let message =
                    format!("tables of Delta Lake have no option `{name}`{near}; there is {VERSION}");
                return Err(Error::new(ErrorCode::InvalidArgument, message));
            }
            options.version = Some(value.parse().map_err(|_| {
                let message = format!("the option `version` is a number of a version, and not `{value}`");
                Error::new(ErrorCode::InvalidArgument, message)
            })?);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_known_ones() {
        let of = |name: &str, value: &str| Options::of(&Relation::table("t").option(name, value));
        assert_eq!(of("version", "7").unwrap().version, Some(7));
        for (name, value) in [("version", "-1"), ("version", "latest"), ("versions", "7")] {
            assert_eq!(of(name, value).unwrap_err().code(), ErrorCode::InvalidArgument);
        }
        assert!(of("versions", "7").unwrap_err().message().contains("did you mean `version`?"));
    }
}
