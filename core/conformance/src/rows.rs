//! Rows, and how their values are read.

use arrow::datatypes::DataType;
use pillion::{ErrorCode, Value, ValueRef};

use crate::model::{assert_names, batch, name_of, numbered, refused, row_values, vals};
use crate::{Outcome, Session};

/// A value is read by name or position.
pub fn by_name_and_by_position(session: &mut Session<'_>) -> Outcome {
    let rows = batch(&[("a", DataType::Int32, vals![1]), ("b", DataType::Utf8, vals!["one"])]);
    let row = session.define_keyed("t", "a", rows)?.get(1)?.expect("it is there");
    assert_eq!(row.get::<&str>("b")?, "one");
    assert_eq!(row.get::<&str>(1)?, "one");
    assert_eq!(row.get::<String>("b".to_owned())?, "one");
    assert_eq!(row.get::<ValueRef<'_>>(0)?, ValueRef::Int(1));
    assert_eq!(row.value(1)?, Value::from("one"));
    Ok(())
}

/// A column that does not exist is refused, with the nearest known name.
pub fn an_unknown_column_is_refused(session: &mut Session<'_>) -> Outcome {
    let row = session.define_keyed("t", "id", numbered([1]))?.get(1)?.expect("it is there");
    assert_names(&refused(row.get::<&str>("nmae"), ErrorCode::ColumnNotFound), &["nmae", "`name`"]);
    assert_names(&refused(row.value("Name"), ErrorCode::ColumnNotFound), &["Name", "`name`"]);
    assert_names(&refused(row.value(2), ErrorCode::ColumnNotFound), &["2"]);
    let far = refused(row.value("something else"), ErrorCode::ColumnNotFound);
    assert!(!far.message().contains("did you mean"), "{far}");
    Ok(())
}

/// A row that is held stays as it was when its table is appended to, replaced and dropped, and when the cache is
/// opened again.
pub fn a_held_row_stays_as_it_was(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..1000))?;
    let table = session.table("t")?;
    let (row, unread) = (table.get(500)?.expect("it is there"), table.get(999)?.expect("it is there"));
    let version = row.version();
    session.append("t", numbered([1000]))?;
    session.replace("t", numbered([500]))?;
    session.writer().drop_table("t")?;
    for _ in 0..2 {
        assert_eq!(row_values(&row), vals![500, name_of(500)]);
        assert_eq!(row_values(&unread), vals![999, name_of(999)]);
        assert_eq!(row.version(), version);
        session.reopen();
    }
    assert_eq!(row.to_batch()?, numbered([500]));
    Ok(())
}

/// A row prints its columns and values.
pub fn a_row_prints_its_values(session: &mut Session<'_>) -> Outcome {
    let row = session.define_keyed("t", "id", numbered([1]))?.get(1)?.expect("it is there");
    let text = format!("{row:?}");
    assert!(text.contains("id") && text.contains("name") && text.contains(&name_of(1)), "{text}");
    Ok(())
}

/// A row has the version from which it was read, and the freshness of its table.
pub fn a_row_knows_its_version(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered([1]))?;
    let row = table.get(1)?.expect("it is there");
    assert_eq!(row.version(), session.writer().version()?);
    assert_eq!(row.freshness(), table.info()?.freshness);
    assert!(row.freshness().is_some());
    Ok(())
}
