//! Conditions on the position from which rows are wanted, and on their keys.

use arrow::datatypes::TimeUnit;
use pillion::{Error, ErrorCode, Result, Value};
use tokio_postgres::types::Type;

use crate::names::quoted;
use crate::types::shown;

const DAY_MICROSECONDS: i128 = 86_400_000_000;

/// `column >= value` in SQL, which compares as Pillion does.
pub(crate) fn condition(name: &str, kind: &Type, value: &Value) -> Result<String> {
    let literal = literal(kind, value).ok_or_else(|| {
        Error::new(
            ErrorCode::InvalidArgument,
            format!("column `{name}` of type `{}` has no position `{value}`", shown(kind)),
        )
    })??;
    let column = quoted(name);
    Ok(match *kind {
        // Other collations sort in another order than Pillion, which compares the bytes.
        Type::TEXT | Type::VARCHAR | Type::NAME => format!("{column} COLLATE \"C\" >= {literal}"),
        Type::OID => format!("{column}::int8 >= {literal}"),
        _ => format!("{column} >= {literal}"),
    })
}

/// `(a, b) IN (…)` in SQL, for columns that are equal for the server where they are for Pillion.
pub(crate) fn keys_condition(columns: &[(&str, &Type)], keys: &[Vec<Value>]) -> Result<String> {
    let unequal = |kind: &Type| {
        // A value of a column of 32 bits may be given with 64, and the two zeros are equal here and not there.
        [Type::FLOAT4, Type::FLOAT8].contains(kind)
    };
    let literals = |key: &Vec<Value>| {
        if key.len() != columns.len() {
            return Err(Error::new(ErrorCode::InvalidArgument, "a key has a value for each of its columns"));
        }
        let literals = columns.iter().zip(key).map(|((name, kind), value)| {
            literal(kind, value).filter(|_| !unequal(kind)).unwrap_or_else(|| {
                let kind = shown(kind);
                let message = format!("column `{name}` of type `{kind}` has no key `{value}`");
                Err(Error::new(ErrorCode::InvalidArgument, message))
            })
        });
        Ok(format!("({})", literals.collect::<Result<Vec<_>>>()?.join(", ")))
    };
    if keys.is_empty() {
        return Ok("false".to_owned());
    }
    let names: Vec<String> = columns
        .iter()
        .map(
            |(name, kind)| if **kind == Type::OID { format!("{}::int8", quoted(name)) } else { quoted(name) },
        )
        .collect();
    // The server refuses a statement that has a UUID which is none.
    let is_possible =
        |key: &&Vec<Value>| columns.iter().zip(*key).all(|((_, kind), value)| can_be(kind, value));
    let keys = keys.iter().filter(is_possible).map(literals).collect::<Result<Vec<_>>>()?;
    if keys.is_empty() {
        return Ok("false".to_owned());
    }
    Ok(format!("({}) IN ({})", names.join(", "), keys.join(", ")))
}

/// Whether a row can have a value: UUIDs are texts here, and PostgreSQL refuses to compare one with a text that is none.
fn can_be(kind: &Type, value: &Value) -> bool {
    match (kind, value) {
        (&Type::UUID, Value::Str(text)) => {
            let digit = |(place, byte): (usize, u8)| match place {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            };
            text.len() == 36 && text.bytes().enumerate().all(digit)
        }
        _ => true,
    }
}

/// `None` if the column has no such positions: its type has no order that Pillion shares, or the value is of another
/// kind.
pub(crate) fn literal(kind: &Type, value: &Value) -> Option<Result<String>> {
    let text = match (kind.clone(), value) {
        // The type is one that shares an index with the column, where there is such a type.
        (Type::INT2 | Type::INT4 | Type::INT8 | Type::OID, Value::Int(number)) => format!("'{number}'::int8"),
        (Type::INT2 | Type::INT4 | Type::INT8 | Type::OID, Value::UInt(number)) => {
            match i64::try_from(*number) {
                Ok(number) => format!("'{number}'::int8"),
                Err(_) => format!("'{number}'::numeric"),
            }
        }
        (Type::NUMERIC, Value::Int(number)) => format!("'{number}'::numeric"),
        (Type::NUMERIC, Value::UInt(number)) => format!("'{number}'::numeric"),
        (Type::NUMERIC, Value::Decimal { .. }) => format!("'{value}'::numeric"),
        (Type::FLOAT4 | Type::FLOAT8, Value::Float(number)) => match *number {
            f64::INFINITY => "'Infinity'::float8".to_owned(),
            f64::NEG_INFINITY => "'-Infinity'::float8".to_owned(),
            number if number.is_nan() => "'NaN'::float8".to_owned(),
            // Written so that reading it gives the same bits.
            number => format!("'{number:e}'::float8"),
        },
        (Type::TEXT | Type::VARCHAR | Type::NAME, Value::Str(text)) => return Some(text_literal(text)),
        (Type::UUID, Value::Str(text)) => {
            return Some(text_literal(text).map(|literal| format!("{literal}::uuid")));
        }
        (Type::BYTEA, Value::Bytes(bytes)) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("'\\x{digits}'::bytea")
        }
        (Type::DATE, Value::Date(days)) => format!("'{}'::date", date((*days).into())),
        (Type::TIME, Value::Time(nanoseconds)) => {
            format!("'{}'::time", clock(microseconds((*nanoseconds).into(), TimeUnit::Nanosecond)))
        }
        (Type::TIMESTAMP | Type::TIMESTAMPTZ, Value::Timestamp { value, unit }) => {
            let zone = if *kind == Type::TIMESTAMP { "" } else { "+00" };
            let moment = microseconds((*value).into(), *unit);
            let (day, time) = (moment.div_euclid(DAY_MICROSECONDS), moment.rem_euclid(DAY_MICROSECONDS));
            let written = date(day);
            let (written, era) =
                written.strip_suffix(" BC").map_or((written.as_str(), ""), |year| (year, " BC"));
            format!("'{written} {}{zone}{era}'::{}", clock(time), kind.name())
        }
        _ => return None,
    };
    Some(Ok(text))
}

/// The first microsecond that is not before a time.
fn microseconds(value: i128, unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => value * 1_000_000,
        TimeUnit::Millisecond => value * 1_000,
        TimeUnit::Microsecond => value,
        TimeUnit::Nanosecond => value.div_euclid(1_000) + i128::from(value.rem_euclid(1_000) != 0),
    }
}

/// A time of day, up to `24:00:00`.
fn clock(microseconds: i128) -> String {
    let (seconds, fraction) = (microseconds / 1_000_000, microseconds % 1_000_000);
    format!("{:02}:{:02}:{:02}.{fraction:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A day since 1970-01-01, as the server reads it in any setting of its date style.
fn date(day: i128) -> String {
    // Counts years from March, so that the day that some years lack is the last one; 400 years have 146,097 days.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i128::from(month <= 2);
    // There is no year 0: the one before 1 is 1 BC.
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    format!("{year:04}-{month:02}-{day:02}{era}")
}

pub(crate) fn text_literal(text: &str) -> Result<String> {
    if text.contains('\0') {
        return Err(Error::new(
            ErrorCode::InvalidArgument,
            "a text with a zero byte is no position in PostgreSQL",
        ));
    }
    // The session reads a backslash as itself.
    Ok(format!("'{}'", text.replace('\'', "''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &Type, value: impl Into<Value>) -> String {
        condition("c", kind, &value.into()).unwrap()
    }

    #[test]
    fn positions_are_literals_of_the_type() {
        assert_eq!(of(&Type::INT8, 5_i64), r#""c" >= '5'::int8"#);
        assert_eq!(of(&Type::TEXT, r"o'\n"), r#""c" COLLATE "C" >= 'o''\n'"#);
        assert_eq!(of(&Type::BYTEA, &b"\x00\xff"[..]), r#""c" >= '\x00ff'::bytea"#);
        assert_eq!(of(&Type::DATE, Value::Date(11_016)), r#""c" >= '2000-02-29'::date"#);
        assert_eq!(of(&Type::DATE, Value::Date(-719_528)), r#""c" >= '0001-01-01 BC'::date"#);
        let moment = Value::Timestamp { value: -1, unit: TimeUnit::Nanosecond };
        assert_eq!(of(&Type::TIMESTAMP, moment), r#""c" >= '1970-01-01 00:00:00.000000'::timestamp"#);
        let moment = Value::Timestamp { value: 1_700_000_000_123, unit: TimeUnit::Millisecond };
        assert_eq!(of(&Type::TIMESTAMPTZ, moment), r#""c" >= '2023-11-14 22:13:20.123000+00'::timestamptz"#);
        assert_eq!(of(&Type::TIME, Value::Time(1_001)), r#""c" >= '00:00:00.000002'::time"#);
    }

    #[test]
    fn keys_are_lists_of_literals() {
        let columns: [(&str, &Type); 2] = [("a", &Type::INT4), ("b", &Type::TEXT)];
        let keys = [vec![Value::Int(1), Value::from("x'")], vec![Value::Int(-2), Value::from("")]];
        assert_eq!(
            keys_condition(&columns, &keys).unwrap(),
            r#"("a", "b") IN (('1'::int8, 'x'''), ('-2'::int8, ''))"#
        );
        assert_eq!(
            keys_condition(&columns[..1], &[vec![Value::Int(1)]]).unwrap(),
            r#"("a") IN (('1'::int8))"#
        );
        assert_eq!(keys_condition(&columns, &[]).unwrap(), "false");
        let uuid = "00112233-4455-6677-8899-aabbccddeeff";
        let some = [vec![Value::from("abc")], vec![Value::from(uuid)]];
        let of_uuids = [("u", &Type::UUID)];
        assert_eq!(keys_condition(&of_uuids, &some).unwrap(), format!("(\"u\") IN (('{uuid}'::uuid))"));
        assert_eq!(keys_condition(&of_uuids, &some[..1]).unwrap(), "false");
        for (kind, value) in [(Type::FLOAT4, Value::Float(0.1)), (Type::INT4, Value::from("1"))] {
            let refused = keys_condition(&[("c", &kind)], &[vec![value]]).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::InvalidArgument);
        }
        assert!(keys_condition(&columns, &[vec![Value::Int(1)]]).is_err());
    }

    #[test]
    fn what_has_no_order_has_no_position() {
        for (kind, value) in
            [(Type::JSONB, Value::from("x")), (Type::INT4, Value::from("x")), (Type::TEXT, Value::Null)]
        {
            assert_eq!(condition("c", &kind, &value).unwrap_err().code(), ErrorCode::InvalidArgument);
        }
        assert!(
            condition("c", &Type::TEXT, &Value::from("a\0b")).unwrap_err().message().contains("zero byte")
        );
    }
}
