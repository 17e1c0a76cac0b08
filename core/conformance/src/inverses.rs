//! Conditions that several values of a column satisfy, although an expression in them has one value.

use arrow::datatypes::DataType;
use pillion::{TableDefinition, Value};

use crate::model::{batch, rows_of};
use crate::{Outcome, Session};

/// A column stays in the order where a condition gives one value to a cast or a quotient of it.
pub fn orders_of_columns_in_conditions(session: &mut Session<'_>) -> Outcome {
    let floats = [3.5, 3.0, 3.25, -3.0, 0.0, 3.125, 700.0];
    let integers = [7, 6, 8, 7, 9, 6, -7];
    session.define(
        "t",
        TableDefinition::new(batch(&[
            ("f", DataType::Float64, floats.map(Value::Float).to_vec()),
            ("i", DataType::Int64, integers.map(Value::Int).to_vec()),
        ])),
    )?;
    for (column, condition, count) in [
        ("f", "CAST(f AS BOOLEAN)", 6),
        ("f", "CAST(f AS BOOLEAN) AND i > 0", 5),
        ("f", "TRY_CAST(f AS INT) = 3", 4),
        ("f", "CAST(f AS INT) = 3", 4),
        ("f", "CAST(CAST(f AS INT) AS DOUBLE) = 3.0", 4),
        ("f", "CAST(f AS INT) + 1 = 4", 4),
        ("f", "f * 0 = 0", 7),
        ("f", "f + 1e20 = 1e20", 7),
        ("f", "-CAST(f AS INT) = -3", 4),
        ("i", "i / 2 = 3", 4),
        ("i", "i / 2 = 3 AND f > 0", 3),
        ("i", "i / 2 >= 3 AND i / 2 <= 3", 4),
        ("i", "CAST(i AS BOOLEAN) = true", 7),
        ("i", "i % 2 = 1", 3),
    ] {
        let unordered = format!("SELECT {column} FROM t WHERE {condition}");
        let mut values = |text: &str| -> Result<Vec<f64>, Box<dyn std::error::Error>> {
            let rows = rows_of(&session.sql(text, &[])?);
            Ok(rows.iter().map(|row| number(&row[0])).collect())
        };
        let mut expected = values(&unordered)?;
        expected.sort_by(f64::total_cmp);
        assert_eq!(expected.len(), count, "{condition}");
        assert_eq!(values(&format!("{unordered} ORDER BY {column}"))?, expected, "{condition}");
        let first = values(&format!("{unordered} ORDER BY {column} LIMIT 2"))?;
        assert_eq!(first, expected[..2], "{condition}, the first two");
        let bounds = rows_of(
            &session.sql(&format!("SELECT min({column}), max({column}) FROM t WHERE {condition}"), &[])?,
        );
        let bounds: Vec<f64> = bounds[0].iter().map(number).collect();
        assert_eq!(bounds, [expected[0], expected[count - 1]], "{condition}, the bounds");
    }
    Ok(())
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Float(value) => *value,
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        Value::Int(value) => *value as f64,
        other => panic!("{other:?} is not a number"),
    }
}
