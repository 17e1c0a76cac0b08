//! Keys in SQL, in the order of Pillion.

use arrow::datatypes::DataType;
use pillion::source::KeyRange;
use pillion::{Error, ErrorCode, Result, Value};
use tokio_postgres::types::{Kind, Type};

use super::sql::characters;
use crate::names::quoted;
use crate::position::{literal, text_literal};
use crate::types::shown;

/// A column of a key.
pub(crate) struct KeyColumn {
    name: String,
    /// What is compared.
    expression: String,
    /// What is compared with single keys: the column itself, whose index serves, if no key is lost by that.
    looked_up: String,
    /// The type of the literals with which it is.
    kind: Type,
}

impl KeyColumn {
    /// # Errors
    /// [`Unsupported`](ErrorCode::Unsupported) for a type whose order differs.
    pub(crate) fn new(name: &str, kind: &Type, data_type: &DataType, is_utf8: bool) -> Result<Self> {
        let column = quoted(name);
        let (expression, literals) = match base(kind) {
            same @ (Type::BOOL
            | Type::INT2
            | Type::INT4
            | Type::INT8
            | Type::NUMERIC
            | Type::UUID
            | Type::BYTEA
            | Type::DATE
            | Type::TIME
            | Type::TIMESTAMP
            | Type::TIMESTAMPTZ) => (column, same),
            Type::OID => (format!("{column}::pg_catalog.int8"), Type::OID),
            // The bytes of another encoding are in another order.
            other if *data_type == DataType::Utf8 && !is_utf8 => {
                (format!("pg_catalog.convert_to({}, 'UTF8')", characters(&column, &other)), Type::BYTEA)
            }
            // As the column itself, whose index serves if it has this collation.
            Type::TEXT | Type::VARCHAR | Type::NAME => (format!("{column} COLLATE \"C\""), Type::TEXT),
            other if *data_type == DataType::Utf8 => {
                (format!("{} COLLATE \"C\"", characters(&column, &other)), Type::TEXT)
            }
            other => {
                return Err(Error::new(
                    ErrorCode::Unsupported,
                    format!(
                        "column `{name}` of type `{}` is part of the key, and the server has another order of such values",
                        shown(&other)
                    ),
                ));
            }
        };
        // Another collation may find more, and loses nothing.
        let is_text = matches!(base(kind), Type::TEXT | Type::VARCHAR | Type::NAME) && is_utf8;
        let looked_up = if is_text { quoted(name) } else { expression.clone() };
        Ok(Self { name: name.to_owned(), expression, looked_up, kind: literals })
    }

    fn literal(&self, value: &Value) -> Result<String> {
        match (&self.kind, value) {
            (&Type::TEXT, Value::Str(text)) => text_literal(text),
            (&Type::BYTEA, Value::Str(text)) => {
                let bytes = Value::Bytes(text.as_bytes().into());
                literal(&Type::BYTEA, &bytes).unwrap_or_else(|| text_literal(text))
            }
            (&Type::BOOL, Value::Bool(value)) => Ok(value.to_string()),
            (kind, value) => literal(kind, value).unwrap_or_else(|| {
                let message =
                    format!("column `{}` of type `{}` has no key `{value}`", self.name, shown(kind));
                Err(Error::new(ErrorCode::InvalidArgument, message))
            }),
        }
    }
}

fn base(kind: &Type) -> Type {
    match kind.kind() {
        Kind::Domain(of) => base(of),
        _ => kind.clone(),
    }
}

/// The values of a key, as a row of literals.
fn row(key: &[KeyColumn], values: &[Value]) -> Result<String> {
    if key.len() != values.len() {
        return Err(Error::new(ErrorCode::InvalidArgument, "a key has a value for each of its columns"));
    }
    let literals = key.iter().zip(values).map(|(column, value)| column.literal(value));
    Ok(literals.collect::<Result<Vec<_>>>()?.join(", "))
}

fn columns(key: &[KeyColumn]) -> String {
    key.iter().map(|column| column.expression.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether a row comes before a key.
pub(crate) fn row_is_below(key: &[KeyColumn], values: &[Value]) -> Result<String> {
    Ok(format!("({}) < ({})", columns(key), row(key, values)?))
}

/// Whether a row is in a range.
pub(crate) fn range_condition(key: &[KeyColumn], range: &KeyRange) -> Result<String> {
    let mut conditions = Vec::new();
    if let Some(from) = &range.from {
        conditions.push(format!("({}) >= ({})", columns(key), row(key, from)?));
    }
    if let Some(below) = &range.below {
        conditions.push(row_is_below(key, below)?);
    }
    Ok(if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") })
}

/// Whether a row has one of some keys.
pub(crate) fn keys_condition(key: &[KeyColumn], keys: &[Vec<Value>]) -> Result<String> {
    if keys.is_empty() {
        return Ok("false".to_owned());
    }
    let keys = keys.iter().map(|values| Ok(format!("({})", row(key, values)?)));
    let columns = key.iter().map(|column| column.looked_up.as_str()).collect::<Vec<_>>().join(", ");
    Ok(format!("({columns}) IN ({})", keys.collect::<Result<Vec<_>>>()?.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_the_order_of_bytes_and_single_keys_the_index() {
        let of = |is_utf8| [KeyColumn::new("k", &Type::TEXT, &DataType::Utf8, is_utf8).unwrap()];
        let key = vec![Value::from("a'")];
        let range = KeyRange { from: Some(key.clone()), below: None };
        assert_eq!(range_condition(&of(true), &range).unwrap(), r#"("k" COLLATE "C") >= ('a''')"#);
        assert_eq!(keys_condition(&of(true), std::slice::from_ref(&key)).unwrap(), r#"("k") IN (('a'''))"#);
        let bytes = r#"(pg_catalog.convert_to(("k")::pg_catalog.text, 'UTF8')) >= ('\x6127'::bytea)"#;
        assert_eq!(range_condition(&of(false), &range).unwrap(), bytes);
    }
}
