//! Rows on their way from a file to whoever fetches them.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pillion::source::{Call, Fetch, Fetched};
use pillion::{Error, ErrorCode, Result};
use rusqlite::Row;

use crate::decode::{Cell, Columns, cell_of};
use crate::failures;
use crate::mark;
use crate::options::SqliteOptions;
use crate::plan::Plan;
use crate::session::Session;
use crate::shape;
use crate::worker::{self, Watch, Work};

/// Batches that wait for whoever takes them.
const AHEAD: usize = 1;

/// What the thread of a fetch sends, in this order.
enum Sent {
    Begun(Begun),
    Batch(RecordBatch),
    /// All rows were sent, and they are of one state.
    End,
}

/// What is known before the first row.
struct Begun {
    schema: SchemaRef,
    moment: SystemTime,
    mark: Vec<u8>,
}

/// Begins a fetch on a thread of its own.
pub(crate) fn fetch(options: Arc<SqliteOptions>, fetch: Fetch, call: &Call) -> Result<Fetched> {
    let work = worker::start(call, AHEAD, move |watch, sender| read(&options, &fetch, watch, sender))?;
    match work.next()? {
        Sent::Begun(begun) => {
            Ok(Fetched::new(begun.schema, Rows { work: Some(work) }).as_of(begun.moment).mark(begun.mark))
        }
        Sent::Batch(_) | Sent::End => Err(Error::new(ErrorCode::Internal, "rows came before their columns")),
    }
}

/// The batches of a fetch. Dropping it ends the fetch.
struct Rows {
    work: Option<Work<Sent>>,
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let sent = self.work.as_ref()?.next();
        if let Ok(Sent::Batch(batch)) = sent {
            return Some(Ok(batch));
        }
        self.work = None;
        sent.err().map(Err)
    }
}

/// Reads all rows of a fetch, and sends them until nobody takes them.
fn read(
    options: &SqliteOptions,
    fetch: &Fetch,
    watch: &Watch,
    sender: &SyncSender<Result<Sent>>,
) -> Result<()> {
    let session = Session::open(options, watch)?;
    let read = read_in(&session, fetch, watch, sender);
    let is_whole = read.map_err(|error| match watch.check() {
        // Whatever a call that ended was in the middle of.
        Err(end) => end,
        Ok(()) => session.explained(error),
    })?;
    // Whoever has all rows finds the file closed.
    drop(session);
    if is_whole {
        let _ = sender.send(Ok(Sent::End)); // nobody may want it any more
    }
    Ok(())
}

/// Sends columns and rows. `false` if nobody takes them any more.
fn read_in(
    session: &Session,
    fetch: &Fetch,
    watch: &Watch,
    sender: &SyncSender<Result<Sent>>,
) -> Result<bool> {
    let shape = shape::shape_of(session, fetch.relation())?;
    let is_changing = shape.is_changing;
    let plan = shape.plan(session, fetch)?;
    let mark = if is_changing || plan.is_changing { mark::never() } else { session.mark().to_vec() };
    let shown = session.shown();
    let prepared = session.connection().prepare(&plan.sql);
    let mut statement = prepared.map_err(|error| failures::of_text(shown, "the fetch", error))?;
    let begun = Begun { schema: plan.schema.clone(), moment: session.moment(), mark };
    if sender.send(Ok(Sent::Begun(begun))).is_err() {
        return Ok(false);
    }
    let bounds = rusqlite::params_from_iter(&plan.bounds);
    let mut rows = statement.query(bounds).map_err(|error| failures::of_row(shown, error))?;
    let (mut columns, mut number) = (Columns::new(plan.schema.clone()), 0);
    while let Some(row) = rows.next().map_err(|error| failures::of_row(shown, error))? {
        number += 1;
        if !is_wanted(&plan, row, number)? {
            continue;
        }
        add(&mut columns, &plan, row, number)?;
        if columns.is_full() && !send(&mut columns, watch, sender)? {
            return Ok(false);
        }
    }
    let is_whole = send(&mut columns, watch, sender)?;
    session.check_unchanged()?;
    Ok(is_whole)
}

/// Sends the rows since the last batch. `false` if nobody takes them any more.
fn send(columns: &mut Columns, watch: &Watch, sender: &SyncSender<Result<Sent>>) -> Result<bool> {
    watch.check()?;
    match columns.batch()? {
        Some(batch) => Ok(sender.send(Ok(Sent::Batch(batch))).is_ok()),
        None => Ok(true),
    }
}

/// Whether a row is at the position from which rows are wanted, or above it.
fn is_wanted(plan: &Plan, row: &Row<'_>, number: u64) -> Result<bool> {
    let Some((index, name, position)) = &plan.position else { return Ok(true) };
    let value = row.get_ref(*index).map_err(unreadable)?;
    let cell = cell_of(position.kind, value).map_err(|fault| plan.unfit(name, row, number, &fault))?;
    Ok(position.is_reached_by(&cell))
}

fn add(columns: &mut Columns, plan: &Plan, row: &Row<'_>, number: u64) -> Result<()> {
    for (index, kind) in plan.kinds.iter().enumerate() {
        let field = plan.schema.field(index);
        let value = row.get_ref(index).map_err(unreadable)?;
        let cell = cell_of(*kind, value).and_then(|cell| match cell {
            Cell::Null if !field.is_nullable() => {
                Err("holds a null although it is declared NOT NULL".to_owned())
            }
            cell => Ok(cell),
        });
        let cell = cell.map_err(|fault| plan.unfit(field.name(), row, number, &fault))?;
        columns.push(index, cell)?;
    }
    columns.end_row();
    Ok(())
}

fn unreadable(error: rusqlite::Error) -> Error {
    Error::new(ErrorCode::Internal, "a row has fewer columns than were asked for").with_source(error)
}
