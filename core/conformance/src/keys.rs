//! Finding rows by their primary key.

use arrow::datatypes::DataType;
use pillion::{ErrorCode, Input, TableDefinition, Value, ValueRef};

use crate::model::{
    assert_names, assert_numbered, batch, name_of, numbered, numbered_rows, numbered_schema, refused,
    row_values, vals,
};
use crate::{Outcome, Session};

/// The row that carries a key is found, whole.
pub fn a_present_key_is_found(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered([3, 1, 2]))?;
    let row = table.get(2)?.expect("2 is there");
    assert_eq!(row_values(&row), vals![2, name_of(2)]);
    assert_numbered(&table, [1, 2, 3]);
    Ok(())
}

/// An absent key gives no row: below, above and between the present keys.
pub fn an_absent_key_gives_no_row(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered((0..1000).map(|n| n * 2)))?;
    for absent in [i64::MIN, -1, 1, 999, 1997, 1999, 2000, i64::MAX] {
        assert!(table.get(absent)?.is_none(), "{absent} is not there");
    }
    Ok(())
}

/// With rows of several appends, every key is found, and no key in the gaps between them.
pub fn keys_and_gaps_alternate(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered((0..300).map(|n| n * 6)))?;
    session.append("t", numbered((0..300).map(|n| n * 6 + 2)))?;
    session.append("t", numbered((0..300).map(|n| n * 6 + 4)))?;
    let table = session.table("t")?;
    for id in -1..1801 {
        let found = table.get(id)?.map(|row| row_values(&row));
        let expected = ((0..1800).contains(&id) && id % 2 == 0).then(|| vals![id, name_of(id)]);
        assert_eq!(found, expected, "key {id}");
    }
    Ok(())
}

/// A table without rows has no row for any key.
pub fn an_empty_table_has_no_key(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", Input::batches(numbered_schema(), []))?;
    assert!(table.get(0)?.is_none());
    assert!(table.get_many(&[1, 2])?.iter().all(Option::is_none));
    Ok(())
}

/// Null is not a key, whatever the table holds.
pub fn a_null_key_is_refused(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered([1]))?;
    assert_names(&refused(table.get(Value::Null), ErrorCode::InvalidKey), &["id"]);
    Ok(())
}

/// A key of too few or too many parts is refused and the message names the key's columns.
pub fn a_key_of_the_wrong_length_is_refused(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered([1]))?;
    assert_names(&refused(table.get((1, 2)), ErrorCode::InvalidKey), &["id"]);
    let none: [i64; 0] = [];
    assert_names(&refused(table.get(none), ErrorCode::InvalidKey), &["id"]);
    Ok(())
}

/// A key of another kind of value is refused and the message names column and type.
pub fn a_key_of_the_wrong_type_is_refused(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered([1]))?;
    for wrong in vals!["1", 1.0, true, b"1".as_slice()] {
        assert_names(&refused(table.get(&wrong), ErrorCode::InvalidKey), &["id", "Int64"]);
    }
    let rows = batch(&[("k", DataType::Utf8, vals!["1"])]);
    let table = session.define_keyed("texts", "k", rows)?;
    assert_names(&refused(table.get(1), ErrorCode::InvalidKey), &["k", "Utf8"]);
    Ok(())
}

/// An integer that the column's type cannot hold is refused.
pub fn an_integer_out_of_range_is_refused(session: &mut Session<'_>) -> Outcome {
    let rows = batch(&[("k", DataType::Int8, vals![1]), ("u", DataType::UInt8, vals![1])]);
    let table = session.define_keyed("signed", "k", rows.clone())?;
    refused(table.get(128), ErrorCode::InvalidKey);
    refused(table.get(-129), ErrorCode::InvalidKey);
    refused(table.get(u64::MAX), ErrorCode::InvalidKey);
    let table = session.define_keyed("unsigned", "u", rows)?;
    refused(table.get(256), ErrorCode::InvalidKey);
    refused(table.get(-1), ErrorCode::InvalidKey);
    Ok(())
}

/// A table without a primary key has no lookups; the message names the table.
pub fn a_table_without_a_key_refuses_lookups(session: &mut Session<'_>) -> Outcome {
    let table = session.define("keyless", TableDefinition::new(numbered([1])))?;
    assert_names(&refused(table.get(1), ErrorCode::NoPrimaryKey), &["keyless"]);
    refused(table.get_many(&[1]), ErrorCode::NoPrimaryKey);
    Ok(())
}

/// Several keys are answered in the order in which they were asked, absent and repeated ones included.
pub fn many_keys_keep_their_order(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered(0..100))?;
    let asked = [50, 0, 100, 50, -1, 99];
    let found: Vec<_> = table.get_many(&asked)?.iter().map(|row| row.as_ref().map(row_values)).collect();
    let expected: Vec<_> =
        asked.iter().map(|&id| (0..100).contains(&id).then(|| numbered_rows([id]).remove(0))).collect();
    assert_eq!(found, expected);
    assert!(table.get_many::<i64>(&[])?.is_empty());
    Ok(())
}

/// If one key is wrong, the whole call is refused.
pub fn one_wrong_key_refuses_all(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered(0..3))?;
    refused(table.get_many(&[Value::Int(1), Value::from("two")]), ErrorCode::InvalidKey);
    Ok(())
}

/// An integer key is the same number in every Rust integer type.
pub fn every_rust_integer_is_a_key(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered(0..10))?;
    let rows = [
        table.get(7_i8)?,
        table.get(7_i16)?,
        table.get(7_i32)?,
        table.get(7_i64)?,
        table.get(7_u16)?,
        table.get(7_u32)?,
    ];
    for row in rows.into_iter().chain([table.get(7_u64)?]) {
        assert_eq!(row.expect("7 is there").get::<i64>("id")?, 7);
    }
    Ok(())
}

/// A key can be written as a value, a reference, a tuple, an array, a slice or a vector.
pub fn a_key_can_be_written_in_many_ways(session: &mut Session<'_>) -> Outcome {
    let rows = batch(&[("k", DataType::Utf8, vals!["one", "two"]), ("n", DataType::Int32, vals![1, 2])]);
    let table = session.define_keyed("t", "k", rows)?;
    let owned = "two".to_owned();
    let rows = [
        table.get("two")?,
        table.get(&owned)?,
        table.get(owned.as_str())?,
        table.get(Value::from("two"))?,
        table.get(ValueRef::Str("two"))?,
        table.get(("two",))?,
        table.get(["two"])?,
        table.get(vec!["two"])?,
        table.get(vals!["two"].as_slice())?,
    ];
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row.as_ref().expect("two is there").get::<i32>("n")?, 2, "way {number}");
    }
    Ok(())
}

/// Texts that look or sort alike are different keys.
pub fn similar_texts_are_different_keys(session: &mut Session<'_>) -> Outcome {
    let texts =
        ["a", "A", "a ", " a", "a\0", "a\0\0", "á", "a\u{301}", "", "\0", "ａ", "aa", "1", "01", "1.0"];
    let numbers: Vec<Value> = (0..).take(texts.len()).map(Value::Int).collect();
    let keys = texts.iter().map(|text| Value::from(*text)).collect();
    let table = session.define_keyed(
        "t",
        "k",
        batch(&[("k", DataType::Utf8, keys), ("n", DataType::Int64, numbers.clone())]),
    )?;
    for (text, number) in texts.iter().zip(numbers) {
        assert_eq!(table.get(*text)?.expect("it is there").value("n")?, number, "{text:?}");
    }
    assert!(table.get("ａa")?.is_none());
    Ok(())
}

/// Keys far longer than the space that a lookup keeps on its stack work like short ones.
pub fn long_keys_are_told_apart(session: &mut Session<'_>) -> Outcome {
    let text = |length: usize, end: &str| format!("{}{end}", "k".repeat(length));
    let lengths = [10, 60, 63, 64, 65, 100, 10_000, 100_000];
    let keys: Vec<Value> =
        lengths.iter().flat_map(|&n| [text(n, "a"), text(n, "b")]).map(Value::from).collect();
    let numbers = (0..).take(keys.len()).map(Value::Int).collect();
    let rows = batch(&[("k", DataType::Utf8, keys), ("n", DataType::Int64, numbers)]);
    let table = session.define_keyed("t", "k", rows)?;
    for (number, &length) in lengths.iter().enumerate() {
        let found = |end| {
            Ok::<_, pillion::Error>(table.get(text(length, end))?.map(|row| row.get::<i64>("n").unwrap()))
        };
        let number = i64::try_from(number)?;
        assert_eq!(found("a")?, Some(2 * number), "{length} bytes");
        assert_eq!(found("b")?, Some(2 * number + 1), "{length} bytes");
        assert_eq!(found("c")?, None, "{length} bytes");
    }
    Ok(())
}

/// The key column may be anywhere in the table.
pub fn the_key_may_be_the_last_column(session: &mut Session<'_>) -> Outcome {
    let rows = batch(&[("a", DataType::Utf8, vals!["x", "y"]), ("k", DataType::Int32, vals![20, 10])]);
    let table = session.define_keyed("t", "k", rows)?;
    assert_eq!(row_values(&table.get(10)?.expect("10 is there")), vals!["y", 10]);
    assert_eq!(row_values(&table.get(20)?.expect("20 is there")), vals!["x", 20]);
    Ok(())
}
