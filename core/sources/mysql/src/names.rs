//! Names in SQL, and the nearest of those that are known.

use pillion::{Error, ErrorCode, Result};

/// A name as SQL reads it whatever its letters.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// "; did you mean `x`?", or nothing.
pub(crate) fn suggestion<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    pillion::nearest(unknown, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The name of a table, and of the database that it is in if that was said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TableName {
    pub(crate) database: Option<String>,
    pub(crate) table: String,
}

impl TableName {
    /// Reads a name as SQL does: `orders`, `shop.orders`, `` `Order Lines` ``.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let invalid = || {
            let message = format!(
                "`{}` is an invalid name of a table; write `table` or `database.table`, and backquotes around names with other signs than letters, digits, `_` and `$`",
                text.escape_debug()
            );
            Error::new(ErrorCode::InvalidArgument, message)
        };
        if text.contains('\0') {
            return Err(Error::new(ErrorCode::InvalidArgument, "the name of a table contains a zero byte"));
        }
        let (first, rest) = part(text).ok_or_else(invalid)?;
        let Some(rest) = rest.strip_prefix('.') else {
            return if rest.is_empty() { Ok(Self { database: None, table: first }) } else { Err(invalid()) };
        };
        match part(rest) {
            Some((table, "")) => Ok(Self { database: Some(first), table }),
            _ => Err(invalid()),
        }
    }

    /// The name as SQL reads it.
    pub(crate) fn to_sql(&self) -> String {
        match &self.database {
            Some(database) => format!("{}.{}", quoted(database), quoted(&self.table)),
            None => quoted(&self.table),
        }
    }
}

/// The name with backquotes only where they are needed.
pub(crate) fn shown(name: &str) -> String {
    match part(name) {
        Some((read, "")) if read == name => read,
        _ => quoted(name),
    }
}

/// The name at the beginning of a text, and the text behind it and its blanks.
fn part(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let (name, rest) = match text.strip_prefix('`') {
        Some(inside) => backquoted(inside)?,
        None => {
            let end = text.find(|letter| !is_plain(letter)).unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            (name.to_owned(), rest)
        }
    };
    (!name.is_empty()).then(|| (name, rest.trim_start()))
}

fn backquoted(inside: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut letters = inside.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter != '`' {
            name.push(letter);
            continue;
        }
        let rest = inside.get(at + 1..)?;
        if !rest.starts_with('`') {
            return Some((name, rest));
        }
        name.push('`');
        letters.next();
    }
    None
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == '$' || !letter.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sql_reads_them() {
        for (text, sql) in [
            ("orders", "`orders`"),
            (" Shop . Orders ", "`Shop`.`Orders`"),
            ("`Order ``Lines``.x`", "`Order ``Lines``.x`"),
            ("`a b`.`c`", "`a b`.`c`"),
            ("größe_$1", "`größe_$1`"),
        ] {
            assert_eq!(TableName::parse(text).unwrap().to_sql(), sql, "{text}");
        }
        for text in ["", "a b", "a.b.c", "a.", ".a", "`a", "``", "a; DROP TABLE a", "a-b", "'a'", "a\0b"] {
            assert_eq!(TableName::parse(text).unwrap_err().code(), ErrorCode::InvalidArgument, "{text}");
        }
        assert_eq!((shown("orders"), shown("Order `x`")), ("orders".to_owned(), "`Order ``x```".to_owned()));
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        assert_eq!(suggestion("ordrs", ["orders", "users"]), "; did you mean `orders`?");
        assert_eq!(suggestion("x", ["orders"]), "");
    }
}
