//! DataFusion's expressions as predicates, as far as they are understood.
//!
//! Both sides of a comparison must have one type already, as they do after DataFusion's type coercion. A cast of a column counts as the
//! column if it changes no value: for each value that it gives, the comparison is then true for the column's own value too. A cast that
//! fails or gives null for some values only makes the comparison true for fewer.

use std::cell::RefCell;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Between, InList, Like};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::coverage::{Comparison, Predicate};
use crate::types::value::Value;

/// Converts expressions over the columns of a table.
pub(super) struct Converter<'a> {
    schema: &'a Schema,
    /// The first expression that was not understood.
    unknown: RefCell<Option<String>>,
}

impl<'a> Converter<'a> {
    pub(super) fn new(schema: &'a Schema) -> Self {
        Self { schema, unknown: RefCell::new(None) }
    }

    /// What an expression says. It is null, true and false for the same rows; parts that are not understood are
    /// [`Predicate::Unknown`].
    pub(super) fn predicate(&self, expr: &Expr) -> Predicate {
        self.understood(expr).unwrap_or_else(|| {
            self.unknown.borrow_mut().get_or_insert_with(|| expr.to_string());
            Predicate::Unknown
        })
    }

    /// The first expression that was not understood.
    pub(super) fn unknown(self) -> Option<String> {
        self.unknown.into_inner()
    }

    fn understood(&self, expr: &Expr) -> Option<Predicate> {
        Some(match expr {
            Expr::Alias(alias) => self.predicate(&alias.expr),
            Expr::Literal(ScalarValue::Boolean(value), _) => Predicate::Constant(*value),
            Expr::Literal(ScalarValue::Null, _) => Predicate::Constant(None),
            Expr::Not(inner) => self.predicate(inner).negate(),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                Predicate::And(vec![self.predicate(left), self.predicate(right)])
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Predicate::Or(vec![self.predicate(left), self.predicate(right)])
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let operator = comparison(*op)?;
                match (left.as_ref(), right.as_ref()) {
                    (column, Expr::Literal(value, _)) => self.compared(column, operator, value)?,
                    (Expr::Literal(value, _), column) => self.compared(column, operator.mirrored(), value)?,
                    _ => return None,
                }
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let (Expr::Literal(low, _), Expr::Literal(high, _)) = (low.as_ref(), high.as_ref()) else {
                    return None;
                };
                let within = Predicate::And(vec![
                    self.compared(expr, Comparison::GreaterOrEqual, low)?,
                    self.compared(expr, Comparison::LessOrEqual, high)?,
                ]);
                if *negated { within.negate() } else { within }
            }
            Expr::InList(InList { expr, list, negated }) => {
                let (column, of_type) = self.column(expr)?;
                let values = list.iter().map(|value| match value {
                    Expr::Literal(value, _) => value_of(value, &of_type),
                    _ => None,
                });
                let within = Predicate::In { column, values: values.collect::<Option<_>>()? };
                if *negated { within.negate() } else { within }
            }
            Expr::IsNull(inner) => Predicate::IsNull { column: self.whole_column(inner)? },
            Expr::IsNotNull(inner) => Predicate::IsNull { column: self.whole_column(inner)? }.negate(),
            Expr::IsTrue(inner) => self.is(inner, true)?,
            Expr::IsFalse(inner) => self.is(inner, false)?,
            Expr::IsNotTrue(inner) => self.is(inner, true)?.negate(),
            Expr::IsNotFalse(inner) => self.is(inner, false)?.negate(),
            Expr::IsUnknown(inner) => Predicate::IsNull { column: self.whole_column(inner)? },
            Expr::IsNotUnknown(inner) => Predicate::IsNull { column: self.whole_column(inner)? }.negate(),
            Expr::Column(_) => {
                let (column, of_type) = self.column(expr)?;
                if of_type != DataType::Boolean {
                    return None;
                }
                Predicate::Compare { column, operator: Comparison::Equal, value: Value::Bool(true) }
            }
            Expr::Like(like) => self.like(like)?,
            Expr::ScalarFunction(call) if call.name() == "starts_with" => match call.args.as_slice() {
                [column, Expr::Literal(prefix, _)] => {
                    let (column, of_type) = self.column(column)?;
                    match value_of(prefix, &of_type)? {
                        Value::Str(prefix) => Predicate::Prefix { column, prefix },
                        _ => return None,
                    }
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Whether a column of truth values is this one: never null.
    fn is(&self, expr: &Expr, value: bool) -> Option<Predicate> {
        let (column, of_type) = self.column(expr)?;
        (of_type == DataType::Boolean).then(|| {
            let equal = Predicate::Compare {
                column: column.clone(),
                operator: Comparison::Equal,
                value: Value::Bool(value),
            };
            Predicate::And(vec![equal, Predicate::IsNull { column }.negate()])
        })
    }

    fn compared(&self, side: &Expr, operator: Comparison, value: &ScalarValue) -> Option<Predicate> {
        let (column, of_type) = self.column(side)?;
        Some(Predicate::Compare { column, operator, value: value_of(value, &of_type)? })
    }

    /// A pattern of text. Its beginning, up to the first wildcard, is understood.
    fn like(&self, like: &Like) -> Option<Predicate> {
        let Like { negated, expr, pattern, escape_char: None, case_insensitive: false } = like else {
            return None;
        };
        let (column, of_type) = self.column(expr)?;
        let Expr::Literal(pattern, _) = pattern.as_ref() else { return None };
        let Value::Str(pattern) = value_of(pattern, &of_type)? else { return None };
        // Escaped characters are left to DataFusion.
        if pattern.contains('\\') {
            return None;
        }
        let like = match pattern.find(['%', '_']) {
            None => Predicate::Compare { column, operator: Comparison::Equal, value: Value::Str(pattern) },
            Some(end) => {
                let (prefix, rest) = pattern.split_at(end);
                let begins = Predicate::Prefix { column, prefix: prefix.to_owned() };
                if rest.bytes().all(|byte| byte == b'%') {
                    begins
                } else {
                    self.unknown.borrow_mut().get_or_insert_with(|| format!("LIKE '{pattern}'"));
                    Predicate::And(vec![begins, Predicate::Unknown])
                }
            }
        };
        Some(if *negated { like.negate() } else { like })
    }

    /// The column that a side of a comparison is, and the type in which it is compared.
    fn column(&self, expr: &Expr) -> Option<(String, DataType)> {
        match expr {
            Expr::Column(column) => {
                let field = self.schema.field_with_name(&column.name).ok()?;
                Some((column.name.clone(), field.data_type().clone()))
            }
            Expr::Cast(cast) => self.cast(&cast.expr, cast.field.data_type()),
            Expr::TryCast(cast) => self.cast(&cast.expr, cast.field.data_type()),
            _ => None,
        }
    }

    /// A column that is not cast: a cast may give null for a value.
    fn whole_column(&self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Column(_) => self.column(expr).map(|(column, _)| column),
            _ => None,
        }
    }

    fn cast(&self, inner: &Expr, to: &DataType) -> Option<(String, DataType)> {
        let (column, from) = self.column(inner)?;
        changes_nothing(&from, to).then(|| (column, to.clone()))
    }
}

fn comparison(operator: Operator) -> Option<Comparison> {
    Some(match operator {
        Operator::Eq => Comparison::Equal,
        Operator::NotEq => Comparison::NotEqual,
        Operator::Lt => Comparison::Less,
        Operator::LtEq => Comparison::LessOrEqual,
        Operator::Gt => Comparison::Greater,
        Operator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

/// Whether a cast keeps each value as it is, or fails or gives null for it.
fn changes_nothing(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    if from == to || (is_text(from) && is_text(to)) || (is_binary(from) && is_binary(to)) {
        return true;
    }
    match (from, to) {
        // A number that does not fit into the other type makes the cast fail.
        (from, to) if from.is_integer() && to.is_integer() => true,
        (from, T::Decimal128(_, scale)) if from.is_integer() => *scale >= 0,
        (T::Decimal128(_, from), T::Decimal128(_, to)) => to >= from,
        // A float of 64 bits has 53 for the digits, one of 32 bits has 24.
        (T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16 | T::UInt32 | T::Float32, T::Float64) => true,
        (T::Int8 | T::Int16 | T::UInt8 | T::UInt16, T::Float32) => true,
        (T::Date32, T::Timestamp(_, zone)) => is_utc(zone.as_deref()),
        (T::Timestamp(from, of_from), T::Timestamp(to, of_to)) => {
            let keeps_moment = match (of_from.as_deref(), of_to.as_deref()) {
                (Some(_), Some(_)) | (None, None) => true,
                (from, to) => is_utc(from) && is_utc(to),
            };
            keeps_moment && rank(*from) <= rank(*to)
        }
        _ => false,
    }
}

/// Whether the reading of a clock in this zone has the number of the moment.
fn is_utc(zone: Option<&str>) -> bool {
    matches!(zone, None | Some("UTC" | "+00:00" | "Z" | "Etc/UTC"))
}

fn rank(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// A literal that is compared with values of a type. `None` if it is of another one: how DataFusion compares the two is then not known
/// here.
fn value_of(literal: &ScalarValue, of_type: &DataType) -> Option<Value> {
    use ScalarValue as S;
    let own = literal.data_type();
    let is_alike = match (&own, of_type) {
        (DataType::Timestamp(a, of_a), DataType::Timestamp(b, of_b)) => {
            a == b && of_a.is_some() == of_b.is_some()
        }
        (own, of_type) => {
            own == of_type || (is_text(own) && is_text(of_type)) || (is_binary(own) && is_binary(of_type))
        }
    };
    if !is_alike {
        return None;
    }
    if literal.is_null() {
        return Some(Value::Null);
    }
    let time = |value: i64, unit| Value::Timestamp { value, unit };
    Some(match literal {
        S::Boolean(Some(value)) => Value::Bool(*value),
        S::Int8(Some(value)) => Value::Int((*value).into()),
        S::Int16(Some(value)) => Value::Int((*value).into()),
        S::Int32(Some(value)) => Value::Int((*value).into()),
        S::Int64(Some(value)) => Value::Int(*value),
        S::UInt8(Some(value)) => Value::UInt((*value).into()),
        S::UInt16(Some(value)) => Value::UInt((*value).into()),
        S::UInt32(Some(value)) => Value::UInt((*value).into()),
        S::UInt64(Some(value)) => Value::UInt(*value),
        S::Float32(Some(value)) => Value::Float((*value).into()),
        S::Float64(Some(value)) => Value::Float(*value),
        S::Decimal128(Some(unscaled), _, scale) => Value::Decimal { unscaled: *unscaled, scale: *scale },
        S::Utf8(Some(text)) | S::LargeUtf8(Some(text)) | S::Utf8View(Some(text)) => Value::Str(text.clone()),
        S::Binary(Some(bytes)) | S::LargeBinary(Some(bytes)) | S::BinaryView(Some(bytes)) => {
            Value::Bytes(bytes.clone())
        }
        S::Date32(Some(days)) => Value::Date(*days),
        S::Time32Second(Some(value)) => Value::Time(i64::from(*value) * 1_000_000_000),
        S::Time32Millisecond(Some(value)) => Value::Time(i64::from(*value) * 1_000_000),
        S::Time64Microsecond(Some(value)) => Value::Time(value.checked_mul(1_000)?),
        S::Time64Nanosecond(Some(value)) => Value::Time(*value),
        S::TimestampSecond(Some(value), _) => time(*value, TimeUnit::Second),
        S::TimestampMillisecond(Some(value), _) => time(*value, TimeUnit::Millisecond),
        S::TimestampMicrosecond(Some(value), _) => time(*value, TimeUnit::Microsecond),
        S::TimestampNanosecond(Some(value), _) => time(*value, TimeUnit::Nanosecond),
        _ => return None,
    })
}
