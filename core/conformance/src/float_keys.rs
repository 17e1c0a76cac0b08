//! Floating-point keys: a key is its bits, and order is IEEE 754 totalOrder; a query compares as SQL does.

use arrow::datatypes::DataType;
use pillion::{ErrorCode, Value};

use crate::arrays;
use crate::model::{assert_values, batch, collect, compare, refused, rows_of, vals};
use crate::{Outcome, Session};

/// A quiet NaN with a payload of its own, which `f32` can hold.
const PAYLOAD_NAN: f64 = f64::from_bits(0x7FF8_0000_2000_0000);

fn floats() -> Vec<f64> {
    vec![
        0.0,
        -0.0,
        1.5,
        -1.5,
        f64::NAN,
        -f64::NAN,
        PAYLOAD_NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::from(f32::MIN_POSITIVE),
        f64::from(f32::MAX),
    ]
}

fn define(session: &mut Session<'_>, data_type: DataType) -> Result<Vec<Value>, pillion::Error> {
    let keys: Vec<Value> = floats().into_iter().map(Value::Float).collect();
    let numbers = (0..).take(keys.len()).map(Value::Int).collect();
    session.define_keyed(
        "t",
        "k",
        batch(&[("k", data_type, keys.clone()), ("n", DataType::Int64, numbers)]),
    )?;
    Ok(keys)
}

fn every_float_is_its_own_key(session: &mut Session<'_>, data_type: DataType) -> Outcome {
    let mut keys = define(session, data_type)?;
    let table = session.table("t")?;
    for (number, key) in floats().into_iter().enumerate() {
        let row = table.get(key)?.unwrap_or_else(|| panic!("{key} ({:x}) is there", key.to_bits()));
        assert_eq!(row.get::<i64>("n")?, i64::try_from(number)?, "row of {key} ({:x})", key.to_bits());
        assert_eq!(row.get::<f64>("k")?.to_bits(), key.to_bits());
    }
    for absent in [2.5, f64::from(f32::MIN), f64::from_bits(0x7FF8_0000_4000_0000)] {
        assert!(table.get(absent)?.is_none(), "{absent} is not there");
    }
    keys.sort_by(compare);
    assert_values(&arrays::values(collect(table.scan()).column(0)), &keys, "keys in their order");
    Ok(())
}

/// Keys of 64 bits: both zeros, every NaN and the infinities are different keys.
pub fn every_float64_is_its_own_key(session: &mut Session<'_>) -> Outcome {
    every_float_is_its_own_key(session, DataType::Float64)
}

/// Keys of 32 bits: both zeros, every NaN and the infinities are different keys.
pub fn every_float32_is_its_own_key(session: &mut Session<'_>) -> Outcome {
    every_float_is_its_own_key(session, DataType::Float32)
}

/// A number that 32 bits cannot hold exactly is not a key of such a column; the nearest number that they can hold is.
pub fn a_float32_key_is_exact(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "k", batch(&[("k", DataType::Float32, vals![0.1_f32])]))?;
    assert!(table.get(0.1_f32)?.is_some());
    refused(table.get(0.1_f64), ErrorCode::InvalidKey);
    Ok(())
}

/// An integer is not a floating-point key.
pub fn an_integer_is_no_float_key(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "k", batch(&[("k", DataType::Float64, vals![1.0])]))?;
    refused(table.get(1), ErrorCode::InvalidKey);
    Ok(())
}

/// Rows whose keys have the same bits are duplicates; 0.0 and -0.0 are not.
pub fn equal_bits_are_a_duplicate(session: &mut Session<'_>) -> Outcome {
    for twice in [f64::NAN, -0.0] {
        let rows = batch(&[("k", DataType::Float64, vals![1.0, twice, 2.0, twice])]);
        refused(session.define_keyed("t", "k", rows), ErrorCode::DuplicateKey);
    }
    session.define_keyed("t", "k", batch(&[("k", DataType::Float64, vals![0.0, -0.0])]))?;
    Ok(())
}

/// What SQL treats as equal: both zeros, and otherwise the same bits.
fn equal_in_sql(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a == 0.0 && b == 0.0)
}

/// Every float in a segment of its own, so that skipping by zone maps is tested too.
fn define_apart(session: &mut Session<'_>, data_type: &DataType) -> Outcome {
    let row = |number: i64, key: f64| {
        batch(&[("k", data_type.clone(), vals![key]), ("n", DataType::Int64, vals![number])])
    };
    session.define_keyed("t", "k", row(0, floats()[0]))?;
    for (number, key) in (0..).zip(floats()).skip(1).take(6) {
        session.append("t", row(number, key))?;
    }
    let rest = (0..).zip(floats()).skip(7).map(|(number, key)| row(number, key));
    session.append("t", rest.collect::<Vec<_>>())?;
    Ok(())
}

fn queries_compare_as_sql_does(session: &mut Session<'_>, data_type: &DataType) -> Outcome {
    define_apart(session, data_type)?;
    for key in floats() {
        let equal = (0..)
            .zip(floats())
            .filter(|(_, other)| equal_in_sql(*other, key))
            .map(|(n, _): (i64, _)| vals![n]);
        let equal: Vec<Vec<Value>> = equal.collect();
        for condition in ["k = $1", "k = $1 AND n >= 0", "k = $1 OR k = 12345.0", "k >= $1 AND k <= $1"] {
            let text = format!("SELECT n FROM t WHERE {condition} ORDER BY n");
            let found = session.sql(&text, &[Value::Float(key)])?;
            assert_eq!(rows_of(&found), equal, "{condition} for {key} ({:x})", key.to_bits());
        }
        let found = session.table("t")?.get(key)?.expect("it is there").get::<i64>("n")?;
        assert!(equal.contains(&vals![found]), "what a lookup of {key} finds is among what a query finds");
    }
    Ok(())
}

/// A query by a key of 64 bits compares as SQL does: both zeros are equal, and every NaN is equal to itself.
pub fn queries_compare_float64_as_sql_does(session: &mut Session<'_>) -> Outcome {
    queries_compare_as_sql_does(session, &DataType::Float64)
}

/// A query by a key of 32 bits compares as SQL does: both zeros are equal, and every NaN is equal to itself.
pub fn queries_compare_float32_as_sql_does(session: &mut Session<'_>) -> Outcome {
    queries_compare_as_sql_does(session, &DataType::Float32)
}
