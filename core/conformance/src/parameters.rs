//! Parameters of queries.

use arrow::datatypes::{DataType, TimeUnit};
use pillion::{ErrorCode, TableDefinition, Value};

use crate::arrays;
use crate::model::{assert_names, assert_rows, batch, numbered, numbered_rows, refused, rows_of, same, vals};
use crate::{Outcome, Session};

/// Too few and too many parameters are refused; the message says how many the statement takes.
pub fn their_number_must_match(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    let cache = session.cache();
    let text = "SELECT id FROM t WHERE id > $1 AND id < $2";
    for wrong in [vals![], vals![1], vals![1, 2, 3]] {
        assert_names(&refused(cache.sql(text, &wrong), ErrorCode::InvalidParameter), &["2"]);
        refused(cache.prepare(text)?.execute(&wrong), ErrorCode::InvalidParameter);
        refused(cache.snapshot()?.sql(text, &wrong), ErrorCode::InvalidParameter);
    }
    refused(cache.sql("SELECT 1", &vals![1]), ErrorCode::InvalidParameter);
    assert_rows(&cache.sql(text, &vals![7, 9])?.concat()?, &[vals![8]]);
    Ok(())
}

/// Numbers start at 1 and have no gaps.
pub fn their_numbers_have_no_gaps(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    let cache = session.cache();
    for text in ["SELECT id FROM t WHERE id > $1 AND id < $3", "SELECT id FROM t WHERE id = $2"] {
        for parameters in [vals![1], vals![1, 2], vals![1, 2, 3]] {
            refused(cache.sql(text, &parameters), ErrorCode::InvalidParameter);
        }
        refused(cache.prepare(text), ErrorCode::InvalidParameter);
    }
    let named =
        refused(cache.sql("SELECT id FROM t WHERE id = $first", &vals![1]), ErrorCode::InvalidParameter);
    assert_names(&named, &["first"]);
    Ok(())
}

/// A parameter may occur several times and in any order.
pub fn a_parameter_may_be_used_twice(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    let text = "SELECT id FROM t WHERE id = $2 OR id = $1 OR (id = 5 AND $2 = 3) ORDER BY id";
    assert_rows(&session.sql(text, &vals![1, 3])?, &[vals![1], vals![3], vals![5]]);
    let prepared = session.cache().prepare(text)?;
    assert_eq!(prepared.parameters(), 2);
    Ok(())
}

/// A value of a wrong type is refused, with its place and the type; a value of another type that can be converted is
/// accepted.
pub fn types_must_fit(session: &mut Session<'_>) -> Outcome {
    let rows = batch(&[
        ("small", DataType::Int8, vals![5]),
        ("text", DataType::Utf8, vals!["x"]),
        ("flag", DataType::Boolean, vals![true]),
        ("day", DataType::Date32, vec![Value::Date(0)]),
    ]);
    session.define("t", TableDefinition::new(rows))?;
    let cache = session.cache();
    let wrong = [
        ("small", Value::from("five")),
        ("small", Value::from(b"5".as_slice())),
        ("small", Value::Int(300)),
        ("day", Value::from("someday")),
    ];
    for (column, value) in wrong {
        let text = format!("SELECT count(*) FROM t WHERE {column} = $1");
        let error = refused(cache.sql(&text, std::slice::from_ref(&value)), ErrorCode::InvalidParameter);
        assert_names(&error, &["$1"]);
    }
    let fitting = [
        ("small", Value::UInt(5)),
        ("small", Value::Int(5)),
        ("text", "x".into()),
        ("flag", true.into()),
        ("day", "1970-01-01".into()),
    ];
    for (column, value) in fitting {
        let found = session.sql(&format!("SELECT count(*) FROM t WHERE {column} = $1"), &[value])?;
        assert_rows(&found, &[vals![1]]);
    }
    Ok(())
}

/// Null is a parameter of any type: it equals nothing, and it can be asked for.
pub fn null_equals_nothing(session: &mut Session<'_>) -> Outcome {
    let rows =
        batch(&[("id", DataType::Int64, vals![1, 2]), ("word", DataType::Utf8, vals!["x", None::<&str>])]);
    session.define_keyed("t", "id", rows)?;
    let null = [Value::Null];
    for condition in ["id = $1", "word = $1", "word <> $1", "id IN ($1)", "word > $1"] {
        let found = session.sql(&format!("SELECT id FROM t WHERE {condition}"), &null)?;
        assert_eq!(found.num_rows(), 0, "{condition}");
    }
    assert_rows(&session.sql("SELECT id FROM t WHERE id IN ($1, 2)", &null)?, &[vals![2]]);
    assert_rows(&session.sql("SELECT id FROM t WHERE word IS NOT DISTINCT FROM $1", &null)?, &[vals![2]]);
    assert_rows(&session.sql("SELECT coalesce($1, 7)", &null)?, &[vals![7]]);
    Ok(())
}

/// Text can be written for dates, times and moments.
pub fn text_stands_for_moments(session: &mut Session<'_>) -> Outcome {
    let moment = |hour: i64| Value::Timestamp {
        value: (1_356_998_400 + hour * 3_600) * 1_000,
        unit: TimeUnit::Millisecond,
    };
    let rows = batch(&[
        ("id", DataType::Int64, (0..24).map(Value::Int).collect()),
        ("at", DataType::Timestamp(TimeUnit::Millisecond, None), (0..24).map(moment).collect()),
        ("day", DataType::Date32, (0..24).map(|day| Value::Date(15_706 + day)).collect()),
        (
            "clock",
            DataType::Time64(TimeUnit::Microsecond),
            (0..24).map(|hour| Value::Time(hour * 3_600_000_000_000)).collect(),
        ),
    ]);
    session.define_keyed("t", "id", rows)?;
    let found = session.sql(
        "SELECT id FROM t WHERE at >= $1 AND at < $2 ORDER BY id",
        &vals!["2013-01-01T10:00:00", "2013-01-01 12:00:00"],
    )?;
    assert_rows(&found, &[vals![10], vals![11]]);
    let found = session.sql(
        "SELECT id FROM t WHERE day BETWEEN $1 AND $2 ORDER BY id",
        &vals!["2013-01-03", "2013-01-04"],
    )?;
    assert_rows(&found, &[vals![2], vals![3]]);
    assert_rows(&session.sql("SELECT id FROM t WHERE clock = $1", &vals!["23:00:00"])?, &[vals![23]]);
    Ok(())
}

/// Values of every kind come back unchanged.
pub fn every_kind_goes_through(session: &mut Session<'_>) -> Outcome {
    let cache = session.cache();
    let values = vec![
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::UInt(u64::MAX),
        Value::Float(-0.0),
        Value::Float(f64::NAN),
        Value::Str("it's \"quoted\"; -- and \0".to_owned()),
        Value::Str(String::new()),
        Value::Bytes(vec![0, 255, 7]),
        Value::Date(-1),
        Value::Time(86_399_999_999_999),
        Value::Timestamp { value: 1, unit: TimeUnit::Second },
        Value::Timestamp { value: -1, unit: TimeUnit::Nanosecond },
        Value::Decimal { unscaled: -12_345, scale: 3 },
        Value::Null,
    ];
    for value in values {
        let answer = cache.sql("SELECT $1", std::slice::from_ref(&value))?.concat()?;
        let found = &rows_of(&answer)[0][0];
        assert!(same(found, &value), "{value:?} came back as {found:?}");
    }
    Ok(())
}

/// Text of a parameter is never read as SQL.
pub fn text_is_never_sql(session: &mut Session<'_>) -> Outcome {
    let words = ["x' OR '1' = '1", "$1", "'); DROP TABLE t; --", "\\", "%", "_"];
    let rows = batch(&[("word", DataType::Utf8, words.map(Value::from).to_vec())]);
    session.define_keyed("t", "word", rows)?;
    for word in words {
        let found = session.sql("SELECT word FROM t WHERE word = $1", &vals![word])?;
        assert_rows(&found, &[vals![word]]);
    }
    assert_rows(&session.sql("SELECT word FROM t WHERE word = $1", &vals!["x"])?, &[]);
    Ok(())
}

/// Parameters can be in lists, limits, expressions, functions and subqueries.
pub fn they_stand_anywhere(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..20))?;
    let found = session.sql("SELECT id FROM t WHERE id IN ($1, $2, $3) ORDER BY id", &vals![7, 99, 3])?;
    assert_rows(&found, &[vals![3], vals![7]]);
    let found = session.sql("SELECT id, name FROM t ORDER BY id LIMIT $1 OFFSET $2", &vals![2, 5])?;
    assert_rows(&found, &numbered_rows([5, 6]));
    let found = session.sql("SELECT id FROM t WHERE id + $1 = $2 * 2", &vals![1, 5])?;
    assert_rows(&found, &[vals![9]]);
    let found = session.sql("SELECT count(*) FROM t WHERE name LIKE $1", &vals!["row 1%"])?;
    assert_rows(&found, &[vals![11]]);
    let found =
        session.sql("SELECT id FROM t WHERE id = (SELECT max(id) FROM t WHERE id < $1)", &vals![15])?;
    assert_rows(&found, &[vals![14]]);
    let found = session.sql(
        "SELECT CASE WHEN id > $1 THEN $2 ELSE $3 END FROM t WHERE id = 9",
        &vals![5, "above", "below"],
    )?;
    assert_eq!(arrays::values(found.column(0)), vals!["above"]);
    let found = session.sql("SELECT sum(id) FROM t GROUP BY id % $1 HAVING sum(id) > $2", &vals![2, 90])?;
    assert_rows(&found, &[vals![100]]);
    Ok(())
}
