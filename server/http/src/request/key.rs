//! The parts of a key as values of the columns that they stand for.

use arrow::datatypes::DataType;
use pillion::{TableInfo, Value};

use super::value::hex;
use crate::problem::Problem;

/// The values of a key that a path names. Text stands for itself, and for dates, times and decimals as people write them;
/// bytes are pairs of hexadecimal digits.
///
/// # Errors
/// 400 for a table without a key, for the wrong number of parts, and for a part that its column cannot have.
pub(crate) fn values(info: &TableInfo, parts: &[String]) -> Result<Vec<Value>, Problem> {
    let columns = &info.rules.primary_key;
    if columns.is_empty() {
        let message = format!("the table `{}` has no primary key, so nothing names its rows", info.name);
        return Err(Problem::bad_request("NoPrimaryKey", message)
            .hint("use POST /v1/sql to read, and POST /v1/tables/{table}/rows to add rows"));
    }
    if columns.len() != parts.len() {
        let message = format!(
            "the key of `{}` has {} parts ({}), and the path has {}",
            info.name,
            columns.len(),
            columns.join(", "),
            parts.len()
        );
        return Err(Problem::bad_request("InvalidKey", message)
            .hint("write the values with commas between them, and a comma in a value as %2C"));
    }
    columns.iter().zip(parts).map(|(column, part)| value(info, column, part)).collect()
}

fn value(info: &TableInfo, column: &str, text: &str) -> Result<Value, Problem> {
    let data_type = info.schema.column_with_name(column).map(|(_, field)| field.data_type());
    let value = match data_type {
        Some(of) if of.is_integer() => {
            text.parse().map(Value::Int).or_else(|_| text.parse().map(Value::UInt)).ok()
        }
        Some(of) if of.is_floating() => text.parse().map(Value::Float).ok(),
        Some(DataType::Boolean) => text.parse().map(Value::Bool).ok(),
        Some(
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_),
        ) => hex(text).map(Value::Bytes),
        _ => Some(Value::Str(text.to_owned())),
    };
    value.ok_or_else(|| {
        let of = data_type.map_or_else(String::new, |of| format!(", which has {of}"));
        let message = format!("`{}` is not a value of the key column `{column}`{of}", shown(text));
        Problem::bad_request("InvalidKey", message)
    })
}

/// The beginning of a text that a client sent.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
