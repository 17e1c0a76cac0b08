//! Options of a relation.

use pillion::source::Relation;
use pillion::{Error, ErrorCode, Result};

use crate::names::suggestion;

const KNOWN: [&str; 2] = ["rowid", "types"];

/// What the definition of a relation says beside its name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RelationOptions {
    /// The name of a column with the rowid.
    pub(crate) rowid: Option<String>,
    /// Types of columns, in the place of those that the file declares.
    pub(crate) types: Vec<(String, String)>,
}

impl RelationOptions {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`].
    pub(crate) fn of(relation: &Relation) -> Result<Self> {
        let mut options = Self::default();
        for (name, value) in relation.options() {
            match name.as_str() {
                "rowid" if value.is_empty() => {
                    return Err(invalid("the option `rowid` is the name of a column".to_owned()));
                }
                "rowid" => options.rowid = Some(value.clone()),
                "types" => options.types = types(value)?,
                unknown => {
                    let hint = suggestion(unknown, KNOWN);
                    let known = KNOWN.join(" and ");
                    return Err(invalid(format!(
                        "a relation of SQLite has no option `{unknown}`{hint}; there are {known}"
                    )));
                }
            }
        }
        Ok(options)
    }

    /// The type that the definition gives a column.
    pub(crate) fn type_of(&self, column: &str) -> Option<&str> {
        self.types.iter().find(|(name, _)| name == column).map(|(_, declared)| declared.as_str())
    }
}

/// `name=TYPE` with commas between them, as in `at=unix_ms,total=DECIMAL(10,2)`.
fn types(text: &str) -> Result<Vec<(String, String)>> {
    let mut depth = 0_usize;
    let parts = text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    let parts = parts.map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| match part.split_once('=') {
            Some((name, declared)) if !name.trim().is_empty() && !declared.trim().is_empty() => {
                Ok((name.trim().to_owned(), declared.trim().to_owned()))
            }
            _ => Err(invalid(format!("the option `types` has `{part}` where `column=TYPE` is expected"))),
        })
        .collect()
}

fn invalid(message: String) -> Error {
    Error::new(ErrorCode::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_a_list() {
        let relation =
            Relation::table("t").option("types", "a=DECIMAL(10, 2) , b c=unix_ms,").option("rowid", "n");
        let options = RelationOptions::of(&relation).unwrap();
        assert_eq!((options.type_of("a"), options.type_of("b c")), (Some("DECIMAL(10, 2)"), Some("unix_ms")));
        assert_eq!((options.type_of("c"), options.rowid.as_deref()), (None, Some("n")));
        for (name, value, why) in [
            ("types", "a", "`a` where"),
            ("types", "=INTEGER", "where"),
            ("typs", "a=TEXT", "did you mean `types`?"),
            ("rowid", "", "name of a column"),
        ] {
            let error = RelationOptions::of(&Relation::table("t").option(name, value)).unwrap_err();
            assert!(error.message().contains(why), "{error}");
        }
    }
}
