//! Names of tables and columns, ordinary and odd.

use arrow::datatypes::DataType;
use pillion::{ErrorCode, TableDefinition, Value};

use crate::model::{assert_names, assert_numbered, assert_rows, batch, numbered, refused, vals};
use crate::{Outcome, Session};

const ODD: [&str; 12] = [
    "Upper",
    "upper",
    "with space",
    "ünïcode",
    "日本",
    "a.b",
    "\"quoted\"",
    "../../escape",
    "/absolute",
    ".",
    "select",
    "semi;colon'quote",
];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Any text can be a table's name, exactly as it is written; no part of it reaches the paths of files.
pub fn any_text_names_a_table(session: &mut Session<'_>) -> Outcome {
    for (id, name) in (0..).zip(ODD) {
        let table = session.define_keyed(name, "id", numbered([id]))?;
        assert_eq!(table.name(), name);
    }
    for _ in 0..2 {
        for (id, name) in (0..).zip(ODD) {
            assert_numbered(&session.table(name)?, [id]);
        }
        let listed: Vec<String> = session.cache().tables()?.into_iter().map(|table| table.name).collect();
        let mut sorted = ODD.map(str::to_owned);
        sorted.sort();
        assert_eq!(listed, sorted);
        session.reopen();
    }
    Ok(())
}

/// Any text can be a column's name.
pub fn any_text_names_a_column(session: &mut Session<'_>) -> Outcome {
    let columns: Vec<(&str, DataType, Vec<Value>)> =
        (0..).zip(ODD).map(|(number, name): (i64, _)| (name, DataType::Int64, vals![number])).collect();
    session.define("t", TableDefinition::new(batch(&columns)).primary_key(ODD))?;
    session.reopen();
    let table = session.table("t")?;
    let key: Vec<Value> = (0..).take(ODD.len()).map(Value::Int).collect();
    let row = table.get(key.as_slice())?.expect("it is there");
    for (number, name) in (0..).zip(ODD) {
        assert_eq!(row.get::<i64>(name)?, number, "{name}");
    }
    assert_eq!(table.info()?.rules.primary_key, ODD);
    Ok(())
}

/// A table that does not exist is refused, with the nearest known name, whatever the case of its letters.
pub fn the_nearest_table_is_named(session: &mut Session<'_>) -> Outcome {
    session.define("flights", TableDefinition::new(numbered([1])))?;
    let cache = session.cache();
    assert_names(&refused(cache.table("flight"), ErrorCode::TableNotFound), &["`flight`", "`flights`"]);
    assert_names(&refused(cache.table("Flights"), ErrorCode::TableNotFound), &["`Flights`", "`flights`"]);
    assert_names(&refused(cache.snapshot()?.table("filghts"), ErrorCode::TableNotFound), &["`flights`"]);
    let far = refused(cache.table("weather"), ErrorCode::TableNotFound);
    assert!(!far.message().contains("did you mean"), "{far}");
    Ok(())
}

/// Queries take quoted names of tables exactly, and lower-case unquoted ones.
pub fn queries_find_quoted_names(session: &mut Session<'_>) -> Outcome {
    for (id, name) in (0..).zip(ODD) {
        session.define_keyed(name, "id", numbered([id]))?;
    }
    for (id, name) in (0..).zip(ODD) {
        assert_rows(&session.sql(&format!("SELECT id FROM {}", quoted(name)), &[])?, &[vals![id]]);
    }
    assert_rows(&session.sql("SELECT ID FROM UPPER", &[])?, &[vals![1]]);
    Ok(())
}

/// Queries take quoted names of columns exactly.
pub fn queries_find_quoted_columns(session: &mut Session<'_>) -> Outcome {
    let columns: Vec<(&str, DataType, Vec<Value>)> = (0..)
        .zip(ODD)
        .map(|(number, name): (i64, _)| (name, DataType::Int64, vals![number, number + 100]))
        .collect();
    session.define("t", TableDefinition::new(batch(&columns)).primary_key(["with space"]))?;
    for (number, name) in (0..).zip(ODD) {
        let name = quoted(name);
        let text = format!("SELECT {name} FROM t WHERE {name} >= 100 ORDER BY {name}");
        assert_rows(&session.sql(&text, &[])?, &[vals![number + 100]]);
        let text = format!("SELECT {name} FROM t WHERE \"with space\" = 2");
        assert_rows(&session.sql(&text, &[])?, &[vals![number]]);
    }
    Ok(())
}

/// A query for a table or column that does not exist is refused, with the nearest known name.
pub fn queries_name_the_nearest(session: &mut Session<'_>) -> Outcome {
    session.define("flights", TableDefinition::new(numbered([1])))?;
    let cache = session.cache();
    let error = refused(cache.sql("SELECT * FROM flihgts", &[]), ErrorCode::TableNotFound);
    assert_names(&error, &["flihgts", "`flights`"]);
    let error = refused(cache.sql("SELECT nmae FROM flights", &[]), ErrorCode::ColumnNotFound);
    assert_names(&error, &["nmae", "name"]);
    assert!(cache.sql("SELECT * FROM elsewhere.flights", &[]).is_err(), "there is one schema");
    refused(cache.prepare("SELECT * FROM flihgts"), ErrorCode::TableNotFound);
    refused(cache.snapshot()?.sql("SELECT * FROM flihgts", &[]), ErrorCode::TableNotFound);
    Ok(())
}
