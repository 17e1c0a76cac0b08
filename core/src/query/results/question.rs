//! What a statement asks: its text and its parameters, as they were given

use arrow::datatypes::TimeUnit;

use crate::types::value::Value;

/// A statement and its parameters as bytes, different for different ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::query) struct Question(Box<[u8]>);

impl Question {
    pub(super) fn new(text: &str, parameters: &[Value]) -> Self {
        let mut bytes = Vec::with_capacity(8 + text.len() + 17 * parameters.len());
        put(&mut bytes, text.as_bytes());
        for parameter in parameters {
            put_value(&mut bytes, parameter);
        }
        Self(bytes.into_boxed_slice())
    }

    /// Bytes that it takes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
    bytes.extend_from_slice(part);
}

/// Numbers are taken bit by bit: the two zeros, and NaNs, are different parameters.
fn put_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => bytes.push(0),
        Value::Bool(value) => bytes.extend([1, u8::from(*value)]),
        Value::Int(value) => {
            bytes.push(2);
            bytes.extend(value.to_le_bytes());
        }
        Value::UInt(value) => {
            bytes.push(3);
            bytes.extend(value.to_le_bytes());
        }
        Value::Float(value) => {
            bytes.push(4);
            bytes.extend(value.to_bits().to_le_bytes());
        }
        Value::Decimal { unscaled, scale } => {
            bytes.push(5);
            bytes.extend(unscaled.to_le_bytes());
            bytes.extend(scale.to_le_bytes());
        }
        Value::Str(text) => {
            bytes.push(6);
            put(bytes, text.as_bytes());
        }
        Value::Bytes(value) => {
            bytes.push(7);
            put(bytes, value);
        }
        Value::Date(days) => {
            bytes.push(8);
            bytes.extend(days.to_le_bytes());
        }
        Value::Time(nanoseconds) => {
            bytes.push(9);
            bytes.extend(nanoseconds.to_le_bytes());
        }
        Value::Timestamp { value, unit } => {
            let unit = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 1,
                TimeUnit::Microsecond => 2,
                TimeUnit::Nanosecond => 3,
            };
            bytes.extend([10, unit]);
            bytes.extend(value.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_texts_and_parameters_are_other_questions() {
        let text = |text: &str| Value::Str(text.to_owned());
        let decimal = |unscaled, scale| Value::Decimal { unscaled, scale };
        let timestamp = |value, unit| Value::Timestamp { value, unit };
        let questions = [
            Question::new("SELECT 1", &[]),
            Question::new("SELECT 1 ", &[]),
            Question::new("SELECT $1", &[Value::Null]),
            Question::new("SELECT $1", &[Value::Null, Value::Null]),
            Question::new("SELECT $1", &[Value::Bool(false)]),
            Question::new("SELECT $1", &[Value::Int(0)]),
            Question::new("SELECT $1", &[Value::UInt(0)]),
            Question::new("SELECT $1", &[Value::Float(0.0)]),
            Question::new("SELECT $1", &[Value::Float(-0.0)]),
            Question::new("SELECT $1", &[Value::Float(f64::NAN)]),
            Question::new("SELECT $1", &[Value::Float(-f64::NAN)]),
            Question::new("SELECT $1", &[decimal(10, 1)]),
            Question::new("SELECT $1", &[decimal(100, 2)]),
            Question::new("SELECT $1", &[text("")]),
            Question::new("SELECT $1", &[text("a"), text("b")]),
            Question::new("SELECT $1", &[text("ab"), text("")]),
            Question::new("SELECT $1", &[Value::Bytes(Vec::new())]),
            Question::new("SELECT $1", &[Value::Date(0)]),
            Question::new("SELECT $1", &[Value::Time(0)]),
            Question::new("SELECT $1", &[timestamp(0, TimeUnit::Second)]),
            Question::new("SELECT $1", &[timestamp(0, TimeUnit::Nanosecond)]),
        ];
        for (number, question) in questions.iter().enumerate() {
            assert_eq!(questions.iter().position(|other| other == question), Some(number));
        }
        assert_eq!(Question::new("SELECT $1", &[text("a")]), Question::new("SELECT $1", &[text("a")]));
    }
}
