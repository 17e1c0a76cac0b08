//! Dates, times, moments and decimals as keys written in text or in other units.

use arrow::datatypes::{DataType, TimeUnit};
use pillion::{ErrorCode, Table, Value};

use crate::model::{assert_names, assert_rows, batch, refused, vals};
use crate::{Outcome, Session};

/// Seconds from 1970-01-01 to 2013-01-01 10:00:00 UTC.
const TEN_O_CLOCK: i64 = 1_357_034_400;

fn single(
    session: &mut Session<'_>,
    name: &str,
    data_type: DataType,
    key: Value,
) -> Result<Table, pillion::Error> {
    session.define_keyed(name, "k", batch(&[("k", data_type, vec![key])]))
}

fn timestamp(value: i64, unit: TimeUnit) -> Value {
    Value::Timestamp { value, unit }
}

const UNITS: [(TimeUnit, i64); 4] = [
    (TimeUnit::Second, 1),
    (TimeUnit::Millisecond, 1_000),
    (TimeUnit::Microsecond, 1_000_000),
    (TimeUnit::Nanosecond, 1_000_000_000),
];

/// A date as text finds its day; text that is not a date is refused.
pub fn a_date_is_found_by_text(session: &mut Session<'_>) -> Outcome {
    let rows =
        [("days", DataType::Date32, Value::Date(15_706)), ("moments", DataType::Date64, Value::Date(15_706))];
    for (name, data_type, key) in rows {
        let table = single(session, name, data_type, key)?;
        assert!(table.get("2013-01-01")?.is_some());
        assert!(table.get("2013-01-02")?.is_none());
        assert!(table.get(Value::Date(15_706))?.is_some());
        for wrong in ["", "yesterday", "2013-13-01", "2013-02-30"] {
            assert_names(&refused(table.get(wrong), ErrorCode::InvalidKey), &["k"]);
        }
        refused(table.get(15_706), ErrorCode::InvalidKey);
    }
    Ok(())
}

/// A moment as text finds its row in columns of every unit without a time zone.
pub fn a_timestamp_is_found_by_text(session: &mut Session<'_>) -> Outcome {
    for (unit, ticks) in UNITS {
        let data_type = DataType::Timestamp(unit, None);
        let table = single(session, &format!("{unit:?}"), data_type, timestamp(TEN_O_CLOCK * ticks, unit))?;
        for text in ["2013-01-01T10:00:00", "2013-01-01 10:00:00", "2013-01-01T10:00:00.000"] {
            assert!(table.get(text)?.is_some(), "{text} in {unit:?}s");
        }
        for text in ["2013-01-01T10:00:01", "2013-01-01T09:59:59", "2013-01-01"] {
            assert!(table.get(text)?.is_none(), "{text} in {unit:?}s");
        }
        for wrong in ["", "ten o'clock", "2013-01-01T25:00:00"] {
            assert_names(&refused(table.get(wrong), ErrorCode::InvalidKey), &["k"]);
        }
    }
    Ok(())
}

/// A moment in another unit finds its row if the column's unit can express it, and is refused otherwise.
pub fn a_timestamp_is_found_in_other_units(session: &mut Session<'_>) -> Outcome {
    for (unit, ticks) in UNITS {
        let data_type = DataType::Timestamp(unit, None);
        let table = single(session, &format!("{unit:?}"), data_type, timestamp(TEN_O_CLOCK * ticks, unit))?;
        for (other, other_ticks) in UNITS {
            assert!(
                table.get(timestamp(TEN_O_CLOCK * other_ticks, other))?.is_some(),
                "{other:?}s for {unit:?}s"
            );
            let next = table.get(timestamp(TEN_O_CLOCK * other_ticks + 1, other));
            if other_ticks > ticks {
                refused(next, ErrorCode::InvalidKey);
            } else {
                assert!(next?.is_none());
            }
        }
        refused(table.get(TEN_O_CLOCK * ticks), ErrorCode::InvalidKey);
        let far = table.get(timestamp(i64::MAX, TimeUnit::Second));
        if ticks == 1 {
            assert!(far?.is_none());
        } else {
            refused(far, ErrorCode::InvalidKey);
        }
    }
    Ok(())
}

/// In a column with a time zone, text with an offset means that moment, and text without an offset is read in the
/// column's zone.
pub fn a_zoned_timestamp_is_found_by_text(session: &mut Session<'_>) -> Outcome {
    for (unit, ticks) in UNITS {
        for (zone, local) in [("UTC", "10:00:00"), ("+02:00", "12:00:00"), ("America/New_York", "05:00:00")] {
            let data_type = DataType::Timestamp(unit, Some(zone.into()));
            let name = format!("{unit:?} {zone}");
            let table = single(session, &name, data_type, timestamp(TEN_O_CLOCK * ticks, unit))?;
            let found = [
                "2013-01-01T10:00:00Z".to_owned(),
                "2013-01-01T12:00:00+02:00".to_owned(),
                "2013-01-01T05:00:00-05:00".to_owned(),
                format!("2013-01-01T{local}"),
            ];
            for text in &found {
                assert!(table.get(text)?.is_some(), "{text} in {name}");
            }
            assert!(table.get("2013-01-01T11:00:00Z")?.is_none());
            assert!(table.get(timestamp(TEN_O_CLOCK, TimeUnit::Second))?.is_some(), "a moment has no zone");
        }
    }
    Ok(())
}

/// A time of day as text finds its row; one that falls between two ticks of the column is refused.
pub fn a_time_is_found_by_text(session: &mut Session<'_>) -> Outcome {
    let half_past_ten = (10 * 3_600 + 30 * 60) * 1_000_000_000;
    let columns = [
        ("s", DataType::Time32(TimeUnit::Second)),
        ("ms", DataType::Time32(TimeUnit::Millisecond)),
        ("us", DataType::Time64(TimeUnit::Microsecond)),
        ("ns", DataType::Time64(TimeUnit::Nanosecond)),
    ];
    for (name, data_type) in columns {
        let table = single(session, name, data_type, Value::Time(half_past_ten))?;
        assert!(table.get("10:30:00")?.is_some(), "{name}");
        assert!(table.get("10:30:01")?.is_none(), "{name}");
        assert!(table.get(Value::Time(half_past_ten))?.is_some(), "{name}");
        refused(table.get("half past ten"), ErrorCode::InvalidKey);
        match name {
            "s" => assert_names(&refused(table.get("10:30:00.5"), ErrorCode::InvalidKey), &["k"]),
            _ => assert!(table.get("10:30:00.5")?.is_none(), "{name}"),
        }
    }
    Ok(())
}

/// A decimal is a number whatever its scale: text, integers and decimals of other scales find it if they are exactly
/// equal.
pub fn a_decimal_is_found_in_every_form(session: &mut Session<'_>) -> Outcome {
    let decimal = |unscaled, scale| Value::Decimal { unscaled, scale };
    let types = [DataType::Decimal32(9, 2), DataType::Decimal64(18, 2), DataType::Decimal128(38, 2)];
    for data_type in types {
        let keys = [150, -25, 200, 0].map(|unscaled| decimal(unscaled, 2)).to_vec();
        let numbers = vals![0, 1, 2, 3];
        let rows = batch(&[("k", data_type.clone(), keys), ("n", DataType::Int64, numbers)]);
        let table = session.define_keyed(&data_type.to_string(), "k", rows)?;
        let forms: [(i64, Vec<Value>); 4] = [
            (0, vec!["1.5".into(), "1.50".into(), "1.500".into(), decimal(15, 1), decimal(150_000, 5)]),
            (1, vec!["-0.25".into(), "-.25".into(), decimal(-25, 2), decimal(-2_500, 4)]),
            (2, vec!["2".into(), "2.00".into(), 2.into(), 2_u64.into(), decimal(2, 0)]),
            (3, vec!["0".into(), "-0.00".into(), 0.into(), decimal(0, 9)]),
        ];
        for (number, forms) in forms {
            for form in forms {
                let row = table.get(&form)?.unwrap_or_else(|| panic!("{form:?} is there"));
                assert_eq!(row.get::<i64>("n")?, number, "{form:?}");
            }
        }
        assert!(table.get("1.51")?.is_none());
        assert!(table.get(1)?.is_none());
        for wrong in [
            Value::from("1.505"),
            decimal(1_505, 3),
            "1,5".into(),
            "".into(),
            "1e3".into(),
            Value::Float(1.5),
        ] {
            assert_names(&refused(table.get(&wrong), ErrorCode::InvalidKey), &["k"]);
        }
    }
    Ok(())
}

/// Queries read text as lookups do, as a literal and as a parameter.
pub fn queries_read_text_as_lookups_do(session: &mut Session<'_>) -> Outcome {
    let microseconds = TimeUnit::Microsecond;
    let zoned = |zone: &str| DataType::Timestamp(microseconds, Some(zone.into()));
    let moment = timestamp(TEN_O_CLOCK * 1_000_000, microseconds);
    let columns = [
        ("day", DataType::Date32, Value::Date(15_706), "2013-01-01", "2013-01-02"),
        (
            "plain",
            DataType::Timestamp(microseconds, None),
            moment.clone(),
            "2013-01-01T10:00:00",
            "2013-01-01T10:00:01",
        ),
        ("utc", zoned("UTC"), moment.clone(), "2013-01-01T10:00:00Z", "2013-01-01T11:00:00Z"),
        ("utc_local", zoned("UTC"), moment.clone(), "2013-01-01T10:00:00", "2013-01-01T11:00:00"),
        ("east", zoned("+02:00"), moment.clone(), "2013-01-01T12:00:00", "2013-01-01T10:00:00"),
        ("west", zoned("America/New_York"), moment, "2013-01-01T05:00:00", "2013-01-01T10:00:00"),
        (
            "clock",
            DataType::Time64(TimeUnit::Nanosecond),
            Value::Time(36_000_000_000_000),
            "10:00:00",
            "10:00:01",
        ),
        ("price", DataType::Decimal128(10, 2), Value::Decimal { unscaled: 150, scale: 2 }, "1.5", "1.51"),
    ];
    for (name, data_type, key, present, absent) in columns {
        let rows = batch(&[("k", data_type, vec![key]), ("n", DataType::Int64, vals![7])]);
        let table = session.define_keyed(name, "k", rows)?;
        for (text, expected) in [(present, vec![vals![7]]), (absent, Vec::new())] {
            assert_eq!(table.get(text)?.is_some(), !expected.is_empty(), "lookup of {text} in {name}");
            let literal = session.sql(&format!("SELECT n FROM {name} WHERE k = '{text}'"), &[])?;
            assert_rows(&literal, &expected);
            let parameter = session.sql(&format!("SELECT n FROM {name} WHERE k = $1"), &vals![text])?;
            assert_rows(&parameter, &expected);
        }
    }
    Ok(())
}
