//! Parameters from the command line.

use pillion::Value;

/// What stands for null, as in the text format of SQL's COPY; the text itself can be written in the statement.
const NULL: &str = r"\N";

/// The value that stands for a parameter's text.
///
/// The plan casts it to the type that it expects there, and text serves every type; but where the plan expects
/// nothing in particular, a number should be a number. So text is taken for a number only if it is exactly what
/// that number is written as: cast back to text, it is the same again (`007` stays text).
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
