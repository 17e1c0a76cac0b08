//! Names in SQL, and the nearest of those that are known.

/// Names of more bytes are not compared with other names.
const COMPARED_LEN_MAX: usize = 256;

/// A name as SQL reads it whatever its letters.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// "; did you mean `x`?", or nothing.
pub(crate) fn suggestion<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let limit = (unknown.chars().count() / 3).max(1);
    if unknown.len() > COMPARED_LEN_MAX {
        return String::new();
    }
    known
        .into_iter()
        .filter(|name| name.len() <= COMPARED_LEN_MAX)
        .map(|name| (strsim::damerau_levenshtein(&unknown.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
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
