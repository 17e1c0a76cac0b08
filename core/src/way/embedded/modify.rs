//! Statements that change tables, each in one commit.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "sidecar")]
use std::task::Poll;
use std::time::SystemTime;
#[cfg(feature = "sidecar")]
use std::time::{Duration, Instant};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::{Embedded, Opened};
use crate::answer::batches::{Batches, Canceller};
use crate::answer::certificate::Certificate;
use crate::input::{Input, OpenInput};
use crate::query::{HeldMemory, Modification, ModifyingStatement};
use crate::storage::{self, KeyColumn, State, TableShape, TableState};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::mode::WriteMode;
use crate::types::permitted::Permitted;
use crate::types::value::Value;
use crate::types::version::Version;
use crate::way::definition::TableDefinition;
use crate::way::executed::Executed;
use crate::way::local::{self, readable, table_of};
use crate::way::staleness::Moment;

/// Up to this many bytes of keys are deleted one by one; a commit has room for twice as many. If a statement deletes more, the
/// other rows of its table are written anew.
const DELETED_KEYS_LEN_MAX: usize = if cfg!(test) { 4 << 10 } else { 4 << 20 };

/// Bytes that a key takes in a set, beside its own.
const KEY_LEN: usize = 48;

/// How often whoever waits for rows looks whether they are still wanted.
#[cfg(feature = "sidecar")]
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// What a statement changes in one table, open.
struct Change {
    /// `None` if there is nothing to change.
    opened: Option<Opened>,
    rows: Arc<AtomicU64>,
}

impl Change {
    fn of_the_store(&mut self) -> Vec<storage::Change<'_>> {
        self.opened.iter_mut().map(Opened::change).collect()
    }
}

impl Embedded {
    /// Runs a statement that changes tables, if it touches only tables that are permitted. `drop_table` removes a table.
    ///
    /// # Errors
    /// Those of the statement, of its rows and of a write; then nothing is changed.
    pub(crate) fn modify(
        &self,
        text: &str,
        parameters: &[Value],
        permitted: Option<&Permitted>,
        drop_table: &dyn Fn(&str) -> Result<Version>,
    ) -> Result<Executed> {
        let store = self.store();
        store.refuse_unless_writable()?;
        let as_of = SystemTime::now();
        let state = shown(&store.state(), permitted);
        let modifying = self.local.engine().modifying(&state, text)?;
        if let (Some(name), Some(permitted)) = (modifying.defines(), permitted) {
            permitted.admit_write(name)?;
        }
        if let Some((table, appends)) = modifying.changes() {
            let shape = &table_of(&state, table)?.shape;
            permitted.map_or(Ok(()), |permitted| permitted.admit_write(&shape.name))?;
            shape.admit_statement(appends)?;
        }
        if let Some(table) = modifying.reads_and_changes() {
            let mut rows = Arc::default();
            let read = |state: &Arc<State>| {
                let change = self.change(&shown(state, permitted), modifying, (parameters, permitted))?;
                rows = change.rows.clone();
                Ok(change)
            };
            let version =
                store.write_alone(table, as_of, &refuse_if_cancelled, read, Change::of_the_store)?;
            return Ok(Executed::new(rows.load(Ordering::Relaxed), version));
        }
        let modification =
            self.local.engine().modification(&state, modifying, parameters, &readable_of(permitted))?;
        match modification {
            Modification::Nothing => Ok(Executed::new(0, state.version)),
            Modification::Drop { name } => Ok(Executed::new(0, drop_table(&name)?)),
            Modification::Create { name, unless_exists, rules, schema, rows } => {
                let (input, rows) = counted(Rows { schema, ..rows_of(rows) });
                let definition = TableDefinition { rules, ..TableDefinition::new(input) };
                match self.define_new(&name, definition) {
                    Ok(state) => Ok(Executed::new(rows.load(Ordering::Relaxed), state.version)),
                    // Another thread has defined it meanwhile.
                    Err(error) if unless_exists && error.code() == ErrorCode::TableExists => {
                        Ok(Executed::new(0, store.state().version))
                    }
                    Err(error) => Err(error),
                }
            }
            modification => {
                let mut change = self.opened(&state, modification)?;
                let Some(opened) = &mut change.opened else { return Ok(Executed::new(0, state.version)) };
                let version = store.write_if_wanted(vec![opened.change()], as_of, &refuse_if_cancelled)?;
                Ok(Executed::new(change.rows.load(Ordering::Relaxed), version))
            }
        }
    }

    fn change(
        &self,
        state: &Arc<State>,
        modifying: ModifyingStatement,
        (parameters, permitted): (&[Value], Option<&Permitted>),
    ) -> Result<Change> {
        let engine = self.local.engine();
        self.opened(state, engine.modification(state, modifying, parameters, &readable_of(permitted))?)
    }

    /// Opens what a statement does to the rows of a table.
    fn opened(&self, state: &Arc<State>, modification: Modification) -> Result<Change> {
        match modification {
            Modification::Truncate { table } => {
                let rows = Arc::new(AtomicU64::new(table_of(state, table)?.rows));
                Ok(Change { opened: Some(Opened::Truncate { table }), rows })
            }
            Modification::Delete { table, keys } => {
                let held = table_of(state, table)?;
                let memory = self.local.engine().held_memory("the keys of the rows that a DELETE removes");
                let keys = gathered(&held.shape, keys, &memory)?;
                let count = Arc::new(AtomicU64::new(keys.len() as u64));
                let opened = if keys.len() == 0 {
                    None
                } else if keys.bytes() <= DELETED_KEYS_LEN_MAX {
                    Some(Opened::Delete { table, keys, invalidates: false })
                } else {
                    let rows = local::scan(state, table, None, Certificate::default())?;
                    let rows = others(held, &keys, rows, memory)?;
                    Some(Opened::Rows { table, mode: WriteMode::Replace, rows })
                };
                Ok(Change { opened, rows: count })
            }
            Modification::Rows { table, mode, skips_existing, rows } => {
                let held = table_of(state, table)?;
                let rows = if skips_existing {
                    let memory =
                        self.local.engine().held_memory("the keys of the rows that an INSERT brings");
                    absent(state, held, rows, memory)
                } else {
                    rows_of(rows)
                };
                let Some(rows) = some(rows, mode)? else {
                    return Ok(Change { opened: None, rows: Arc::default() });
                };
                let (input, count) = counted(rows);
                let rows = input.open(Some(&held.shape.schema))?;
                Ok(Change { opened: Some(Opened::Rows { table, mode, rows }), rows: count })
            }
            Modification::Create { .. } | Modification::Drop { .. } | Modification::Nothing => {
                Err(Error::internal("not a change of rows"))
            }
        }
    }
}

/// A state as a statement sees it: without the tables that it may neither read nor change.
fn shown(state: &Arc<State>, permitted: Option<&Permitted>) -> Arc<State> {
    match permitted {
        None => state.clone(),
        Some(permitted) => Arc::new(state.only(&|table| permitted.shows(table))),
    }
}

/// Refuses tables whose rows are too old, or may not be read; says who answers for the others.
fn readable_of(permitted: Option<&Permitted>) -> impl Fn(&State, &TableState) -> Result<bool> + 'static {
    let (readable, permitted) = (readable(Moment::Now), permitted.cloned());
    move |state, table| {
        permitted.as_ref().map_or(Ok(()), |permitted| permitted.admit_read(&table.shape.name))?;
        readable(state, table)
    }
}

/// Rows of a statement, which end with an error if nobody waits for them any more.
type Rows = OpenInput;

fn rows_of(mut rows: Batches) -> Rows {
    let schema = rows.schema().clone();
    let batches = std::iter::from_fn(move || next(&mut rows).transpose());
    Rows { schema, batches: Box::new(batches) }
}

/// The next batch; looks often whether it is still wanted, and ends its query if it is not.
#[cfg(feature = "sidecar")]
fn next(rows: &mut Batches) -> Result<Option<RecordBatch>> {
    loop {
        end_if_cancelled(rows)?;
        if let Poll::Ready(batch) = rows.next_until(Instant::now() + LOOK_PAUSE) {
            return batch.transpose();
        }
    }
}

/// The next batch, if it is still wanted.
#[cfg(not(feature = "sidecar"))]
fn next(rows: &mut Batches) -> Result<Option<RecordBatch>> {
    end_if_cancelled(rows)?;
    rows.next().transpose()
}

/// Ends the query of rows that nobody wants any more.
///
/// # Errors
/// [`ErrorCode::Cancelled`] then.
fn end_if_cancelled(rows: &Batches) -> Result<()> {
    refuse_if_cancelled().inspect_err(|_| rows.canceller().cancel())
}

/// # Errors
/// [`ErrorCode::Cancelled`] if nobody waits for the statement any more.
fn refuse_if_cancelled() -> Result<()> {
    if Canceller::is_current_cancelled() {
        return Err(Error::new(ErrorCode::Cancelled, "the statement was cancelled; it changed nothing"));
    }
    Ok(())
}

/// The same rows; `None` if there are none, and that changes nothing.
fn some(rows: Rows, mode: WriteMode) -> Result<Option<Rows>> {
    if mode == WriteMode::Replace {
        return Ok(Some(rows));
    }
    let Rows { schema, mut batches } = rows;
    for batch in batches.by_ref() {
        let batch = batch?;
        if batch.num_rows() > 0 {
            let batches = Box::new(std::iter::once(Ok(batch)).chain(batches));
            return Ok(Some(Rows { schema, batches }));
        }
    }
    Ok(None)
}

/// The rows as an input, and how many have been read so far.
fn counted(rows: Rows) -> (Input, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counter = count.clone();
    let input = Input::fallible(rows.schema, rows.batches);
    (input.observe(move |rows| counter.store(rows, Ordering::Relaxed)), count)
}

/// The keys in batches whose columns are those of the key.
fn gathered(shape: &TableShape, batches: Batches, memory: &HeldMemory) -> Result<KeyColumn> {
    let columns: Vec<usize> = (0..shape.primary_key.len()).collect();
    let mut keys = KeyColumn::default();
    for batch in rows_of(batches).batches {
        let more = KeyColumn::of(&batch?, &columns)?;
        memory.grow(more.bytes())?;
        more.iter().for_each(|(key, _)| keys.push(key));
    }
    Ok(keys)
}

/// Those of the rows whose keys neither the table has nor an earlier row.
fn absent(state: &State, table: &Arc<TableState>, rows: Batches, memory: HeldMemory) -> Rows {
    let schema = table.shape.schema.clone();
    let (table, sequence, mut before) = (table.clone(), state.version.sequence, 0);
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    let batches = rows_of(rows).batches.map(move |batch| {
        let batch = table.shape.conform(&batch?, &mut before)?;
        let keys = KeyColumn::of(&batch, &table.shape.primary_key)?;
        let is_new = keys.iter().map(|(key, _)| {
            if table.find(key, sequence)?.is_some() || seen.contains(key) {
                return Ok(false);
            }
            memory.grow(key.len() + KEY_LEN)?;
            Ok(seen.insert(key.to_vec()))
        });
        let is_new = is_new.collect::<Result<Vec<bool>>>()?;
        kept(&batch, is_new)
    });
    Rows { schema, batches: Box::new(batches) }
}

/// The rows of a table without those with some keys.
///
/// # Errors
/// [`ErrorCode::MemoryLimit`].
fn others(table: &Arc<TableState>, keys: &KeyColumn, rows: Batches, memory: HeldMemory) -> Result<Rows> {
    memory.grow(keys.bytes() + keys.len() * KEY_LEN)?;
    let gone: HashSet<Vec<u8>> = keys.iter().map(|(key, _)| key.to_vec()).collect();
    let (table, schema) = (table.clone(), table.shape.schema.clone());
    let batches = rows_of(rows).batches.map(move |batch| {
        let (batch, _held) = (batch?, &memory);
        let keys = KeyColumn::of(&batch, &table.shape.primary_key)?;
        kept(&batch, keys.iter().map(|(key, _)| !gone.contains(key)).collect())
    });
    Ok(Rows { schema, batches: Box::new(batches) })
}

fn kept(batch: &RecordBatch, is_kept: Vec<bool>) -> Result<RecordBatch> {
    filter_record_batch(batch, &BooleanArray::from(is_kept))
        .map_err(|error| Error::internal("cannot select rows").with_source(error))
}
