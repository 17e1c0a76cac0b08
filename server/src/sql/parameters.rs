//! Parameters from the command line.

use pillion::Value;

/// Stands for null, as in the text format of SQL's COPY. To use this text itself, write it in the statement.
const NULL: &str = r"\N";

/// The value that stands for a parameter's text.
///
/// The plan casts the value to the type that it expects there, and text can be cast to every type. But if the plan
/// expects no particular type, a number should be a number. So a text becomes a number only if the number, cast back to
/// text, is the same text (`007` stays text).
pub(super) fn value(text: &str) -> Value {
    if text == NULL {
        return Value::Null;
    }
    if let Ok(number) = text.parse::<i64>()
        && number.to_string() == text
    {
        return Value::Int(number);
    }
    if let Ok(number) = text.parse::<f64>()
        && number.is_finite()
        && text.contains('.')
        && format!("{number:?}") == text
    {
        return Value::Float(number);
    }
    Value::Str(text.to_owned())
}
