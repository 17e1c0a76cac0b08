//! Which column of Arrow holds the values of a type; the table in the crate's documentation says the same.

use arrow::datatypes::{
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use mysql_async::Column;
use mysql_async::consts::{ColumnFlags, ColumnType};

use crate::decode::cells::{self, Cells};
use crate::names::quoted;

/// Digits that the widest decimals hold; the server's have at most 65.
const DIGITS_128: u32 = 38;
const DIGITS_256: u32 = 76;
/// The number of the character set of bytes that are no text.
const BINARY: u16 = 63;

/// What the server says of the values of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kind {
    of: ColumnType,
    is_unsigned: bool,
    character_set: u16,
    len: u32,
    decimals: u8,
}

/// What a column is compared as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Family {
    Whole,
    Decimal,
    Float,
    Text,
    Bytes,
    Date,
    Moment,
    Time,
    /// Nothing that Pillion has an order for.
    Other,
}

impl Kind {
    pub(crate) fn of(column: &Column) -> Self {
        Self {
            of: column.column_type(),
            is_unsigned: column.flags().contains(ColumnFlags::UNSIGNED_FLAG),
            character_set: column.character_set(),
            len: column.column_length(),
            decimals: column.decimals(),
        }
    }

    /// The name of the type, about as SQL writes it.
    pub(crate) fn shown(&self) -> String {
        use ColumnType::*;
        let is_binary = self.character_set == BINARY;
        let name = match self.of {
            MYSQL_TYPE_TINY => "tinyint",
            MYSQL_TYPE_SHORT => "smallint",
            MYSQL_TYPE_INT24 => "mediumint",
            MYSQL_TYPE_LONG => "int",
            MYSQL_TYPE_LONGLONG => "bigint",
            MYSQL_TYPE_DECIMAL | MYSQL_TYPE_NEWDECIMAL => "decimal",
            MYSQL_TYPE_BLOB | MYSQL_TYPE_TINY_BLOB | MYSQL_TYPE_MEDIUM_BLOB | MYSQL_TYPE_LONG_BLOB => {
                if is_binary {
                    "blob"
                } else {
                    "text"
                }
            }
            MYSQL_TYPE_STRING => {
                if is_binary {
                    "binary"
                } else {
                    "char"
                }
            }
            MYSQL_TYPE_VAR_STRING | MYSQL_TYPE_VARCHAR => {
                if is_binary {
                    "varbinary"
                } else {
                    "varchar"
                }
            }
            other => return format!("{other:?}").trim_start_matches("MYSQL_TYPE_").to_ascii_lowercase(),
        };
        if self.is_unsigned { format!("{name} unsigned") } else { name.to_owned() }
    }

    pub(crate) fn family(&self) -> Family {
        use ColumnType::*;
        match self.of {
            MYSQL_TYPE_TINY | MYSQL_TYPE_SHORT | MYSQL_TYPE_INT24 | MYSQL_TYPE_LONG | MYSQL_TYPE_LONGLONG
            | MYSQL_TYPE_YEAR => Family::Whole,
            MYSQL_TYPE_BIT if self.len > 1 => Family::Whole,
            MYSQL_TYPE_DECIMAL | MYSQL_TYPE_NEWDECIMAL => Family::Decimal,
            MYSQL_TYPE_FLOAT | MYSQL_TYPE_DOUBLE => Family::Float,
            MYSQL_TYPE_DATE | MYSQL_TYPE_NEWDATE => Family::Date,
            MYSQL_TYPE_DATETIME | MYSQL_TYPE_DATETIME2 | MYSQL_TYPE_TIMESTAMP | MYSQL_TYPE_TIMESTAMP2 => {
                Family::Moment
            }
            MYSQL_TYPE_TIME | MYSQL_TYPE_TIME2 => Family::Time,
            _ if !self.is_string() => Family::Other,
            _ if self.character_set == BINARY => Family::Bytes,
            _ => Family::Text,
        }
    }

    fn is_string(&self) -> bool {
        use ColumnType::*;
        matches!(
            self.of,
            MYSQL_TYPE_STRING
                | MYSQL_TYPE_VAR_STRING
                | MYSQL_TYPE_VARCHAR
                | MYSQL_TYPE_ENUM
                | MYSQL_TYPE_SET
                | MYSQL_TYPE_BLOB
                | MYSQL_TYPE_TINY_BLOB
                | MYSQL_TYPE_MEDIUM_BLOB
                | MYSQL_TYPE_LONG_BLOB
        )
    }

    /// Whether the server compares numbers of the type by rules of its own, which a cast to a number ends.
    pub(crate) fn needs_cast(&self) -> bool {
        matches!(self.of, ColumnType::MYSQL_TYPE_YEAR | ColumnType::MYSQL_TYPE_BIT)
    }

    /// An empty column for the values, or why there is none.
    pub(crate) fn cells(&self) -> Result<Box<dyn Cells>, String> {
        use ColumnType::*;
        Ok(match (self.of, self.is_unsigned) {
            (MYSQL_TYPE_TINY, false) => cells::whole::<Int8Type>(),
            (MYSQL_TYPE_TINY, true) => cells::whole::<UInt8Type>(),
            (MYSQL_TYPE_SHORT, false) => cells::whole::<Int16Type>(),
            (MYSQL_TYPE_SHORT, true) => cells::whole::<UInt16Type>(),
            (MYSQL_TYPE_INT24 | MYSQL_TYPE_LONG, false) => cells::whole::<Int32Type>(),
            (MYSQL_TYPE_INT24 | MYSQL_TYPE_LONG, true) => cells::whole::<UInt32Type>(),
            (MYSQL_TYPE_LONGLONG, false) => cells::whole::<Int64Type>(),
            (MYSQL_TYPE_LONGLONG, true) => cells::whole::<UInt64Type>(),
            (MYSQL_TYPE_YEAR, _) if self.len == 4 => cells::whole::<Int16Type>(),
            (MYSQL_TYPE_YEAR, _) => return Err("is `year(2)`, which hides the century".to_owned()),
            (MYSQL_TYPE_BIT, _) if self.len == 1 => cells::bit(),
            (MYSQL_TYPE_BIT, _) => cells::bits(),
            (MYSQL_TYPE_FLOAT, _) => cells::float4(),
            (MYSQL_TYPE_DOUBLE, _) => cells::float8(),
            (MYSQL_TYPE_DECIMAL | MYSQL_TYPE_NEWDECIMAL, _) => return self.decimal(),
            (MYSQL_TYPE_DATE | MYSQL_TYPE_NEWDATE, _) => cells::date(),
            (MYSQL_TYPE_DATETIME | MYSQL_TYPE_DATETIME2, _) => cells::timestamp(None),
            (MYSQL_TYPE_TIMESTAMP | MYSQL_TYPE_TIMESTAMP2, _) => cells::timestamp(Some("UTC")),
            (MYSQL_TYPE_TIME | MYSQL_TYPE_TIME2, _) => cells::time(),
            (MYSQL_TYPE_JSON, _) => cells::text(),
            _ if !self.is_string() => {
                return Err(format!("has the type `{}`, which has no mapping", self.shown()));
            }
            _ if self.character_set == BINARY => cells::binary(),
            _ => cells::text(),
        })
    }

    /// The length counts the digits, the point, and the sign.
    fn decimal(&self) -> Result<Box<dyn Cells>, String> {
        let others = u32::from(self.decimals > 0) + u32::from(!self.is_unsigned);
        let digits = self.len.saturating_sub(others).max(u32::from(self.decimals)).max(1);
        match u8::try_from(digits) {
            Ok(precision) if digits <= DIGITS_128 => Ok(cells::decimal128(precision, self.decimals)),
            Ok(precision) if digits <= DIGITS_256 => Ok(cells::decimal256(precision, self.decimals)),
            _ => Err(format!("has {digits} digits, and the widest decimal has {DIGITS_256}")),
        }
    }

    /// An expression for the values of a column as the server shows them.
    pub(crate) fn as_text(&self, name: &str) -> String {
        let column = quoted(name);
        match self.of {
            ColumnType::MYSQL_TYPE_GEOMETRY => format!("ST_AsText({column})"),
            ColumnType::MYSQL_TYPE_BIT => format!("LPAD(BIN({column} + 0), {}, '0')", self.len),
            // Bytes that are no UTF-8 would become a null.
            _ if self.family() == Family::Bytes => format!("HEX({column})"),
            _ => format!("CAST({column} AS CHAR CHARACTER SET utf8mb4)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    fn kind(of: ColumnType, len: u32, decimals: u8, is_unsigned: bool) -> Kind {
        Kind { of, is_unsigned, character_set: 45, len, decimals }
    }

    fn decimal(len: u32, decimals: u8, is_unsigned: bool) -> Result<DataType, String> {
        kind(ColumnType::MYSQL_TYPE_NEWDECIMAL, len, decimals, is_unsigned)
            .cells()
            .map(|cells| cells.data_type())
    }

    #[test]
    fn decimals_are_as_wide_as_their_digits() {
        assert_eq!(decimal(12, 2, false), Ok(DataType::Decimal128(10, 2)));
        assert_eq!(decimal(11, 2, true), Ok(DataType::Decimal128(10, 2)));
        assert_eq!(decimal(39, 0, false), Ok(DataType::Decimal128(38, 0)));
        assert_eq!(decimal(40, 0, false), Ok(DataType::Decimal256(39, 0)));
        assert_eq!(decimal(67, 30, false), Ok(DataType::Decimal256(65, 30)));
        assert!(decimal(90, 0, false).unwrap_err().contains("76"));
    }

    #[test]
    fn types_have_names() {
        assert_eq!(kind(ColumnType::MYSQL_TYPE_LONG, 10, 0, true).shown(), "int unsigned");
        assert_eq!(kind(ColumnType::MYSQL_TYPE_GEOMETRY, 0, 0, false).shown(), "geometry");
        assert_eq!(kind(ColumnType::MYSQL_TYPE_BLOB, 0, 0, false).shown(), "text");
    }
}
