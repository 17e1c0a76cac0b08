//! Names in SQL, and the nearest of those that are known.

/// A name as SQL reads it whatever its letters.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name that a text of SQL stands for: of the main database, with or without quotation marks. `None` if it is
/// not one name.
pub(crate) fn unquoted(text: &str) -> Option<String> {
    let text = text.trim();
    let (first, rest) = identifier(text)?;
    if rest.trim_start().is_empty() {
        return Some(first);
    }
    let rest = rest.trim_start().strip_prefix('.')?.trim_start();
    let (second, rest) = identifier(rest)?;
    (first.eq_ignore_ascii_case("main") && rest.trim_start().is_empty()).then_some(second)
}

/// A name at the beginning of a text, and what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let open = text.chars().next()?;
    let close = match open {
        '"' | '`' | '\'' => open,
        '[' => ']',
        _ => {
            let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
            let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            return (!name.is_empty()).then(|| (name.to_owned(), rest));
        }
    };
    let (mut name, mut rest) = (String::new(), text.get(1..)?);
    loop {
        let (part, tail) = rest.split_once(close)?;
        name.push_str(part);
        // A mark that is written twice stands for itself.
        match tail.strip_prefix(close).filter(|_| close != ']') {
            Some(tail) => {
                name.push(close);
                rest = tail;
            }
            None => return Some((name, tail)),
        }
    }
}

/// "; did you mean `x`?", or nothing.
pub(crate) fn suggestion<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    pillion::nearest(unknown, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_read_again() {
        for name in ["orders", "Order \"Lines\".x", "", "a]b", "\u{e4}"] {
            assert_eq!(unquoted(&quoted(name)).as_deref(), Some(name));
        }
        for (text, name) in [
            ("orders", Some("orders")),
            (" main . [Order Lines] ", Some("Order Lines")),
            ("MAIN.`a``b`", Some("a`b")),
            ("other.orders", None),
            ("two names", None),
            ("\"open", None),
            ("", None),
            ("a.", None),
        ] {
            assert_eq!(unquoted(text).as_deref(), name, "{text}");
        }
        assert_eq!(suggestion("ordrs", ["orders", "users"]), "; did you mean `orders`?");
    }
}
