//! One refresh of one table.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::append::{HELD_BYTES_MAX, HeldRows, Positions};
use super::expired::LeftOut;
use super::fetched::{Incoming, fetch_of, wanted};
use super::gate::Gate;
use super::parts::Seen;
use super::progress::Progress;
use super::record::{Record, definition_number, position_name};
use crate::input::{Input, OpenInput, stored_schema};
use crate::source::{After, AppendBy, Call, Description, Fetch, Fetched, Source, TableSource};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::mode::WriteMode;
use crate::types::rules::TableRules;
use crate::types::version::Version;
use crate::way::change::ChangeRequest;
use crate::way::embedded::{Embedded, has_room_for};
use crate::way::table_info::TableInfo;
use crate::way::{Backend, Reader, Writer};

/// How far the clock of a source may be ahead before the log says so.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// What a refresh needs to know.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) table: String,
    pub(super) origin: TableSource,
    pub(super) rules: TableRules,
    pub(super) source: Arc<dyn Source>,
    pub(super) cache: Arc<Embedded>,
    pub(super) gate: Gate,
}

/// What a refresh is given from outside.
pub(super) struct Run {
    pub(super) call: Call,
    pub(super) progress: Arc<Progress>,
}

impl Run {
    /// Asks the source something; if it does not answer, the call is given up in time.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&Call) -> T) -> T {
        self.progress.ask(|| question(&self.call))
    }
}

/// What the cache has of the table already.
pub(super) struct Held {
    pub(super) info: TableInfo,
    pub(super) record: Option<Record>,
}

/// As of when rows of a table and its source are. A source whose clock is ahead does not make them younger than the fetch that asked for
/// them.
pub(super) fn moment_of(rows: &Fetched, began: SystemTime, (table, source): (&str, &str)) -> SystemTime {
    let Some(moment) = rows.moment() else { return began };
    if let Ok(ahead) = moment.duration_since(SystemTime::now())
        && ahead > CLOCK_TOLERANCE
    {
        tracing::warn!(table, source, ?ahead, "the clock of the source is ahead of the one here");
    }
    moment.min(began)
}

impl Work {
    /// Refreshes the table.
    ///
    /// # Errors
    /// Those of the source and of a write. Nothing has changed then.
    pub(super) fn run(&self, run: &Run) -> Result<Version> {
        let began = SystemTime::now();
        let (before, has_gaps) = {
            let counts = self.gate.lock();
            (counts.before_load(), counts.has_gaps())
        };
        let held = self.held()?;
        let number = definition_number(&self.origin, self.source.identity().as_deref(), &self.rules);
        if has_gaps
            && self.rules.working_set.is_none()
            && let Some(held) = &held
            && let Some(version) = self.load_missing(held, number, run)?
        {
            return Ok(version);
        }
        // Rows that were fetched for what is asked for now, and of which none is missing.
        let whole = held.as_ref().filter(|held| held.is_of(number, &self.rules) && !has_gaps);
        let whole = whole.filter(|held| self.covers_as_now(held, began));
        if let Some(held) = whole
            && self.source.capabilities().marks
        {
            let mark = run.ask(|call| self.source.mark(&self.origin.relation, call))?;
            if held.has_mark(mark.as_deref()) {
                // Nothing changed up to now, which is news too.
                let parts = held.record.as_ref().map(|record| record.parts().to_vec());
                let record = Record::new(number, mark.as_deref()).with_parts(parts.unwrap_or_default());
                let record = record.with_highest(held.record.as_ref().and_then(Record::highest));
                let record = record.with_coverage(held.record.as_ref().and_then(Record::coverage).cloned());
                if let Some(version) = self.confirm(held, began, &record)? {
                    return Ok(version);
                }
            }
        }
        let described = run.ask(|call| self.source.describe(&self.origin.relation, call))?;
        run.progress.expect(described.expected_rows());
        if let Some(by) = &self.origin.append_by {
            // Before the first rows are loaded, to which none could be added later.
            Positions::new(&*wanted(&self.origin, described.schema())?, by)?;
        }
        if let Some(held) = whole
            && let Some(by) = &self.origin.append_by
            && let Some(version) = self.append(held, by, &described, number, began, run)?
        {
            return Ok(version);
        }
        if let Some(held) = whole
            && let Some(version) = self.load_changed(held, &described, number, began, run)?
        {
            return Ok(version);
        }
        self.load(number, &described, (began, before), run)
    }

    /// Notes in the record why the refresh failed, for the errors of those who may not read the rows any more. Tables that can be
    /// read however old they are need no such note.
    pub(super) fn note_failure(&self, error: &Error) {
        if matches!(error.code(), ErrorCode::Cancelled | ErrorCode::Closed) {
            return;
        }
        if let Err(error) = self.try_note_failure(error) {
            tracing::warn!(table = self.table, "the cause of a failed refresh was not noted: {error:#}");
        }
    }

    fn try_note_failure(&self, error: &Error) -> Result<()> {
        // A table that something else filled is none of ours.
        let Ok(Some(held)) = self.held() else { return Ok(()) };
        if held.info.rules.max_staleness.is_none() {
            return Ok(());
        }
        let _counts = self.gate.lock();
        let record = self.cache.source_position(&self.position())?;
        let mut record = record.as_deref().and_then(Record::decode).unwrap_or_default();
        if !record.note(error) {
            return Ok(());
        }
        let position = ChangeRequest::Position { source: self.position(), position: record.encode()? };
        self.add_position(position, SystemTime::now())
    }

    fn held(&self) -> Result<Option<Held>> {
        let info = match self.cache.table(&self.table) {
            Ok(info) => info,
            Err(error) if error.code() == ErrorCode::TableNotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if info.rules.write_policy != self.rules.write_policy {
            return Err(Error::new(
                ErrorCode::TableExists,
                format!(
                    "table `{}` exists and is not fed by the source `{}`; drop it, or give the new one another name",
                    self.table, self.origin.source
                ),
            ));
        }
        let record = self.cache.source_position(&self.position())?;
        Ok(Some(Held { info, record: record.as_deref().and_then(Record::decode) }))
    }

    pub(super) fn position(&self) -> String {
        position_name(&self.origin.source, &self.table)
    }

    pub(super) fn fetch(&self, after: Option<After>) -> Fetch {
        let fetch = fetch_of(&self.origin, self.source.capabilities());
        match after {
            Some(after) => fetch.after(after),
            None => fetch,
        }
    }

    /// All rows, in the place of those that are held; `before` invalidations came before it.
    fn load(
        &self,
        number: u64,
        described: &Description,
        (began, before): (SystemTime, u64),
        run: &Run,
    ) -> Result<Version> {
        let fetch = self.fetch_all(described.schema(), began)?;
        let rows = run.ask(|call| self.source.fetch(&fetch, call))?;
        let as_of = self.as_of(&rows, began);
        // What changed after the description was made is noticed the next time.
        let record = Record::new(number, rows.change_mark().or_else(|| described.change_mark()));
        // The parts of another version are not those of these rows.
        let parts = self.parts(described).filter(|_| is_as_described(&rows, described));
        let rows = Incoming::new(rows, self.origin.columns.as_deref(), &run.call, &run.progress)?;
        let schema = rows.schema().clone();
        let rows_of = parts.as_ref().map(|parts| parts.rows_of_all(&schema)).transpose()?;
        let (input, seen) = match rows_of {
            None => (Input::fallible(schema, rows), None),
            Some(rows_of) => {
                let (seen, rows) = Seen::through(rows_of, rows);
                (Input::fallible(schema, rows), Some(seen))
            }
        };
        let (left_out, input) = self.retained(input)?;
        let (record, input) = self.covered(record, input, began)?;
        let position = (self.position(), record.encode()?);
        let version = self.cache.load_table(&self.table, &self.rules, input, position, as_of)?;
        self.gate.lock().loaded(before);
        self.forget_if_gaps(as_of)?;
        self.note_highest(&record, left_out.as_ref(), as_of)?;
        if let Some(parts) = parts.filter(|_| seen.is_some_and(|seen| seen.is_clear())) {
            self.note_parts(record, &parts, as_of)?;
        }
        Ok(version)
    }

    /// Rows from the position of the held ones on. `None` if there is no position, or if other columns come than are held.
    fn append(
        &self,
        held: &Held,
        by: &AppendBy,
        described: &Description,
        number: u64,
        began: SystemTime,
        run: &Run,
    ) -> Result<Option<Version>> {
        let schema = &held.info.schema;
        if !self.has_columns(described.schema(), schema) {
            return Ok(None);
        }
        let positions = Positions::new(schema, by)?;
        let column = [positions.name().to_owned()];
        let highest = positions.highest(self.cache.scan_held(held.info.id, Some(&column))?)?;
        let known = held.record.as_ref().and_then(Record::highest);
        let Some(highest) = highest.max(known) else { return Ok(None) };
        let (first, after) = positions.next(highest);
        let held_rows = if held.info.rules.primary_key.is_empty() {
            let rows = self.cache.scan_held(held.info.id, None)?;
            let rows = HeldRows::read(&held.info.schema, &positions, first, rows, HELD_BYTES_MAX)?;
            let Some(rows) = rows else {
                tracing::info!(
                    table = self.table,
                    "all rows are fetched: so many held ones would be fetched again that they do not fit in memory"
                );
                return Ok(None);
            };
            Some(rows)
        } else {
            None
        };
        let rows = run.ask(|call| self.source.fetch(&self.fetch(Some(after)), call))?;
        let as_of = self.as_of(&rows, began);
        // The mark of the rows knows of the condition too, which may choose others tomorrow.
        let record = Record::new(number, rows.change_mark().or_else(|| described.change_mark()));
        let record = record.with_highest(self.rules.retention.is_some().then_some(highest));
        let rows = Incoming::new(rows, self.origin.columns.as_deref(), &run.call, &run.progress)?;
        let schema = rows.schema().clone();
        let OpenInput { schema, batches: rows } =
            Input::fallible(schema, rows).open(Some(&held.info.schema))?;
        let rows = Input::fallible(schema, rows);
        let (left_out, rows) = if self.may_leave_out(by) { self.retained(rows)? } else { (None, rows) };
        let OpenInput { schema, batches: rows } = rows.open(Some(&held.info.schema))?;
        let change = if let Some(mut held_rows) = held_rows {
            let order = schema_order(&held.info.schema, &schema)?;
            let new = rows.map(move |batch| {
                let batch = batch?.project(&order);
                held_rows.without(
                    &batch.map_err(|error| Error::internal("columns of a fetch").with_source(error))?,
                )
            });
            let schema = held.info.schema.clone();
            self.rows(held, WriteMode::Append, Input::fallible(schema, new))
        } else {
            self.rows(held, WriteMode::Upsert, Input::fallible(schema, rows))
        };
        let version = self.add(as_of, &record, change)?;
        self.forget_if_gaps(as_of)?;
        self.note_highest(&record, left_out.as_ref(), as_of)?;
        Ok(Some(version))
    }

    /// Whether rows that are too old may be left out of those that are added. One that replaces a held row must replace it, unless
    /// that is as old.
    fn may_leave_out(&self, by: &AppendBy) -> bool {
        let retention = self.rules.retention.as_ref();
        self.rules.primary_key.is_empty() || retention.is_some_and(|it| it.column == by.column)
    }

    /// The rows that the table's retention does not remove at once.
    pub(super) fn retained(&self, rows: Input) -> Result<(Option<LeftOut>, Input)> {
        let Some(retention) = &self.rules.retention else { return Ok((None, rows)) };
        let now = self.cache.clock().now();
        let (left_out, rows) = LeftOut::of(retention, self.origin.append_by.as_ref(), now, rows)?;
        Ok((Some(left_out), rows))
    }

    /// Notes up to which position rows came, if the held ones do not say it.
    fn note_highest(&self, record: &Record, left_out: Option<&LeftOut>, as_of: SystemTime) -> Result<()> {
        let highest = left_out.and_then(LeftOut::highest);
        if highest <= record.highest() {
            return Ok(());
        }
        let counts = self.gate.lock();
        // Whoever invalidated rows meanwhile has taken the record away.
        if counts.has_gaps() {
            return Ok(());
        }
        let record = record.clone().with_highest(highest);
        let position = ChangeRequest::Position { source: self.position(), position: record.encode()? };
        self.add_position(position, as_of)
    }

    /// As of when rows are.
    fn as_of(&self, rows: &Fetched, began: SystemTime) -> SystemTime {
        moment_of(rows, began, (&self.table, &self.origin.source))
    }

    /// Takes the record away if rows were invalidated while others were added or kept: it must not say that the table is whole.
    pub(super) fn forget_if_gaps(&self, as_of: SystemTime) -> Result<()> {
        let counts = self.gate.lock();
        if counts.has_gaps() {
            let position = ChangeRequest::Position { source: self.position(), position: Vec::new() };
            self.add_position(position, as_of)?;
        }
        drop(counts);
        Ok(())
    }

    /// Commits a record alone.
    pub(super) fn add_position(&self, position: ChangeRequest, as_of: SystemTime) -> Result<()> {
        self.cache.write(vec![position], as_of).map(drop)
    }

    pub(super) fn has_columns(&self, described: &SchemaRef, held: &SchemaRef) -> bool {
        wanted(&self.origin, described)
            .is_ok_and(|wanted| has_room_for(held, &stored_schema(&wanted, Some(held))))
    }

    pub(super) fn rows(&self, held: &Held, mode: WriteMode, rows: Input) -> ChangeRequest {
        ChangeRequest::Rows { table: held.info.id, mode, rows }
    }

    /// Commits that nothing changed up to a moment. `None` if rows were invalidated meanwhile.
    fn confirm(&self, held: &Held, as_of: SystemTime, record: &Record) -> Result<Option<Version>> {
        let counts = self.gate.lock();
        if counts.has_gaps() {
            return Ok(None);
        }
        // An empty write says how fresh the rows are.
        let nothing = Input::from(RecordBatch::new_empty(held.info.schema.clone()));
        self.add(as_of, record, self.rows(held, WriteMode::Append, nothing)).map(Some)
    }

    /// Commits a change with the record.
    pub(super) fn add(&self, as_of: SystemTime, record: &Record, change: ChangeRequest) -> Result<Version> {
        let position = ChangeRequest::Position { source: self.position(), position: record.encode()? };
        self.cache.write(vec![change, position], as_of)
    }
}

/// Whether rows are of what was described, as far as their source says it.
pub(super) fn is_as_described(rows: &Fetched, described: &Description) -> bool {
    rows.change_mark().is_none_or(|mark| described.change_mark() == Some(mark))
}

/// Where the columns of a table are among those that come.
pub(super) fn schema_order(held: &SchemaRef, fetched: &SchemaRef) -> Result<Vec<usize>> {
    let positions = held.fields().iter().map(|field| fetched.index_of(field.name()));
    positions.collect::<std::result::Result<_, _>>().map_err(|error| {
        Error::new(ErrorCode::SourceInvalid, "the source sends other columns than it described")
            .with_source(error)
    })
}

impl Held {
    /// Whether the rows were fetched for what is asked for now.
    fn is_of(&self, number: u64, rules: &TableRules) -> bool {
        self.record.as_ref().is_some_and(|record| record.definition == number) && self.has_rules(rules)
    }

    pub(super) fn has_rules(&self, rules: &TableRules) -> bool {
        self.info.rules == rules.clone().of_table()
    }

    fn has_mark(&self, mark: Option<&[u8]>) -> bool {
        self.record.as_ref().is_some_and(|record| record.has_mark(mark))
    }
}
