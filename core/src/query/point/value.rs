//! Values that a statement compares with a column: where each comes from, and what it is as that column.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::literals::Literal;
use crate::query::values;
use crate::storage::key::{self, KeyBytes};
use crate::types::value::{Value, ValueRef};

/// Where a value comes from.
#[derive(Debug, PartialEq)]
pub(super) enum Source {
    /// The statement says it, in each of its runs.
    Fixed(ScalarValue),
    /// A parameter of this type; the first has number 0.
    Parameter(usize, DataType),
    /// A literal of the text.
    Literal(usize),
}

/// A value as the plan computes it.
#[derive(Debug)]
pub(super) struct Computed {
    pub(super) source: Source,
    /// The types that it is cast to, one after another.
    pub(super) casts: Vec<DataType>,
    /// Its type in the end.
    pub(super) data_type: DataType,
}

/// What one run of a statement was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    pub(super) parameters: &'a [Value],
    pub(super) literals: &'a [Literal<'a>],
}

impl Computed {
    /// The value; `None` if the ordinary path has to say what is wrong with it.
    pub(super) fn scalar(&self, given: Given<'_>) -> Option<ScalarValue> {
        let mut scalar = match &self.source {
            Source::Fixed(value) => value.clone(),
            Source::Parameter(number, data_type) => {
                values::parameter(number + 1, given.parameters.get(*number)?, Some(data_type)).ok()?
            }
            Source::Literal(number) => match given.literals.get(*number)? {
                Literal::Int(value) => ScalarValue::from(*value),
                Literal::Text(value) => ScalarValue::from(value.as_ref()),
            },
        };
        for data_type in &self.casts {
            scalar = scalar.cast_to(data_type).ok()?;
        }
        (scalar.data_type() == self.data_type).then_some(scalar)
    }
}

/// A value that a column of the key must have.
#[derive(Debug)]
pub(super) struct KeyValue {
    computed: Computed,
    /// The type of the column.
    column: DataType,
    /// How the value becomes a part of the key at once, without being a scalar first.
    shortcut: Shortcut,
}

#[derive(Debug, PartialEq)]
enum Shortcut {
    /// The parameter has the type of the column.
    Parameter(usize),
    /// The literal is an integer, and every cast keeps it or fails; its bounds by these casts.
    Int(usize, i64, i64),
    /// The literal is a text, and so is the column.
    Text(usize),
    /// The statement says it.
    Fixed(KeyBytes),
    None,
}

impl KeyValue {
    /// The value of a condition that a column, cast to the type of the value, equals the value. `None` if two values of
    /// the column may become one by the cast.
    pub(super) fn new(computed: Computed, column: &DataType) -> Option<Self> {
        let compared = &computed.data_type;
        // SQL decides when floats are equal, whereas a key is compared by its bits.
        if column.is_floating() || compared != column && !keeps_values(column, compared) {
            return None;
        }
        let shortcut = match &computed.source {
            Source::Parameter(number, data_type) if data_type == column && computed.casts.is_empty() => {
                Shortcut::Parameter(*number)
            }
            Source::Literal(number) if column.is_integer() => {
                let bounds = computed.casts.iter().try_fold((i64::MIN, i64::MAX), narrowed);
                bounds.map_or(Shortcut::None, |(least, most)| Shortcut::Int(*number, least, most))
            }
            Source::Literal(number) if is_text(column) && computed.casts.iter().all(is_text) => {
                Shortcut::Text(*number)
            }
            _ => Shortcut::None,
        };
        let mut value = Self { computed, column: column.clone(), shortcut };
        if let Source::Fixed(_) = value.computed.source {
            let mut bytes = KeyBytes::new();
            value.push_scalar(&mut bytes, Given { parameters: &[], literals: &[] })?;
            value.shortcut = Shortcut::Fixed(bytes);
        }
        Some(value)
    }

    /// Appends the value as a part of a key; `None` if the ordinary path has to decide.
    pub(super) fn push(&self, out: &mut KeyBytes, given: Given<'_>) -> Option<()> {
        let direct = match &self.shortcut {
            Shortcut::Fixed(bytes) => {
                out.extend_from_slice(bytes);
                return Some(());
            }
            Shortcut::Parameter(number) => direct(given.parameters.get(*number)?, &self.column),
            Shortcut::Int(number, least, most) => match given.literals.get(*number)? {
                Literal::Int(value) if (least..=most).contains(&value) => Some(ValueRef::Int(*value)),
                _ => return None,
            },
            Shortcut::Text(number) => match given.literals.get(*number)? {
                Literal::Text(value) => Some(ValueRef::Str(value)),
                Literal::Int(_) => return None,
            },
            Shortcut::None => None,
        };
        match direct {
            Some(value) => key::encode_value(out, &self.column, value).ok(),
            None => self.push_scalar(out, given),
        }
    }

    fn push_scalar(&self, out: &mut KeyBytes, given: Given<'_>) -> Option<()> {
        let compared = self.computed.scalar(given)?;
        let value = if compared.data_type() == self.column {
            compared
        } else {
            let value = compared.cast_to(&self.column).ok()?;
            let back = value.cast_to(&self.computed.data_type).ok()?;
            (back == compared).then_some(value)?
        };
        if value.is_null() {
            return None;
        }
        key::encode_cell(out, value.to_array().ok()?.as_ref(), 0).ok()
    }
}

/// A parameter that is a part of a key of this type without a conversion that DataFusion could see otherwise.
fn direct<'a>(value: &'a Value, column: &DataType) -> Option<ValueRef<'a>> {
    use DataType as T;
    match (value, column) {
        (Value::Int(value), column) if column.is_integer() => Some(ValueRef::Int(*value)),
        (Value::UInt(value), column) if column.is_integer() => Some(ValueRef::UInt(*value)),
        (Value::Str(value), column) if is_text(column) => Some(ValueRef::Str(value)),
        (Value::Bytes(value), T::Binary | T::LargeBinary | T::BinaryView) => Some(ValueRef::Bytes(value)),
        (Value::Bool(value), T::Boolean) => Some(ValueRef::Bool(*value)),
        (Value::Date(value), T::Date32) => Some(ValueRef::Date(*value)),
        (Value::Timestamp { value, unit }, T::Timestamp(wanted, _)) if unit == wanted => {
            Some(ValueRef::Timestamp { value: *value, unit: *unit })
        }
        _ => None,
    }
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether a cast keeps every value of a type, so that different values stay different.
pub(super) fn keeps_values(from: &DataType, to: &DataType) -> bool {
    if is_text(from) {
        return is_text(to);
    }
    let (Some((least, most)), true) = (bounds(from), from.is_integer()) else { return false };
    match to {
        // So many digits has the largest integer of 64 bits.
        DataType::Decimal128(precision, 0) => *precision >= 20,
        to => to.is_integer() && bounds(to).is_some_and(|to| to.0 <= least && most <= to.1),
    }
}

/// The least and the greatest value of an integer type.
fn bounds(data_type: &DataType) -> Option<(i128, i128)> {
    use DataType as T;
    Some(match data_type {
        T::Int8 => (i8::MIN.into(), i8::MAX.into()),
        T::Int16 => (i16::MIN.into(), i16::MAX.into()),
        T::Int32 => (i32::MIN.into(), i32::MAX.into()),
        T::Int64 => (i64::MIN.into(), i64::MAX.into()),
        T::UInt8 => (0, u8::MAX.into()),
        T::UInt16 => (0, u16::MAX.into()),
        T::UInt32 => (0, u32::MAX.into()),
        T::UInt64 => (0, u64::MAX.into()),
        _ => return None,
    })
}

/// The integers that a cast keeps, of those within bounds; `None` for a cast to a type that is not of integers.
fn narrowed((least, most): (i64, i64), to: &DataType) -> Option<(i64, i64)> {
    match to {
        DataType::Decimal128(precision, 0) if *precision >= 20 => Some((least, most)),
        to => {
            let to = bounds(to)?;
            let within = |bound: i64| i64::try_from(i128::from(bound).clamp(to.0, to.1)).ok();
            Some((within(least)?, within(most)?))
        }
    }
}
