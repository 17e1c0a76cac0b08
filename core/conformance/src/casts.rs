//! Conditions on casts of columns: bounds of a column must not be used if the cast does not keep the order.

use arrow::datatypes::{DataType, TimeUnit};
use pillion::{TableDefinition, Value};

use crate::model::{assert_rows, batch, rows_of, vals};
use crate::{Outcome, Session};

const HOUR: i64 = 3600;

fn count(session: &mut Session<'_>, text: &str, expected: i64) -> Outcome {
    let found = session.sql(text, &[])?;
    assert_eq!(rows_of(&found), [vals![expected]], "{text}");
    Ok(())
}

fn timestamps(session: &mut Session<'_>, zone: Option<&str>, moments: &[i64]) -> Outcome {
    let data_type = DataType::Timestamp(TimeUnit::Second, zone.map(Into::into));
    let values = moments.iter().map(|&value| Value::Timestamp { value, unit: TimeUnit::Second }).collect();
    session.define("t", TableDefinition::new(batch(&[("moment", data_type, values)])).sort_by(["moment"]))?;
    Ok(())
}

/// The time of a timestamp starts anew every day.
pub fn times_of_timestamps(session: &mut Session<'_>) -> Outcome {
    // Forty days of hours, from the middle of a day to the middle of another.
    let hours: Vec<i64> = (0..40 * 24).map(|hour| (hour + 12) * HOUR).collect();
    timestamps(session, None, &hours)?;
    count(session, "SELECT count(*) FROM t WHERE moment::time >= TIME '20:00:00'", 160)?;
    count(session, "SELECT count(*) FROM t WHERE moment::time < TIME '04:00:00'", 160)?;
    count(
        session,
        "SELECT count(*) FROM t WHERE CAST(moment AS TIME) BETWEEN TIME '09:00:00' AND TIME '10:00:00'",
        80,
    )?;
    count(
        session,
        "SELECT count(*) FROM t WHERE TRY_CAST(moment AS TIME) IN (TIME '01:00:00', TIME '23:00:00')",
        80,
    )?;
    count(session, "SELECT count(*) FROM t WHERE NOT (moment::time <> TIME '12:00:00')", 40)?;
    // Days rise with their timestamps.
    count(session, "SELECT count(*) FROM t WHERE CAST(moment AS DATE) = DATE '1970-01-02'", 24)
}

/// In the hour that comes twice, clocks fall while time rises, and over midnight the date falls with them.
pub fn local_times_of_moments(session: &mut Session<'_>) -> Outcome {
    // 04:30, 05:30 and 06:30 UTC on 3 November 2013. In Havana this is half past midnight twice, then half past one.
    let moments = [4, 5, 6].map(|hour| 1_383_436_800 + hour * HOUR + HOUR / 2);
    timestamps(session, Some("America/Havana"), &moments)?;
    let local = "arrow_cast(arrow_cast(moment, 'Utf8'), 'Timestamp(Second, None)')";
    let found = session.sql(&format!("SELECT count(*) FROM t WHERE {local} IS NOT NULL"), &[])?;
    assert_rows(&found, &[vals![3]]);
    for bound in ["2013-11-03T00:15:00", "2013-11-03T00:45:00", "2013-11-03T01:15:00"] {
        for operator in ["<", ">="] {
            let cast = "arrow_cast(moment, 'Timestamp(Second, None)')";
            let bound = format!("arrow_cast('{bound}', 'Timestamp(Second, None)')");
            let of_rows = format!(
                "SELECT count(*) FROM (SELECT {cast} AS local, random() AS r FROM t) WHERE local {operator} {bound} AND r >= 0"
            );
            let expected = rows_of(&session.sql(&of_rows, &[])?);
            let found = rows_of(
                &session.sql(&format!("SELECT count(*) FROM t WHERE {cast} {operator} {bound}"), &[])?,
            );
            assert_eq!(found, expected, "{operator} {bound}");
        }
    }
    Ok(())
}

/// A number cast to a boolean is true below zero and above zero.
pub fn booleans_of_numbers(session: &mut Session<'_>) -> Outcome {
    let numbers = (-5..=5).map(Value::Int).collect();
    session.define("t", TableDefinition::new(batch(&[("i", DataType::Int64, numbers)])))?;
    count(session, "SELECT count(*) FROM t WHERE CAST(i AS BOOLEAN) < true", 1)?;
    count(session, "SELECT count(*) FROM t WHERE TRY_CAST(i AS BOOLEAN) = false", 1)?;
    count(session, "SELECT count(*) FROM t WHERE CAST(i AS BOOLEAN) > false", 10)
}

/// The smallest integer has no opposite.
pub fn opposites_of_the_smallest_integer(session: &mut Session<'_>) -> Outcome {
    let numbers = vec![Value::Int(i64::MIN), Value::Int(-1), Value::Int(0), Value::Int(7)];
    session.define_keyed("t", "k", batch(&[("k", DataType::Int64, numbers)]))?;
    // It wraps around to itself, as in DataFusion.
    count(session, "SELECT count(*) FROM t WHERE -k < 0", 2)?;
    count(session, "SELECT count(*) FROM t WHERE -k > 0", 1)?;
    count(session, "SELECT count(*) FROM t WHERE k < 0", 2)
}

/// A value that cannot be cast causes no error when its row is gone.
pub fn values_of_rows_that_are_gone(session: &mut Session<'_>) -> Outcome {
    let rows = |values: &[(i64, &str)]| {
        let ids = values.iter().map(|(id, _)| Value::Int(*id)).collect();
        let texts = values.iter().map(|(_, text)| Value::Str((*text).to_owned())).collect();
        batch(&[("id", DataType::Int64, ids), ("v", DataType::Utf8, texts)])
    };
    session.define_keyed("t", "id", rows(&[(1, "3"), (2, "zebra"), (3, "5")]))?;
    session.upsert("t", rows(&[(2, "5")]))?;
    count(session, "SELECT count(*) FROM t WHERE CAST(v AS INT) = 5", 2)?;
    session.compact()?;
    count(session, "SELECT count(*) FROM t WHERE CAST(v AS INT) = 5", 2)?;
    // Bounds of numbers that no longer fit.
    let numbers = |values: &[(i64, i64)]| {
        let (ids, values) = values.iter().map(|(id, v)| (Value::Int(*id), Value::Int(*v))).unzip();
        batch(&[("id", DataType::Int64, ids), ("v", DataType::Int64, values)])
    };
    session.define_keyed("n", "id", numbers(&[(1, 3), (2, i64::MAX), (3, 5)]))?;
    session.upsert("n", numbers(&[(2, 5)]))?;
    count(session, "SELECT count(*) FROM n WHERE CAST(v AS SMALLINT) = 5", 2)?;
    session.compact()?;
    count(session, "SELECT count(*) FROM n WHERE CAST(v AS SMALLINT) + 1 = 6", 2)
}
