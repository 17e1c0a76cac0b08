//! The cells that a column of a type can have.

use arrow::datatypes::{DataType, Field, TimeUnit};

use super::point::Point;

/// The cells of a column.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    pub(super) kind: Kind,
    #[cfg(any(feature = "sql", test))]
    nullable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    /// From the lowest to the highest.
    Int(i128, i128),
    /// Of this scale.
    Decimal(i8),
    Float,
    Text,
    Bytes,
    Date,
    /// Since midnight.
    Time(TimeUnit),
    /// With a time zone, it is a moment; without one, the reading of a clock on the wall. The two are never compared here.
    Timestamp(TimeUnit, bool),
}

impl Domain {
    /// `None` for a type whose order is not known here.
    pub(crate) fn of(field: &Field) -> Option<Self> {
        use DataType as T;
        let kind = match field.data_type() {
            T::Boolean => Kind::Bool,
            T::Int8 => Kind::Int(i8::MIN.into(), i8::MAX.into()),
            T::Int16 => Kind::Int(i16::MIN.into(), i16::MAX.into()),
            T::Int32 => Kind::Int(i32::MIN.into(), i32::MAX.into()),
            T::Int64 => Kind::Int(i64::MIN.into(), i64::MAX.into()),
            T::UInt8 => Kind::Int(0, u8::MAX.into()),
            T::UInt16 => Kind::Int(0, u16::MAX.into()),
            T::UInt32 => Kind::Int(0, u32::MAX.into()),
            T::UInt64 => Kind::Int(0, u64::MAX.into()),
            T::Decimal128(_, scale) => Kind::Decimal(*scale),
            T::Float32 | T::Float64 => Kind::Float,
            T::Utf8 | T::LargeUtf8 | T::Utf8View => Kind::Text,
            T::Binary | T::LargeBinary | T::BinaryView => Kind::Bytes,
            T::Date32 => Kind::Date,
            T::Time32(unit) | T::Time64(unit) => Kind::Time(*unit),
            T::Timestamp(unit, zone) => Kind::Timestamp(*unit, zone.is_some()),
            _ => return None,
        };
        Some(Self {
            kind,
            #[cfg(any(feature = "sql", test))]
            nullable: field.is_nullable(),
        })
    }

    #[cfg(any(feature = "sql", test))]
    pub(super) fn is_nullable(&self) -> bool {
        self.nullable
    }

    #[cfg(any(feature = "sql", test))]
    pub(super) fn is_float(&self) -> bool {
        self.kind == Kind::Float
    }

    /// Whether `point` is of the kind that this column has.
    pub(super) fn has(&self, point: &Point) -> bool {
        match self.kind {
            Kind::Float => matches!(point, Point::Float(_)),
            Kind::Text | Kind::Bytes => matches!(point, Point::Bytes(_)),
            _ => matches!(point, Point::Int(_)),
        }
    }
}
