//! Conditions over the columns of one table, in SQL's three-valued logic.

use std::fmt;

use super::compare::Comparison;
use crate::types::value::{AnyValue, Value};

/// A condition. A row satisfies it if it is true: neither false nor null.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Predicate {
    /// The same for each row; `None` is null.
    Constant(Option<bool>),
    /// A column compared with a value; null if either is.
    Compare {
        column: String,
        operator: Comparison,
        value: Value,
    },
    /// A column equals one of some values. Null if it is null, or equals none and one of them is null; false if there
    /// are none.
    In {
        column: String,
        values: Vec<Value>,
    },
    /// A column is null; never null itself.
    IsNull {
        column: String,
    },
    /// A text begins with these bytes; null if it is.
    Prefix {
        column: String,
        prefix: String,
    },
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    /// Nobody here knows when this is true.
    Unknown,
}

impl Predicate {
    /// The opposite: true where this is false, false where it is true, and null where it is null.
    pub(crate) fn negate(self) -> Self {
        Self::Not(Box::new(self))
    }
}

/// As SQL, with the values that moving parts had.
impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(None) => f.write_str("NULL"),
            Self::Constant(Some(true)) => f.write_str("TRUE"),
            Self::Constant(Some(false)) => f.write_str("FALSE"),
            Self::Compare { column, operator, value } => {
                write!(f, "{column} {operator} {}", Literal(value))
            }
            Self::In { column, values } => {
                write!(f, "{column} IN (")?;
                for (number, value) in values.iter().enumerate() {
                    let comma = if number == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", Literal(value))?;
                }
                f.write_str(")")
            }
            Self::IsNull { column } => write!(f, "{column} IS NULL"),
            Self::Prefix { column, prefix } => {
                write!(f, "{column} LIKE {}", Literal(&Value::Str(format!("{prefix}%"))))
            }
            Self::Not(inner) => match inner.as_ref() {
                Self::IsNull { column } => write!(f, "{column} IS NOT NULL"),
                inner => write!(f, "NOT ({inner})"),
            },
            Self::And(parts) => joined(f, parts, " AND "),
            Self::Or(parts) => joined(f, parts, " OR "),
            Self::Unknown => f.write_str("?"),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[Predicate], between: &str) -> fmt::Result {
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            f.write_str(between)?;
        }
        match part {
            Predicate::And(_) | Predicate::Or(_) => write!(f, "({part})")?,
            part => write!(f, "{part}")?,
        }
    }
    Ok(())
}

/// A value as SQL writes it.
struct Literal<'a>(&'a Value);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            AnyValue::Null => f.write_str("NULL"),
            AnyValue::Str(text) => write!(f, "'{}'", text.replace('\'', "''")),
            AnyValue::Date(_) | AnyValue::Time(_) | AnyValue::Timestamp { .. } => write!(f, "'{}'", self.0),
            value => write!(f, "{value}"),
        }
    }
}
