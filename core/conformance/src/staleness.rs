//! Tables whose rows may not be read when they are too old.

use std::thread::yield_now;
use std::time::Duration;

use pillion::{Batches, ErrorCode, Table, TableDefinition, Value};

use crate::model::{assert_numbered, numbered, refused};
use crate::{Outcome, Session};

const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(50);

fn definition(bound: Duration) -> TableDefinition {
    TableDefinition::new(numbered(0..3)).primary_key(["id"]).max_staleness(bound)
}

/// Time passes until the rows of a table are too old.
fn grow_old(table: &Table) {
    while !matches!(table.get(1), Err(error) if error.code() == ErrorCode::Stale) {
        yield_now();
    }
}

/// Every read of rows that are too old is refused, until something new is written.
pub fn old_rows_are_refused(session: &mut Session<'_>) -> Outcome {
    session.define("old", definition(SHORT))?;
    session.define("new", definition(HOUR))?;
    let table = session.table("old")?;
    grow_old(&table);
    let message = table.get(1).unwrap_err().message().to_owned();
    assert!(message.contains("`old`") && message.contains("50ms"), "{message}");
    refused(table.get_many(&[0, 1]), ErrorCode::Stale);
    refused(table.get(9), ErrorCode::Stale);
    refused(table.scan(), ErrorCode::Stale);
    refused(table.scan_columns(["id"]), ErrorCode::Stale);
    refused(session.held().snapshot()?.table("old")?.get(1), ErrorCode::Stale);
    assert_numbered(&session.table("new")?, 0..3);
    session.reopen();
    refused(session.table("old")?.get(1), ErrorCode::Stale);
    assert_numbered(&session.table("new")?, 0..3);
    assert_eq!(session.table("old")?.info()?.rules.max_staleness, Some(SHORT));
    // What is written is new again, for as long as the bound says.
    loop {
        session.upsert("old", numbered([0]))?;
        if session.table("old")?.get(0).is_ok() {
            break;
        }
    }
    Ok(())
}

/// Queries that read a table whose rows are too old are refused, and no others.
pub fn queries_of_old_rows_are_refused(session: &mut Session<'_>) -> Outcome {
    session.define("old", definition(SHORT))?;
    session.define("new", definition(HOUR))?;
    let prepared = session.cache().prepare("SELECT name FROM old WHERE id = $1")?;
    grow_old(&session.table("old")?);
    refused(session.sql("SELECT count(*) FROM old", &[]), ErrorCode::Stale);
    refused(session.sql("SELECT * FROM new WHERE id IN (SELECT id FROM old)", &[]), ErrorCode::Stale);
    refused(prepared.execute(&[Value::Int(1)]).and_then(Batches::concat), ErrorCode::Stale);
    assert_eq!(session.sql("SELECT * FROM new", &[])?.num_rows(), 3);
    Ok(())
}

/// Whoever asks how old the rows are gets an answer, and so does whoever follows the changes.
pub fn other_calls_answer(session: &mut Session<'_>) -> Outcome {
    let table = session.define("old", definition(SHORT))?;
    let after = session.cache().version()?;
    grow_old(&table);
    assert!(table.info()?.freshness.unwrap().age() >= SHORT);
    assert_eq!(session.cache().status()?.tables.len(), 1);
    session.append("old", numbered([3]))?;
    assert_eq!(session.table("old")?.changes(after)?.concat()?.num_rows(), 1);
    session.compact()?;
    session.writer().drop_table("old")?;
    Ok(())
}

/// The bound is a rule of the table, as its key is.
pub fn another_bound_is_refused(session: &mut Session<'_>) -> Outcome {
    session.define("t", definition(HOUR))?;
    session.define("t", definition(HOUR))?;
    refused(session.define("t", definition(2 * HOUR)), ErrorCode::TableExists);
    refused(
        session.define("t", TableDefinition::new(numbered(0..3)).primary_key(["id"])),
        ErrorCode::TableExists,
    );
    session.define("any", TableDefinition::new(numbered(0..3)).max_staleness(Duration::MAX))?;
    session.reopen();
    session.define("any", TableDefinition::new(numbered(0..3)).max_staleness(Duration::MAX))?;
    assert_eq!(session.table("any")?.scan()?.concat()?.num_rows(), 3);
    Ok(())
}
