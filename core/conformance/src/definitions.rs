//! Defining, finding and dropping tables.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use pillion::{ErrorCode, Input, TableDefinition};

use crate::model::{assert_names, assert_numbered, batch, numbered, numbered_schema, refused, vals};
use crate::{Outcome, Session};

/// The information about a table is what its definition said.
pub fn a_table_knows_its_definition(session: &mut Session<'_>) -> Outcome {
    let definition = TableDefinition::new(numbered([2, 1])).primary_key(["id"]).sort_by(["name"]);
    session.define("t", definition)?;
    session.define("plain", TableDefinition::new(numbered([1])))?;
    for _ in 0..2 {
        let info = session.table("t")?.info()?;
        assert_eq!((info.name.as_str(), info.rows), ("t", 2));
        assert_eq!(
            (info.rules.primary_key, info.rules.sort_by),
            (vec!["id".to_owned()], vec!["name".to_owned()])
        );
        assert_eq!(info.schema, numbered_schema());
        assert!(info.bytes > 0 && info.segments == 1 && info.freshness.is_some());
        let plain = session.table("plain")?.info()?;
        assert!(plain.rules.primary_key.is_empty() && plain.rules.sort_by.is_empty());
        let keyed = session.table("t")?;
        assert_eq!((keyed.name(), keyed.schema()), ("t", &numbered_schema()));
        session.reopen();
    }
    Ok(())
}

/// Defining a table again in the same way returns the existing table and does not touch the input.
pub fn defining_again_changes_nothing(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1, 2]))?;
    let version = session.writer().version()?;
    let untouched = std::iter::from_fn(|| -> Option<RecordBatch> { panic!("the input was read") });
    session.define_keyed("t", "id", Input::batches(numbered_schema(), untouched))?;
    assert_eq!(session.writer().version()?, version);
    assert_numbered(&session.table("t")?, [1, 2]);
    Ok(())
}

/// Defining an existing table with another key or order is an error that names both; the table stays as it is.
pub fn another_definition_is_refused(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1, 2]))?;
    let writer = session.writer();
    let other = TableDefinition::new(numbered([3])).primary_key(["name"]);
    assert_names(
        &refused(writer.define_table("t", other), ErrorCode::TableExists),
        &["`t`", "(id)", "(name)"],
    );
    let other = TableDefinition::new(numbered([3])).primary_key(["id"]).sort_by(["name"]);
    refused(writer.define_table("t", other), ErrorCode::TableExists);
    refused(writer.define_table("t", TableDefinition::new(numbered([3]))), ErrorCode::TableExists);
    assert_numbered(&session.table("t")?, [1, 2]);
    Ok(())
}

/// Threads that define the same table at the same time all get it.
pub fn threads_may_define_the_same_table(session: &mut Session<'_>) -> Outcome {
    let (writer, barrier) = (session.writer(), Arc::new(Barrier::new(2)));
    std::thread::scope(|scope| {
        let define = || {
            let (writer, barrier) = (writer.clone(), barrier.clone());
            scope.spawn(move || {
                // Both have checked that the table does not exist before the first of them loads it.
                let rows = std::iter::once_with(move || {
                    barrier.wait();
                    numbered([1, 2])
                });
                writer.define_table(
                    "t",
                    TableDefinition::new(Input::batches(numbered_schema(), rows)).primary_key(["id"]),
                )
            })
        };
        let (first, second) = (define(), define());
        first.join().expect("no panic")?;
        second.join().expect("no panic")
    })?;
    assert_numbered(&session.table("t")?, [1, 2]);
    Ok(())
}

/// An impossible definition is refused before any row is read, and leaves nothing behind.
pub fn a_wrong_definition_is_refused(session: &mut Session<'_>) -> Outcome {
    let writer = session.writer();
    let version = writer.version()?;
    let read = Arc::new(AtomicUsize::new(0));
    let rows = || {
        let read = read.clone();
        let rows = std::iter::once_with(move || {
            read.fetch_add(1, Ordering::Relaxed);
            numbered([1])
        });
        TableDefinition::new(Input::batches(numbered_schema(), rows))
    };
    let unknown = refused(writer.define_table("t", rows().primary_key(["idd"])), ErrorCode::ColumnNotFound);
    assert_names(&unknown, &["`idd`", "`id`"]);
    let unknown = refused(writer.define_table("t", rows().sort_by(["nam"])), ErrorCode::ColumnNotFound);
    assert_names(&unknown, &["`nam`", "`name`"]);
    let twice =
        refused(writer.define_table("t", rows().primary_key(["id", "id"])), ErrorCode::InvalidArgument);
    assert_names(&twice, &["`id`"]);
    refused(writer.define_table("", rows()), ErrorCode::InvalidArgument);
    refused(
        writer.define_table("t", TableDefinition::new(Vec::<RecordBatch>::new())),
        ErrorCode::InvalidArgument,
    );
    assert_eq!(read.load(Ordering::Relaxed), 0, "no row was read");
    refused(writer.table("t"), ErrorCode::TableNotFound);
    assert_eq!(writer.version()?, version);
    Ok(())
}

/// Two columns of one name are refused.
pub fn two_columns_of_one_name_are_refused(session: &mut Session<'_>) -> Outcome {
    let field = || Field::new("twin", DataType::Int32, true);
    let array: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let rows =
        RecordBatch::try_new(Arc::new(Schema::new(vec![field(), field()])), vec![array.clone(), array])?;
    let error = refused(session.define("t", TableDefinition::new(rows)), ErrorCode::InvalidArgument);
    assert_names(&error, &["`twin`"]);
    Ok(())
}

/// A table cannot be ordered by nested values.
pub fn an_order_by_nested_values_is_refused(session: &mut Session<'_>) -> Outcome {
    let array = crate::samples::column("list").array;
    let rows = RecordBatch::try_from_iter([("nested", array)])?;
    let definition = TableDefinition::new(rows).sort_by(["nested"]);
    assert_names(&refused(session.define("t", definition), ErrorCode::UnsupportedType), &["`nested`"]);
    Ok(())
}

/// A dropped table is gone for good, and another table can have its name.
pub fn a_dropped_table_is_gone(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    session.define_keyed("other", "id", numbered([2]))?;
    session.writer().drop_table("t")?;
    for _ in 0..2 {
        refused(session.table("t"), ErrorCode::TableNotFound);
        assert_eq!(session.cache().tables()?.len(), 1);
        assert_numbered(&session.table("other")?, [2]);
        session.reopen();
    }
    let rows = batch(&[("word", DataType::Utf8, vals!["new"])]);
    let table = session.define_keyed("t", "word", rows)?;
    assert!(table.get("new")?.is_some());
    session.reopen();
    assert!(session.table("t")?.get("new")?.is_some());
    Ok(())
}

/// Dropping a table that does not exist is refused, with the nearest known name.
pub fn dropping_an_unknown_table_is_refused(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("flights", "id", numbered([1]))?;
    let error = refused(session.writer().drop_table("flight"), ErrorCode::TableNotFound);
    assert_names(&error, &["`flight`", "`flights`"]);
    Ok(())
}

/// A hundred tables in one cache.
pub fn a_hundred_tables(session: &mut Session<'_>) -> Outcome {
    for id in 0..100 {
        session
            .writer()
            .define_table(&format!("t{id:02}"), TableDefinition::new(numbered([id])).primary_key(["id"]))?;
    }
    session.reopen();
    let cache = session.cache();
    let names: Vec<String> = cache.tables()?.into_iter().map(|table| table.name).collect();
    assert!(names.iter().cloned().eq((0..100).map(|id| format!("t{id:02}"))), "{names:?}");
    for id in [0, 7, 99] {
        assert_numbered(&cache.table(&format!("t{id:02}"))?, [id]);
    }
    Ok(())
}
