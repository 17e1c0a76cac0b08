//! Names that were mistyped, and the nearest of those that are known.

/// "; did you mean `x`?", or nothing.
pub(crate) fn suggestion<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    pillion::nearest(unknown, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
