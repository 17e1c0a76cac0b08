//! Sizes and durations as people write them.

use std::time::Duration;

/// Units of sizes, in lower case; those of Kubernetes are among them.
const SIZES: [(&str, u64); 16] = [
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("ki", 1 << 10),
    ("mi", 1 << 20),
    ("gi", 1 << 30),
    ("ti", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("byte", 1),
    ("bytes", 1),
];

/// Units of durations and their milliseconds. A bare number has no unit: its meaning would be a guess.
const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A number of bytes such as `256 MiB`.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text).ok_or_else(|| wrong(text, "a size such as \"256 MiB\""))?;
    let unit = unit.to_lowercase();
    let (_, bytes) = SIZES
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| format!("`{text}`: sizes are in B, KiB, MiB, GiB, TiB, or kB, MB, GB, TB"))?;
    number.checked_mul(*bytes).ok_or_else(|| format!("`{text}` is too large"))
}

/// A duration such as `500 ms`.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text).ok_or_else(|| wrong(text, "a duration such as \"500 ms\""))?;
    let (_, milliseconds) = DURATIONS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| format!("`{text}`: durations are in ms, s, min, h or d"))?;
    let all = number.checked_mul(*milliseconds).ok_or_else(|| format!("`{text}` is too long"))?;
    Ok(Duration::from_millis(all))
}

/// A whole number and the text behind it.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

fn wrong(text: &str, wanted: &str) -> String {
    format!("`{text}` is not {wanted}, with a whole number in front")
}
