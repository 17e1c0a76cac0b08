//! One set of columns for files that do not quite agree.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};

use super::storable::{decoded, stored};
use crate::types::error::{Error, ErrorCode, Result};

/// The time zone of moments that files have in several.
const MOMENTS_ZONE: &str = "UTC";
const DECIMAL128_DIGITS: u8 = 38;
const DECIMAL256_DIGITS: u8 = 76;

/// Columns of files, in the order in which they were first seen.
#[derive(Debug, Default)]
pub(super) struct Reconciled {
    columns: Vec<Column>,
    files: usize,
}

#[derive(Debug)]
struct Column {
    field: Field,
    /// The file whose type it is, so far.
    file: String,
    files: usize,
}

impl Reconciled {
    /// Adds the columns of a file. Columns that `is_text` has need not have types in common: they become text.
    ///
    /// # Errors
    /// [`ErrorCode::SchemaMismatch`] with the file, the column and both types.
    pub(super) fn add(&mut self, file: &str, schema: &Schema, is_text: impl Fn(&str) -> bool) -> Result<()> {
        for field in schema.fields() {
            let text = is_text(field.name()).then_some(DataType::Utf8);
            let found = text.unwrap_or_else(|| stored(field.data_type()));
            let Some(column) = self.columns.iter_mut().find(|column| column.field.name() == field.name())
            else {
                let is_nullable = field.is_nullable() || self.files > 0;
                let field = field.as_ref().clone().with_data_type(found).with_nullable(is_nullable);
                self.columns.push(Column { field, file: file.to_owned(), files: 1 });
                continue;
            };
            let Some(common) = common(column.field.data_type(), &found) else {
                return Err(mismatch(file, field.name(), field.data_type(), column));
            };
            if common != *column.field.data_type() {
                file.clone_into(&mut column.file);
            }
            let is_nullable = column.field.is_nullable() || field.is_nullable();
            column.field = column.field.clone().with_data_type(common).with_nullable(is_nullable);
            column.files += 1;
        }
        self.files += 1;
        Ok(())
    }

    /// The columns. Those that some files lack can be null.
    pub(super) fn schema(self) -> SchemaRef {
        let files = self.files;
        let field = |column: Column| {
            let is_nullable = column.field.is_nullable() || column.files < files;
            column.field.with_nullable(is_nullable)
        };
        Schema::new(self.columns.into_iter().map(field).collect::<Vec<_>>()).into()
    }
}

fn mismatch(file: &str, name: &str, found: &DataType, column: &Column) -> Error {
    let message = format!(
        "column `{name}` is {found} in `{file}` and {} in `{}`, which have no type in common: read it as text, leave it out, \
         or narrow the pattern",
        column.field.data_type(),
        column.file
    );
    Error::new(ErrorCode::SchemaMismatch, message)
}

/// A type that holds every value of both, if there is one.
fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    if a == b {
        return Some(a.clone());
    }
    let of_integers = || {
        let (a, b) = (integer(a)?, integer(b)?);
        integer_type(a.0 || b.0, [a, b])
    };
    match (a, b) {
        (T::Null, other) | (other, T::Null) => Some(other.clone()),
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8 | T::LargeUtf8 | T::Utf8View) => Some(T::LargeUtf8),
        (T::Binary | T::LargeBinary | T::BinaryView, T::Binary | T::LargeBinary | T::BinaryView) => {
            Some(T::LargeBinary)
        }
        (T::Date32 | T::Date64, T::Date32 | T::Date64) => Some(T::Date64),
        (T::Timestamp(a, a_zone), T::Timestamp(b, b_zone)) if a_zone.is_some() == b_zone.is_some() => {
            let zone = if a_zone == b_zone { a_zone.clone() } else { Some(MOMENTS_ZONE.into()) };
            Some(T::Timestamp(*a.max(b), zone))
        }
        (T::Time32(a) | T::Time64(a), T::Time32(b) | T::Time64(b)) => Some(match a.max(b) {
            unit @ (TimeUnit::Second | TimeUnit::Millisecond) => T::Time32(*unit),
            unit => T::Time64(*unit),
        }),
        (T::Duration(a), T::Duration(b)) => Some(T::Duration(*a.max(b))),
        (T::List(a), T::List(b)) => Some(T::List(common_field(a, b)?)),
        (T::List(a) | T::LargeList(a), T::List(b) | T::LargeList(b)) => {
            Some(T::LargeList(common_field(a, b)?))
        }
        (T::Struct(a), T::Struct(b)) if a.len() == b.len() => {
            let fields =
                a.iter().zip(b).map(|(a, b)| (a.name() == b.name()).then(|| common_field(a, b)).flatten());
            Some(T::Struct(fields.collect::<Option<_>>()?))
        }
        _ => of_integers().or_else(|| common_float(a, b)).or_else(|| common_decimal(a, b)),
    }
}

fn common_field(a: &FieldRef, b: &FieldRef) -> Option<FieldRef> {
    let is_nullable = a.is_nullable() || b.is_nullable();
    Some(Arc::new(Field::new(a.name(), common(a.data_type(), b.data_type())?, is_nullable)))
}

/// Whether it is signed, and its bits.
fn integer(of: &DataType) -> Option<(bool, u8)> {
    use DataType as T;
    Some(match of {
        T::Int8 => (true, 8),
        T::Int16 => (true, 16),
        T::Int32 => (true, 32),
        T::Int64 => (true, 64),
        T::UInt8 => (false, 8),
        T::UInt16 => (false, 16),
        T::UInt32 => (false, 32),
        T::UInt64 => (false, 64),
        _ => return None,
    })
}

fn integer_type(signed: bool, both: [(bool, u8); 2]) -> Option<DataType> {
    use DataType as T;
    // A signed type needs one more bit for what an unsigned one holds.
    let needed = both.into_iter().map(|(is_signed, bits)| bits + u8::from(signed && !is_signed)).max()?;
    Some(match (signed, needed) {
        (true, ..=8) => T::Int8,
        (true, ..=16) => T::Int16,
        (true, ..=32) => T::Int32,
        (true, ..=64) => T::Int64,
        (true, _) => return None,
        (false, ..=8) => T::UInt8,
        (false, ..=16) => T::UInt16,
        (false, ..=32) => T::UInt32,
        (false, _) => T::UInt64,
    })
}

/// The bits of whole numbers that a float holds exactly.
fn float_bits(of: &DataType) -> Option<u8> {
    Some(match of {
        DataType::Float16 => 11,
        DataType::Float32 => 24,
        DataType::Float64 => 53,
        _ => return None,
    })
}

fn common_float(a: &DataType, b: &DataType) -> Option<DataType> {
    float_bits(a).or_else(|| float_bits(b))?;
    let needed = |of: &DataType| float_bits(of).or_else(|| integer(of).map(|(_, bits)| bits));
    match needed(a)?.max(needed(b)?) {
        bits if bits <= 11 => Some(DataType::Float16),
        bits if bits <= 24 => Some(DataType::Float32),
        bits if bits <= 53 => Some(DataType::Float64),
        _ => None,
    }
}

/// Digits before and behind the point.
fn decimal(of: &DataType) -> Option<(i16, i16)> {
    use DataType as T;
    match of {
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale)
        | T::Decimal256(precision, scale) => {
            Some((i16::from(*precision) - i16::from(*scale), i16::from(*scale)))
        }
        _ => None,
    }
}

fn common_decimal(a: &DataType, b: &DataType) -> Option<DataType> {
    let ((a_whole, a_scale), (b_whole, b_scale)) = (decimal(a)?, decimal(b)?);
    let scale = a_scale.max(b_scale);
    let precision = u8::try_from(a_whole.max(b_whole) + scale).ok()?;
    let scale = i8::try_from(scale).ok()?;
    match precision {
        digits if digits <= DECIMAL128_DIGITS => Some(DataType::Decimal128(precision, scale)),
        digits if digits <= DECIMAL256_DIGITS => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}

/// Whether every value of one type is a value of the other.
pub(super) fn holds(wide: &DataType, narrow: &DataType) -> bool {
    let (wide, narrow) = (decoded(wide), decoded(narrow));
    common(&wide, &narrow).as_ref() == Some(&wide)
}

/// Whether two types have the same values of text, or of bytes, in other layouts.
pub(super) fn is_layout_of(a: &DataType, b: &DataType) -> bool {
    use DataType as T;
    let is_text = |of: &DataType| matches!(of, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    let is_bytes = |of: &DataType| matches!(of, T::Binary | T::LargeBinary | T::BinaryView);
    (is_text(a) && is_text(b)) || (is_bytes(a) && is_bytes(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "types are written in place")]
    fn both(a: DataType, b: DataType) -> Option<DataType> {
        assert_eq!(common(&a, &b), common(&b, &a), "{a} {b}");
        common(&a, &b)
    }

    #[test]
    fn types_that_lose_nothing_are_widened() {
        use DataType as T;
        use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
        assert_eq!(both(T::Int32, T::Int64), Some(T::Int64));
        assert_eq!(both(T::UInt8, T::Int8), Some(T::Int16));
        assert_eq!(both(T::UInt8, T::Int16), Some(T::Int16));
        assert_eq!(both(T::UInt32, T::Int32), Some(T::Int64));
        assert_eq!(both(T::UInt64, T::Int64), None);
        assert_eq!(both(T::Int32, T::Float64), Some(T::Float64));
        assert_eq!(both(T::Int32, T::Float32), Some(T::Float64));
        assert_eq!(both(T::Int64, T::Float64), None);
        assert_eq!(both(T::Int64, T::Utf8), None);
        assert_eq!(both(T::Utf8, T::LargeUtf8), Some(T::LargeUtf8));
        assert_eq!(both(T::Utf8, T::Utf8View), Some(T::LargeUtf8));
        assert!(
            holds(&T::Utf8, &T::Utf8View)
                && holds(&T::LargeUtf8, &T::Utf8)
                && !holds(&T::Utf8, &T::LargeUtf8)
        );
        assert!(holds(&T::Int64, &T::Int32) && !holds(&T::Int32, &T::Int64));
        let zoned = |unit, zone: &str| T::Timestamp(unit, Some(zone.into()));
        assert_eq!(
            both(zoned(Second, "Asia/Tokyo"), zoned(Millisecond, "UTC")),
            Some(zoned(Millisecond, "UTC"))
        );
        assert_eq!(
            both(T::Timestamp(Second, None), T::Timestamp(Nanosecond, None)),
            Some(T::Timestamp(Nanosecond, None))
        );
        assert_eq!(both(T::Timestamp(Second, None), zoned(Second, "UTC")), None);
        assert_eq!(both(T::Time32(Second), T::Time64(Microsecond)), Some(T::Time64(Microsecond)));
        assert_eq!(both(T::Decimal128(10, 2), T::Decimal128(8, 4)), Some(T::Decimal128(12, 4)));
        assert_eq!(both(T::Decimal128(38, 0), T::Decimal128(38, 38)), Some(T::Decimal256(76, 38)));
        assert_eq!(both(T::Null, T::Boolean), Some(T::Boolean));
    }

    #[test]
    fn what_has_nothing_in_common_names_file_column_and_types() {
        let schema = |of| Schema::new(vec![Field::new("id", of, false)]);
        let mut reconciled = Reconciled::default();
        reconciled.add("a", &schema(DataType::Int32), |_| false).unwrap();
        reconciled.add("b", &schema(DataType::Int64), |_| false).unwrap();
        let error = reconciled.add("c", &schema(DataType::Utf8), |_| false).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SchemaMismatch);
        assert!(error.message().starts_with("column `id` is Utf8 in `c` and Int64 in `b`"), "{error}");
        assert!(!reconciled.schema().field(0).is_nullable());
    }
}
