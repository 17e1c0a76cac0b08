//! Names in SQL, and the nearest of those that are known.

/// A name as SQL reads it whatever its letters.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// "; did you mean `x`?", or nothing.
pub(crate) fn suggestion<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    pillion::nearest(unknown, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_compared() {
        assert_eq!(quoted(r#"a"b C"#), r#""a""b C""#);
        assert_eq!(
            suggestion("public.ordrs", ["public.orders", "public.users"]),
            "; did you mean `public.orders`?"
        );
        assert_eq!(suggestion("x", ["public.orders"]), "");
    }
}
