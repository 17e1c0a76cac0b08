//! Names of tables and columns, as people write them and as the server's SQL reads them.

use std::fmt;

use pillion::{Error, ErrorCode, Result};

/// The quotation mark of SQL, which most servers have.
const STANDARD: char = '"';

/// How the server quotes names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// With a mark at both ends, which is doubled inside of a name.
    Mark(char),
    /// With `[` and `]`.
    Brackets,
    /// Not at all: only names of letters, digits and `_` can be used.
    None,
}

impl Quotes {
    /// What the server says of itself.
    pub(crate) fn of(told: &str) -> Self {
        match told.trim() {
            "[" | "[]" => Self::Brackets,
            mark => mark.chars().next().map_or(Self::None, Self::Mark),
        }
    }

    /// A name as the server reads it whatever its letters.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for one that the server cannot read.
    pub(crate) fn quoted(self, name: &str) -> Result<String> {
        let refused = |why: &str| {
            Error::new(ErrorCode::InvalidArgument, format!("the name `{name}` cannot be used: {why}"))
        };
        if name.is_empty() || name.contains('\0') {
            return Err(refused("it is empty, or contains a zero byte"));
        }
        match self {
            Self::Mark(mark) => Ok(format!("{mark}{}{mark}", name.replace(mark, &format!("{mark}{mark}")))),
            Self::Brackets => Ok(format!("[{}]", name.replace(']', "]]"))),
            Self::None if is_plain(name) => Ok(name.to_owned()),
            Self::None => Err(refused("the server has no quotation marks for names (SqlInfo 504)")),
        }
    }
}

impl Default for Quotes {
    fn default() -> Self {
        Self::Mark(STANDARD)
    }
}

/// Letters, digits and `_`, and no digit at the beginning.
fn is_plain(name: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
}

/// The name of a table: that of the table, and in front of it those of a schema and a catalog as far as they are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableName {
    pub(crate) catalog: Option<String>,
    pub(crate) schema: Option<String>,
    pub(crate) table: String,
}

impl TableName {
    /// A name as people write it: parts with `.` between them, and those with a dot in quotation marks.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`].
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Error::new(ErrorCode::InvalidArgument, format!("`{text}` cannot be the name of a table: {why}"))
        };
        let (mut parts, mut part, mut letters) = (Vec::new(), String::new(), text.trim().chars().peekable());
        loop {
            if let Some(mark) = letters.next_if(|letter| matches!(letter, '"' | '`' | '[')) {
                let end = if mark == '[' { ']' } else { mark };
                loop {
                    match letters.next() {
                        Some(letter) if letter != end => part.push(letter),
                        Some(_) if letters.next_if_eq(&end).is_some() => part.push(end),
                        Some(_) => break,
                        None => return Err(invalid(&format!("a `{mark}` has no counterpart"))),
                    }
                }
            } else {
                while let Some(letter) = letters.next_if(|letter| *letter != '.') {
                    part.push(letter);
                }
            }
            if part.is_empty() {
                return Err(invalid("a part of it is empty"));
            }
            parts.push(std::mem::take(&mut part));
            match letters.next() {
                None => break,
                Some('.') => {}
                Some(_) => return Err(invalid("a `.` must stand between its parts")),
            }
        }
        let mut parts = parts.into_iter().rev();
        let (table, schema, catalog) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(invalid(
                "it has more parts than a catalog, a schema and a table; quote parts that have dots",
            ));
        }
        Ok(Self { catalog, schema, table })
    }

    fn parts(&self) -> impl Iterator<Item = &str> {
        [self.catalog.as_deref(), self.schema.as_deref(), Some(self.table.as_str())].into_iter().flatten()
    }

    /// As the server reads it.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for a name that the server cannot read.
    pub(crate) fn in_sql(&self, quotes: Quotes) -> Result<String> {
        let parts = self.parts().map(|part| quotes.quoted(part)).collect::<Result<Vec<_>>>()?;
        Ok(parts.join("."))
    }

    /// The parts of a listed table that stand in this name, if this is its name; `same` compares two parts.
    pub(crate) fn found_in(&self, listed: &Self, same: fn(&str, &str) -> bool) -> Option<Self> {
        let part = |wanted: &Option<String>, listed: &Option<String>| match (wanted, listed) {
            (None, _) => Some(None),
            (Some(wanted), Some(listed)) if same(wanted, listed) => Some(Some(listed.clone())),
            _ => None,
        };
        let (catalog, schema) = (part(&self.catalog, &listed.catalog)?, part(&self.schema, &listed.schema)?);
        same(&self.table, &listed.table).then(|| Self { catalog, schema, table: listed.table.clone() })
    }
}

/// As people write it.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, part) in self.parts().enumerate() {
            let dot = if number > 0 { "." } else { "" };
            let is_clear = !part.contains(['.', '"', '`', '[']) && !part.is_empty() && part.trim() == part;
            match is_clear {
                true => write!(f, "{dot}{part}")?,
                false => write!(f, "{dot}\"{}\"", part.replace('"', "\"\""))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(catalog: Option<&str>, schema: Option<&str>, table: &str) -> TableName {
        TableName {
            catalog: catalog.map(str::to_owned),
            schema: schema.map(str::to_owned),
            table: table.to_owned(),
        }
    }

    #[test]
    fn names_are_quoted_as_the_server_says() {
        assert_eq!(Quotes::default().quoted(r#"a" b"#).unwrap(), r#""a"" b""#);
        for (told, expected) in [("\"", r#""a"" b""#), ("`", r#"`a" b`"#), ("[", r#"[a" b]"#)] {
            assert_eq!(Quotes::of(told).quoted(r#"a" b"#).unwrap(), expected);
        }
        assert_eq!(Quotes::of("`").quoted("a`b").unwrap(), "`a``b`");
        assert_eq!(Quotes::of("[").quoted("a]b").unwrap(), "[a]]b]");
        let none = Quotes::of(" ");
        assert_eq!(none.quoted("a_1").unwrap(), "a_1");
        for wrong in ["1a", "a b", "", "a\0"] {
            assert_eq!(none.quoted(wrong).unwrap_err().code(), ErrorCode::InvalidArgument);
        }
    }

    #[test]
    fn names_have_up_to_three_parts() {
        for (text, expected) in [
            ("orders", name(None, None, "orders")),
            ("public.orders", name(None, Some("public"), "orders")),
            (r#"shop."a.b"."say ""hi""""#, name(Some("shop"), Some("a.b"), r#"say "hi""#)),
            ("`a b`.[c]", name(None, Some("a b"), "c")),
            ("Order Lines", name(None, None, "Order Lines")),
        ] {
            let parsed = TableName::parse(text).unwrap();
            assert_eq!(parsed, expected, "{text}");
            assert_eq!(TableName::parse(&parsed.to_string()).unwrap(), expected);
        }
        assert_eq!(name(Some("c"), Some("s"), "t").in_sql(Quotes::Mark('"')).unwrap(), r#""c"."s"."t""#);
        for wrong in ["", "a.", ".a", "a.b.c.d", "\"a", "\"a\"b"] {
            assert_eq!(TableName::parse(wrong).unwrap_err().code(), ErrorCode::InvalidArgument, "{wrong}");
        }
    }

    #[test]
    fn a_name_is_found_with_the_parts_that_it_has() {
        let listed = name(Some("shop"), Some("public"), "Orders");
        let exact = |a: &str, b: &str| a == b;
        let found = |text: &str, same| TableName::parse(text).unwrap().found_in(&listed, same);
        assert_eq!(found("Orders", exact), Some(name(None, None, "Orders")));
        assert_eq!(found("public.Orders", exact), Some(name(None, Some("public"), "Orders")));
        assert_eq!(found("other.Orders", exact), None);
        assert_eq!(found("orders", exact), None);
        assert_eq!(
            found("PUBLIC.orders", str::eq_ignore_ascii_case),
            Some(name(None, Some("public"), "Orders"))
        );
    }
}
