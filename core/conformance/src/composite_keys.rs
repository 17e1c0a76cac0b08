//! Primary keys of several columns.

use std::collections::HashMap;

use arrow::datatypes::{DataType, TimeUnit};
use pillion::{ErrorCode, Table, TableDefinition, Value};

use crate::model::{
    assert_names, assert_rows, assert_rows_in_any_order, batch, collect, compare, refused, rows_of, vals,
};
use crate::random::Random;
use crate::{Outcome, Session};

const DAY: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn moment(hour: i64) -> Value {
    Value::Timestamp { value: (1_356_998_400 + hour * 3_600) * 1_000_000, unit: TimeUnit::Microsecond }
}

/// The number of the row of every key.
type Numbers = HashMap<(i64, &'static str, i32), i64>;

/// Flights of a few carriers at a few hours. The key is (hour, carrier, flight), and the columns have another order.
/// Returns the row number of every key.
fn define(session: &mut Session<'_>) -> Result<(Table, Numbers), pillion::Error> {
    let mut rows = Vec::new();
    for hour in 0..8 {
        for carrier in ["AA", "UA", "", "A"] {
            for flight in [-1, 0, 1545] {
                if (hour + i64::from(flight)) % 3 != 0 {
                    rows.push((hour, carrier, flight));
                }
            }
        }
    }
    Random(5).shuffle(&mut rows);
    let column = |value: fn(&(i64, &str, i32)) -> Value| rows.iter().map(value).collect();
    let flights = batch(&[
        ("flight", DataType::Int32, column(|row| row.2.into())),
        ("n", DataType::Int64, (0..).take(rows.len()).map(Value::Int).collect()),
        ("carrier", DataType::Utf8, column(|row| row.1.into())),
        ("hour", DAY, column(|row| moment(row.0))),
    ]);
    let definition = TableDefinition::new(flights).primary_key(["hour", "carrier", "flight"]);
    Ok((session.define("flights", definition)?, rows.into_iter().zip(0..).collect()))
}

/// Every combination that exists is found, and no other.
pub fn every_combination_is_found_or_not(session: &mut Session<'_>) -> Outcome {
    let (table, numbers) = define(session)?;
    for hour in -1..9 {
        for carrier in ["AA", "UA", "", "A", "U", "AAA"] {
            for flight in [-2, -1, 0, 1, 1545, i32::MAX] {
                let found =
                    table.get((moment(hour), carrier, flight))?.map(|row| row.get::<i64>("n")).transpose()?;
                assert_eq!(
                    found,
                    numbers.get(&(hour, carrier, flight)).copied(),
                    "{hour} {carrier} {flight}"
                );
            }
        }
    }
    Ok(())
}

/// The parts are in the order of the primary key, not of the table's columns, and each may be written as text.
pub fn parts_are_in_the_order_of_the_key(session: &mut Session<'_>) -> Outcome {
    let (table, numbers) = define(session)?;
    let row = table.get(("2013-01-01T01:00:00", "UA", 1545))?.expect("it is there");
    assert_eq!(row.get::<i64>("n")?, numbers[&(1, "UA", 1545)]);
    assert_names(&refused(table.get((1545, "UA", moment(1))), ErrorCode::InvalidKey), &["hour"]);
    assert_eq!(table.info()?.rules.primary_key, ["hour", "carrier", "flight"]);
    Ok(())
}

/// A key with a part too few or too many, or with a null part, is refused.
pub fn a_key_needs_all_its_parts(session: &mut Session<'_>) -> Outcome {
    let (table, _) = define(session)?;
    let error = refused(table.get((moment(1), "UA")), ErrorCode::InvalidKey);
    assert_names(&error, &["hour", "carrier", "flight"]);
    refused(table.get((moment(1), "UA", 1545, 1)), ErrorCode::InvalidKey);
    refused(table.get((moment(1), Value::Null, 1545)), ErrorCode::InvalidKey);
    refused(table.get("UA"), ErrorCode::InvalidKey);
    Ok(())
}

/// Rows are stored by the first part, then the second, then the third.
pub fn rows_are_ordered_part_by_part(session: &mut Session<'_>) -> Outcome {
    let (table, _) = define(session)?;
    let rows = rows_of(&collect(table.scan_columns(["hour", "carrier", "flight"])));
    let order = |a: &Vec<Value>, b: &Vec<Value>| {
        let parts = a.iter().zip(b).map(|(a, b)| compare(a, b));
        parts.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    };
    assert!(rows.is_sorted_by(|a, b| order(a, b).is_lt()), "{rows:?}");
    Ok(())
}

/// Text parts never run into each other, whatever bytes they hold.
pub fn text_parts_do_not_run_into_each_other(session: &mut Session<'_>) -> Outcome {
    let parts = ["", "a", "ab", "abc", "b", "bc", "c", "\0", "\0\0", "a\0", "\0a", "a\0\u{FF}"];
    let pairs: Vec<(&str, &str)> = parts.iter().flat_map(|a| parts.iter().map(move |b| (*a, *b))).collect();
    let (kept, left_out): (Vec<_>, Vec<_>) =
        pairs.into_iter().partition(|(a, b)| !(a.len() * 3 + b.len()).is_multiple_of(4));
    let rows = batch(&[
        ("a", DataType::Utf8, kept.iter().map(|pair| pair.0.into()).collect()),
        ("b", DataType::Utf8View, kept.iter().map(|pair| pair.1.into()).collect()),
        ("n", DataType::Int64, (0..).take(kept.len()).map(Value::Int).collect()),
    ]);
    let table = session.define("t", TableDefinition::new(rows).primary_key(["a", "b"]))?;
    for (number, pair) in (0..).zip(&kept) {
        assert_eq!(table.get(*pair)?.expect("it is there").get::<i64>("n")?, number, "{pair:?}");
    }
    for pair in left_out {
        assert!(table.get(pair)?.is_none(), "{pair:?}");
    }
    Ok(())
}

/// A key of eight parts.
pub fn eight_parts_make_a_key(session: &mut Session<'_>) -> Outcome {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let columns: Vec<(&str, DataType, Vec<Value>)> = (0_u32..)
        .zip(names)
        .map(|(bit, name)| {
            (name, DataType::Int16, (0..256).map(|row: i64| Value::Int((row >> bit) & 1)).collect())
        })
        .collect();
    let table = session.define("t", TableDefinition::new(batch(&columns)).primary_key(names))?;
    assert_eq!(table.info()?.rows, 256);
    let row = table.get((1, 0, 1, 1, 0, 0, 1, 0))?.expect("every combination of bits is there");
    assert_eq!(row.get::<i16>("c")?, 1);
    assert_eq!(row.get::<i16>("h")?, 0);
    assert!(table.get((1, 0, 1, 1, 0, 0, 1, 2))?.is_none());
    Ok(())
}

/// A value of a single part may occur twice; only all parts together are unique.
pub fn only_all_parts_together_are_unique(session: &mut Session<'_>) -> Outcome {
    let rows = |second: &[i64]| {
        let first = second.iter().map(|_| Value::Int(1)).collect();
        let second = second.iter().copied().map(Value::Int).collect();
        batch(&[("a", DataType::Int64, first), ("b", DataType::Int64, second)])
    };
    session.define("t", TableDefinition::new(rows(&[1, 2, 3])).primary_key(["a", "b"]))?;
    let error = refused(session.append("t", rows(&[4, 2])), ErrorCode::DuplicateKey);
    assert_names(&error, &["`t`", "a=1", "b=2"]);
    session.append("t", rows(&[4]))?;
    assert_eq!(session.table("t")?.info()?.rows, 4);
    Ok(())
}

/// Queries by all parts, by some of them and by lists of them.
pub fn queries_by_parts_agree(session: &mut Session<'_>) -> Outcome {
    let (_, numbers) = define(session)?;
    let where_ = |keep: &dyn Fn(&(i64, &str, i32)) -> bool| -> Vec<Vec<Value>> {
        numbers.iter().filter(|(key, _)| keep(key)).map(|(_, number)| vals![*number]).collect()
    };
    for hour in [0, 3, 99] {
        for flight in [-1, 1545, 7] {
            let text = "SELECT n FROM flights WHERE flight = $3 AND carrier = $2 AND hour = $1";
            let found = session.sql(text, &[moment(hour), "UA".into(), flight.into()])?;
            assert_rows(&found, &where_(&|key| *key == (hour, "UA", flight)));
        }
    }
    let found = session.sql("SELECT n FROM flights WHERE hour = $1", &[moment(3)])?;
    assert_rows_in_any_order(&found, &where_(&|key| key.0 == 3));
    let found = session.sql("SELECT n FROM flights WHERE carrier = 'A' AND flight = 0", &[])?;
    assert_rows_in_any_order(&found, &where_(&|key| key.1 == "A" && key.2 == 0));
    let text =
        "SELECT n FROM flights WHERE hour IN ($1, $2, $2) AND carrier IN ('AA', 'A', 'x') AND flight = -1";
    let found = session.sql(text, &[moment(1), moment(2)])?;
    assert_rows_in_any_order(
        &found,
        &where_(&|key| [1, 2].contains(&key.0) && key.1.starts_with('A') && key.2 == -1),
    );
    let text = "SELECT n FROM flights WHERE hour = $1 AND carrier = 'UA' AND flight = 1545 AND n < 0";
    assert_rows(&session.sql(text, &[moment(1)])?, &[]);
    Ok(())
}
