//! Types of columns, as drivers of JDBC and ODBC ask for them.

use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};

/// The name of a type in SQL, what it is elsewhere, and its size: digits, letters or bytes.
const TYPES: &[(&str, XdbcDataType, Option<i32>)] = &[
    ("BOOLEAN", XdbcDataType::XdbcBit, Some(1)),
    ("TINYINT", XdbcDataType::XdbcTinyint, Some(3)),
    ("SMALLINT", XdbcDataType::XdbcSmallint, Some(5)),
    ("INTEGER", XdbcDataType::XdbcInteger, Some(10)),
    ("BIGINT", XdbcDataType::XdbcBigint, Some(19)),
    ("TINYINT UNSIGNED", XdbcDataType::XdbcTinyint, Some(3)),
    ("SMALLINT UNSIGNED", XdbcDataType::XdbcSmallint, Some(5)),
    ("INTEGER UNSIGNED", XdbcDataType::XdbcInteger, Some(10)),
    ("BIGINT UNSIGNED", XdbcDataType::XdbcBigint, Some(20)),
    ("REAL", XdbcDataType::XdbcReal, Some(7)),
    ("DOUBLE", XdbcDataType::XdbcDouble, Some(15)),
    ("DECIMAL", XdbcDataType::XdbcDecimal, Some(38)),
    ("VARCHAR", XdbcDataType::XdbcVarchar, None),
    ("BYTEA", XdbcDataType::XdbcVarbinary, None),
    ("DATE", XdbcDataType::XdbcDate, Some(10)),
    ("TIME", XdbcDataType::XdbcTime, Some(18)),
    ("TIMESTAMP", XdbcDataType::XdbcTimestamp, Some(29)),
];

/// All types.
///
/// # Errors
/// None.
pub(super) fn types() -> Result<XdbcTypeInfoData, FlightError> {
    let mut builder = XdbcTypeInfoDataBuilder::new();
    for (name, of, size) in TYPES {
        builder.append(described(name, *of, *size));
    }
    builder.build()
}

fn described(name: &str, of: XdbcDataType, size: Option<i32>) -> XdbcTypeInfo {
    use XdbcDataType as T;
    let is_number = matches!(
        of,
        T::XdbcTinyint
            | T::XdbcSmallint
            | T::XdbcInteger
            | T::XdbcBigint
            | T::XdbcReal
            | T::XdbcDouble
            | T::XdbcDecimal
    );
    let quote =
        matches!(of, T::XdbcVarchar | T::XdbcDate | T::XdbcTime | T::XdbcTimestamp).then(|| "'".to_owned());
    let moment = match of {
        // A date has the same number as a year.
        T::XdbcDate => Some(XdbcDatetimeSubcode::XdbcSubcodeYear),
        T::XdbcTime => Some(XdbcDatetimeSubcode::XdbcSubcodeTime),
        T::XdbcTimestamp => Some(XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
        _ => None,
    };
    let is_decimal = of == T::XdbcDecimal;
    XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: of,
        column_size: size,
        literal_prefix: quote.clone(),
        literal_suffix: quote,
        create_params: is_decimal.then(|| vec!["precision".to_owned(), "scale".to_owned()]),
        nullable: Nullable::NullabilityNullable,
        case_sensitive: of == T::XdbcVarchar,
        searchable: Searchable::Full,
        unsigned_attribute: is_number.then(|| name.ends_with("UNSIGNED")),
        fixed_prec_scale: false,
        auto_increment: is_number.then_some(false),
        local_type_name: Some(name.to_owned()),
        minimum_scale: is_decimal.then_some(0),
        maximum_scale: is_decimal.then_some(38),
        sql_data_type: if moment.is_some() { T::XdbcDatetime } else { of },
        datetime_subcode: moment,
        num_prec_radix: is_number.then_some(10),
        interval_precision: None,
    }
}
