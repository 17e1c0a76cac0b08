//! The nearest of the names that are known.

/// `; did you mean …?` with the known name that is nearest to `name`, or nothing if none is near.
pub(crate) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let name = name.to_lowercase();
    let distances =
        known.into_iter().map(|known| (strsim::damerau_levenshtein(&name, &known.to_lowercase()), known));
    match distances.min() {
        Some((distance, nearest)) if distance <= nearest.len().div_ceil(2) => {
            format!("; did you mean `{nearest}`?")
        }
        _ => String::new(),
    }
}
