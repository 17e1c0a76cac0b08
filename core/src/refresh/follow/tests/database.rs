//! A source that keeps its promises: tables, transactions, and names under which their changes are kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parking_lot::{Condvar, Mutex};

use crate::source::{
    Call, Capabilities, ChangeFeed, Changes, Description, FeedEvent, FeedSnapshot, Fetch, Fetched, Follow,
    Followed, Relation, RowChanges, RowOperation, Source,
};
use crate::types::error::{Error, ErrorCode, Result};

/// Rows of a batch of a feed or a fetch.
const BATCH_ROWS: usize = 7;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct DbRow {
    pub(super) id: i64,
    pub(super) name: Option<String>,
    /// Not sent with a change that leaves it as it is.
    pub(super) note: Option<String>,
}

pub(super) type Rows = BTreeMap<i64, DbRow>;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Insert(DbRow),
    Update { key: i64, row: DbRow },
    Delete(i64),
    Truncate,
}

#[derive(Clone, Debug)]
struct Table {
    /// A table that is dropped and made anew, or has other columns, has another number.
    number: u64,
    columns: Vec<&'static str>,
    rows: Rows,
}

#[derive(Debug)]
struct Committed {
    end: u64,
    /// By table, with its number, and what is not sent of an update.
    ops: Vec<(String, u64, Op, bool)>,
    at: SystemTime,
    /// All tables behind it.
    state: BTreeMap<String, Rows>,
}

#[derive(Debug, Default)]
struct State {
    tables: BTreeMap<String, Table>,
    log: Vec<Arc<Committed>>,
    position: u64,
    numbers: u64,
    /// By name: up to where changes are not kept any more.
    names: HashMap<String, u64>,
    /// How many events may come before connections break; `None`: they stay.
    events_left: Option<usize>,
    is_away: bool,
    snapshots: usize,
    refused: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Database {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
    hooks: Arc<Hooks>,
}

/// What is called when a position is acknowledged.
#[derive(Default)]
struct Hooks {
    acknowledged: Mutex<Option<Box<dyn Fn() + Send>>>,
    /// A bug that tests plant: a changed key is sent as if it were the old one.
    hides_key_changes: std::sync::atomic::AtomicBool,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

fn away() -> Error {
    Error::new(ErrorCode::SourceUnavailable, "the connection broke")
}

impl Database {
    pub(super) fn create(&self, table: &str, columns: &[&'static str]) {
        let mut state = self.state.lock();
        state.numbers += 1;
        let number = state.numbers;
        state.position += 1;
        state.tables.insert(table.to_owned(), Table { number, columns: columns.to_vec(), rows: Rows::new() });
    }

    /// Gives a table other columns and keeps its rows.
    pub(super) fn alter(&self, table: &str, columns: &[&'static str]) {
        let mut state = self.state.lock();
        state.numbers += 1;
        let number = state.numbers;
        state.position += 1;
        let table = state.tables.get_mut(table).unwrap();
        (table.number, table.columns) = (number, columns.to_vec());
    }

    /// Commits a transaction. What does not fit the rows is left out, as statements do that find nothing.
    pub(super) fn commit(&self, ops: Vec<(&str, Op)>) -> u64 {
        let mut state = self.state.lock();
        let mut done = Vec::new();
        for (name, op) in ops {
            let table = state.tables.get_mut(name).unwrap();
            let mut keeps_note = false;
            match &op {
                Op::Insert(row) if !table.rows.contains_key(&row.id) => {
                    drop(table.rows.insert(row.id, row.clone()));
                }
                Op::Update { key, row } if table.rows.contains_key(key) => {
                    if row.id != *key && table.rows.contains_key(&row.id) {
                        continue;
                    }
                    let old = table.rows.remove(key).unwrap();
                    keeps_note = old.note == row.note && row.note.is_some();
                    table.rows.insert(row.id, row.clone());
                }
                Op::Delete(key) if table.rows.contains_key(key) => drop(table.rows.remove(key)),
                Op::Truncate => table.rows.clear(),
                _ => continue,
            }
            done.push((name.to_owned(), table.number, op, keeps_note));
        }
        state.position += 10;
        let end = state.position;
        let tables = state.tables.iter().map(|(name, table)| (name.clone(), table.rows.clone())).collect();
        state.log.push(Arc::new(Committed { end, ops: done, at: SystemTime::now(), state: tables }));
        self.changed.notify_all();
        end
    }

    /// Something else happens at the source.
    pub(super) fn pass(&self) {
        self.state.lock().position += 5;
        self.changed.notify_all();
    }

    pub(super) fn rows(&self, table: &str) -> Rows {
        self.state.lock().tables[table].rows.clone()
    }

    /// The rows of a table as they were at a position.
    pub(super) fn rows_at(&self, table: &str, position: &[u8]) -> Rows {
        let state = self.state.lock();
        let before = state.log.iter().take_while(|committed| committed.end <= number(position).unwrap());
        before.last().and_then(|committed| committed.state.get(table).cloned()).unwrap_or_default()
    }

    pub(super) fn position(&self) -> Vec<u8> {
        position(self.state.lock().position)
    }

    /// Breaks connections after so many events, again and again.
    pub(super) fn break_after(&self, events: Option<usize>) {
        self.state.lock().events_left = events;
        self.changed.notify_all();
    }

    pub(super) fn set_away(&self, is_away: bool) {
        self.state.lock().is_away = is_away;
        self.changed.notify_all();
    }

    /// Loses what is kept under all names.
    pub(super) fn lose(&self) {
        self.state.lock().names.clear();
        self.changed.notify_all();
    }

    /// Refuses to give out a table.
    pub(super) fn refuse(&self, table: Option<&str>) {
        self.state.lock().refused = table.map(str::to_owned);
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.state.lock().names.keys().cloned().collect()
    }

    pub(super) fn snapshots(&self) -> usize {
        self.state.lock().snapshots
    }

    pub(super) fn on_acknowledge(&self, hook: impl Fn() + Send + 'static) {
        *self.hooks.acknowledged.lock() = Some(Box::new(hook));
    }

    pub(super) fn hide_key_changes(&self) {
        self.hooks.hides_key_changes.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

fn position(number: u64) -> Vec<u8> {
    format!("at {number:08}").into_bytes()
}

fn number(position: &[u8]) -> Option<u64> {
    std::str::from_utf8(position).ok()?.strip_prefix("at ")?.parse().ok()
}

fn schema(columns: &[&'static str], is_nullable: bool) -> SchemaRef {
    let field = |name: &&'static str| match *name {
        "id" => Field::new("id", DataType::Int64, is_nullable),
        name => Field::new(name, DataType::Utf8, true),
    };
    Schema::new(columns.iter().map(field).collect::<Vec<_>>()).into()
}

/// Rows as a batch; `None` for a value that is not sent.
fn batch(columns: &[&'static str], rows: &[DbRow], schema: &SchemaRef) -> RecordBatch {
    let column = |name: &&'static str| -> ArrayRef {
        match *name {
            "id" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
            "name" => Arc::new(rows.iter().map(|row| row.name.clone()).collect::<StringArray>()),
            "note" => Arc::new(rows.iter().map(|row| row.note.clone()).collect::<StringArray>()),
            _ => Arc::new(rows.iter().map(|_| None::<String>).collect::<StringArray>()),
        }
    };
    RecordBatch::try_new(schema.clone(), columns.iter().map(column).collect()).unwrap()
}

fn followed(table: &Table) -> Followed {
    let followed = Followed::new(schema(&table.columns, false), vec!["id".to_owned()]).unique_identity();
    followed.rows(table.rows.len() as u64)
}

impl State {
    fn check(&self) -> Result<()> {
        if self.is_away { Err(away()) } else { Ok(()) }
    }

    fn table(&self, relation: &Relation) -> Result<&Table> {
        self.tables.get(relation.text()).ok_or_else(|| {
            Error::new(ErrorCode::SourceNotFound, format!("there is no table `{}`", relation.text()))
        })
    }
}

#[derive(Debug)]
struct Snapshot {
    database: Database,
    position: Vec<u8>,
    tables: Vec<Table>,
}

impl FeedSnapshot for Snapshot {
    fn position(&self) -> &[u8] {
        &self.position
    }

    fn describe(&mut self, relation: usize, _: &Call) -> Result<Followed> {
        Ok(followed(&self.tables[relation]))
    }

    fn fetch(&mut self, relation: usize, call: &Call) -> Result<Fetched> {
        let table = self.tables[relation].clone();
        let (columns, schema) = (table.columns, schema(&self.tables[relation].columns, false));
        let rows: Vec<DbRow> = table.rows.into_values().collect();
        let batches: Vec<RecordBatch> =
            rows.chunks(BATCH_ROWS).map(|rows| batch(&columns, rows, &schema)).collect();
        let (database, call) = (self.database.clone(), call.clone());
        let batches = batches.into_iter().map(move |batch| {
            call.check()?;
            database.event()?;
            Ok(batch)
        });
        Ok(Fetched::new(schema, batches))
    }
}

impl Database {
    /// Something goes over a connection, unless it breaks.
    fn event(&self) -> Result<()> {
        let mut state = self.state.lock();
        state.check()?;
        match &mut state.events_left {
            Some(0) => Err(away()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Feed {
    database: Database,
    name: String,
    follow: Follow,
    columns: Vec<Followed>,
    position: u64,
    numbers: Vec<u64>,
    reshaped: Vec<bool>,
    events: VecDeque<FeedEvent>,
    has_failed: bool,
}

impl Feed {
    fn rows(&self, relation: usize, ops: &[(Op, bool)]) -> FeedEvent {
        let columns =
            self.columns[relation].schema().fields().iter().map(|field| match field.name().as_str() {
                "id" => "id",
                "name" => "name",
                "note" => "note",
                _ => "added",
            });
        let columns: Vec<&'static str> = columns.collect();
        let (mut rows, mut operations, mut unchanged) = (Vec::new(), Vec::new(), Vec::new());
        let bare = |id| DbRow { id, name: None, note: None };
        let hides = self.database.hooks.hides_key_changes.load(std::sync::atomic::Ordering::Relaxed);
        for (op, keeps_note) in ops {
            match op {
                Op::Insert(row) => {
                    operations.push(RowOperation::Insert);
                    rows.push(row.clone());
                }
                Op::Update { key, row } => {
                    if *key != row.id && !hides {
                        operations.push(RowOperation::Before);
                        rows.push(bare(*key));
                    }
                    let mut row = row.clone();
                    if *keeps_note
                        && (*key == row.id || !hides)
                        && let Some(column) = columns.iter().position(|name| *name == "note")
                    {
                        unchanged.push((rows.len(), column));
                        row.note = None;
                    }
                    operations.push(RowOperation::Update);
                    rows.push(row);
                }
                Op::Delete(key) => {
                    operations.push(RowOperation::Delete);
                    rows.push(bare(*key));
                }
                Op::Truncate => {}
            }
        }
        let rows = batch(&columns, &rows, &schema(&columns, true));
        FeedEvent::Rows(RowChanges::new(relation, operations, rows, unchanged).unwrap())
    }

    fn queue(&mut self, committed: &Committed) {
        let mut pending: Option<(usize, Vec<(Op, bool)>)> = None;
        let mut events = Vec::new();
        for (table, number, op, keeps_note) in &committed.ops {
            let Some(relation) = self.follow.relations().iter().position(|other| other.text() == table)
            else {
                continue;
            };
            if self.reshaped[relation] {
                continue;
            }
            let is_other =
                pending.as_ref().is_some_and(|(other, ops)| *other != relation || ops.len() >= BATCH_ROWS);
            if is_other || self.numbers[relation] != *number || matches!(op, Op::Truncate) {
                events.extend(pending.take().map(|(relation, ops)| self.rows(relation, &ops)));
            }
            if self.numbers[relation] != *number {
                self.reshaped[relation] = true;
                events.push(FeedEvent::Reshaped { relation, why: "it has other columns".to_owned() });
            } else if matches!(op, Op::Truncate) {
                events.push(FeedEvent::Truncated(vec![relation]));
            } else {
                pending.get_or_insert((relation, Vec::new())).1.push((op.clone(), *keeps_note));
            }
        }
        events.extend(pending.take().map(|(relation, ops)| self.rows(relation, &ops)));
        events.push(FeedEvent::Committed { position: position(committed.end), at: committed.at });
        self.events.extend(events);
    }
}

impl ChangeFeed for Feed {
    fn next(&mut self, call: &Call) -> Result<FeedEvent> {
        loop {
            call.check()?;
            if self.has_failed {
                return Err(away());
            }
            if let Some(event) = self.events.pop_front() {
                if let Err(error) = self.database.event() {
                    self.has_failed = true;
                    return Err(error);
                }
                return Ok(event);
            }
            let database = self.database.clone();
            let mut state = database.state.lock();
            if state.is_away || !state.names.contains_key(&self.name) {
                self.has_failed = true;
                continue;
            }
            let next = state.log.iter().find(|committed| committed.end > self.position).cloned();
            if let Some(committed) = next {
                self.position = committed.end;
                drop(state);
                self.queue(&committed);
            } else if state.position > self.position {
                self.position = state.position;
                self.events
                    .push_back(FeedEvent::Idle { position: position(self.position), is_urgent: false });
            } else {
                let patience =
                    call.remaining().unwrap_or(Duration::from_millis(20)).min(Duration::from_millis(20));
                database.changed.wait_for(&mut state, patience);
            }
        }
    }

    fn acknowledge(&mut self, position: &[u8]) -> Result<()> {
        let position = number(position).unwrap();
        assert!(position <= self.position, "a position is acknowledged that was not sent");
        if let Some(hook) = &*self.database.hooks.acknowledged.lock() {
            hook();
        }
        let mut state = self.database.state.lock();
        if let Some(kept) = state.names.get_mut(&self.name) {
            *kept = position.max(*kept);
        }
        Ok(())
    }
}

impl Source for Database {
    fn capabilities(&self) -> Capabilities {
        Capabilities { changes: true, ..Capabilities::default() }
    }

    fn relations(&self, _: &Call) -> Result<Vec<String>> {
        Err(Error::new(ErrorCode::Unsupported, "no list"))
    }

    fn describe(&self, relation: &Relation, _: &Call) -> Result<Description> {
        let state = self.state.lock();
        Ok(Description::new(schema(&state.table(relation)?.columns, false)))
    }

    fn fetch(&self, fetch: &Fetch, _: &Call) -> Result<Fetched> {
        let state = self.state.lock();
        let table = state.table(fetch.relation())?;
        let schema = schema(&table.columns, false);
        let rows: Vec<DbRow> = table.rows.values().cloned().collect();
        Ok(Fetched::new(schema.clone(), [Ok(batch(&table.columns, &rows, &schema))]))
    }

    fn snapshot(&self, follow: &Follow, _: &Call) -> Result<Box<dyn FeedSnapshot>> {
        let mut state = self.state.lock();
        state.check()?;
        if let Some(refused) =
            follow.relations().iter().find(|relation| state.refused.as_deref() == Some(relation.text()))
        {
            return Err(Error::new(
                ErrorCode::Unsupported,
                format!("`{}` cannot be followed", refused.text()),
            ));
        }
        let tables = follow
            .relations()
            .iter()
            .map(|relation| state.table(relation).cloned())
            .collect::<Result<_>>()?;
        let here = state.position;
        state.names.insert(follow.name().to_owned(), here);
        state.snapshots += 1;
        Ok(Box::new(Snapshot { database: self.clone(), position: position(here), tables }))
    }

    fn changes(&self, follow: &Follow, columns: &[Followed], after: &[u8], _: &Call) -> Result<Changes> {
        let state = self.state.lock();
        state.check()?;
        let after = number(after).unwrap();
        let Some(kept) = state.names.get(follow.name()) else {
            return Ok(Changes::Lost("the name is gone".to_owned()));
        };
        if after < *kept {
            return Ok(Changes::Lost("changes in between were acknowledged".to_owned()));
        }
        assert_eq!(columns.len(), follow.relations().len());
        let (mut events, mut numbers, mut reshaped) = (VecDeque::new(), Vec::new(), Vec::new());
        for (relation, held) in columns.iter().enumerate() {
            // The table as it is now, unless it is another one.
            let table = state.tables.get(follow.relations()[relation].text());
            let is_same = table.is_some_and(|table| followed(table).schema() == held.schema());
            numbers.push(table.map_or(0, |table| table.number));
            reshaped.push(!is_same);
            if !is_same {
                events.push_back(FeedEvent::Reshaped { relation, why: "it has other columns".to_owned() });
            }
        }
        Ok(Changes::Feed(Box::new(Feed {
            database: self.clone(),
            name: follow.name().to_owned(),
            follow: follow.clone(),
            columns: columns.to_vec(),
            position: after,
            numbers,
            reshaped,
            events,
            has_failed: false,
        })))
    }

    fn newest_position(&self, _: &Call) -> Result<Vec<u8>> {
        let state = self.state.lock();
        state.check()?;
        Ok(position(state.position))
    }

    fn behind(&self, position: &[u8], wanted: &[u8]) -> Result<u64> {
        let invalid = || Error::new(ErrorCode::InvalidArgument, "not a position");
        Ok(number(wanted).ok_or_else(invalid)?.saturating_sub(number(position).ok_or_else(invalid)?))
    }

    fn position_text(&self, position: &[u8]) -> Option<String> {
        number(position).map(|number| number.to_string())
    }

    fn forget(&self, follow: &Follow, _: &Call) -> Result<()> {
        let mut state = self.state.lock();
        state.check()?;
        state.names.remove(follow.name());
        Ok(())
    }
}

/// The rows of a batch.
pub(super) fn rows_of(batch: &RecordBatch) -> Vec<DbRow> {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    let text = |name: &str, row: usize| {
        let column = batch.column_by_name(name)?.as_string::<i32>();
        (!column.is_null(row)).then(|| column.value(row).to_owned())
    };
    let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
    (0..batch.num_rows())
        .map(|row| DbRow { id: ids.value(row), name: text("name", row), note: text("note", row) })
        .collect()
}
