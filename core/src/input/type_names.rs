//! The names of types, as the option `types` has them.

use arrow::datatypes::DataType;

use super::storable::stored;
use crate::types::error::{Error, ErrorCode, Result};

/// Names of types that people use beside those of Arrow, in lower case.
const SYNONYMS: &[(&str, DataType)] = &[
    ("bigint", DataType::Int64),
    ("bool", DataType::Boolean),
    ("date", DataType::Date32),
    ("double", DataType::Float64),
    ("float", DataType::Float64),
    ("int", DataType::Int64),
    ("integer", DataType::Int64),
    ("string", DataType::Utf8),
    ("text", DataType::Utf8),
];
/// The most digits of decimals of 128 bits.
const DECIMAL128_DIGITS: u8 = 38;

/// Columns and types, from such a text as `zip=Utf8,price=Decimal(10,2)`.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`].
pub(super) fn parse_list(text: &str) -> Result<Vec<(String, DataType)>> {
    let mut columns: Vec<(String, DataType)> = Vec::new();
    for item in items(text) {
        let Some((name, of)) = item.rsplit_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            return Err(invalid(format!("the option `types` has `{item}`, which is not `column=type`")));
        };
        let name = name.trim();
        if columns.iter().any(|(known, _)| known == name) {
            return Err(invalid(format!("the option `types` has the column `{name}` twice")));
        }
        columns.push((name.to_owned(), parse(name, of.trim())?));
    }
    Ok(columns)
}

/// The items between the commas that are not in parentheses.
fn items(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0_usize, 0, Vec::new());
    for (at, ch) in text.char_indices() {
        match ch {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items.into_iter().map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn parse(column: &str, text: &str) -> Result<DataType> {
    let lower = text.to_lowercase();
    if let Some((_, found)) = SYNONYMS.iter().find(|(name, _)| *name == lower) {
        return Ok(found.clone());
    }
    if let Some(found) = decimal(&lower) {
        return Ok(found);
    }
    text.parse::<DataType>().map(|of| stored(&of)).map_err(|_| {
        invalid(format!(
            "`{text}` is not a type, for column `{column}`: use one of Arrow's, such as Int64, Utf8, Date32, \
             Decimal(10,2), Timestamp(us) or Timestamp(us, \"UTC\")"
        ))
    })
}

/// `decimal(10,2)`, in the narrowest usual type.
fn decimal(lower: &str) -> Option<DataType> {
    let inner =
        lower.strip_prefix("decimal(").or_else(|| lower.strip_prefix("numeric("))?.strip_suffix(')')?;
    let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
    let (precision, scale) = (precision.trim().parse::<u8>().ok()?, scale.trim().parse::<i8>().ok()?);
    match precision {
        1..=DECIMAL128_DIGITS => Some(DataType::Decimal128(precision, scale)),
        _ => Some(DataType::Decimal256(precision, scale)),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorCode::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn types_are_named_as_people_and_arrow_do() {
        let text = "zip=Utf8, price = Decimal(10,2),a=b=text,t=Timestamp(us),m=Timestamp(Millisecond, \"UTC\"),n=int";
        let expected = [
            ("zip", DataType::Utf8),
            ("price", DataType::Decimal128(10, 2)),
            ("a=b", DataType::Utf8),
            ("t", DataType::Timestamp(TimeUnit::Microsecond, None)),
            ("m", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
            ("n", DataType::Int64),
        ];
        let expected = expected.map(|(name, of)| (name.to_owned(), of));
        assert_eq!(parse_list(text).unwrap(), expected);
        for (wrong, why) in [("zip", "column=type"), ("zip=Utf9", "is not a type"), ("a=Utf8,a=int", "twice")]
        {
            let error = parse_list(wrong).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains(why), "{error}");
        }
    }
}
