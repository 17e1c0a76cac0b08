//! A refresh of a table in parts: changed ones are fetched, the others stay.

use std::time::SystemTime;

use super::fetched::{Incoming, wanted};
use super::parts::{Parts, in_order};
use super::record::Record;
use super::run::{Held, Run, Work, schema_order};
use crate::input::{Input, OpenInput};
use crate::source::{Description, Part};
use crate::types::error::{ErrorCode, Result};
use crate::types::version::Version;
use crate::way::change::ChangeRequest;
use crate::way::embedded::has_room_for;

impl Work {
    /// Puts the rows of changed parts, and the held rows of the others, in the place of the held rows. `None` if that would not
    /// certainly give what a load of all rows gives.
    pub(super) fn load_changed(
        &self,
        held: &Held,
        described: &Description,
        number: u64,
        began: SystemTime,
        run: &Run,
    ) -> Result<Option<Version>> {
        let kept = held.record.as_ref().map(Record::parts).unwrap_or_default();
        if kept.is_empty()
            || held.info.damage.is_some()
            || !self.has_columns(described.schema(), &held.info.schema)
        {
            return Ok(None);
        }
        let Some(parts) = self.parts(described) else { return Ok(None) };
        let (same, changed) = parts.since(kept);
        if same.is_empty() {
            return Ok(None);
        }
        let record = Record::new(number, described.change_mark()).with_parts(parts.digests());
        match self.fetch_changed(held, &parts, (&same, &changed), (&record, began), run) {
            // A load of all rows brings back what cannot be read, and waits for no parts that are gone meanwhile.
            Err(error) if is_of_parts(error.code()) => {
                tracing::warn!(
                    table = self.table,
                    "all rows are fetched instead of the changed parts: {error:#}"
                );
                Ok(None)
            }
            other => other,
        }
    }

    /// The parts of a relation, if tables can be refreshed by them.
    pub(super) fn parts(&self, described: &Description) -> Option<Parts> {
        if !self.source.capabilities().parts
            || self.origin.condition.is_some()
            || self.origin.append_by.is_some()
            || self.rules.working_set.is_some()
        {
            return None;
        }
        Parts::of(described, &*wanted(&self.origin, described.schema()).ok()?)
    }

    fn fetch_changed(
        &self,
        held: &Held,
        parts: &Parts,
        (same, changed): (&[&Part], &[&str]),
        (record, began): (&Record, SystemTime),
        run: &Run,
    ) -> Result<Option<Version>> {
        let schema = held.info.schema.clone();
        let mut same = parts.rows_of(&schema, same.iter().copied())?;
        let held_rows = self.cache.scan_held(held.info.id, None)?;
        let unchanged = held_rows.map(move |batch| same.keep(&batch?));
        let input = if changed.is_empty() {
            Input::fallible(schema, unchanged)
        } else {
            let fetch = self.fetch(None).parts(changed.iter().copied());
            let rows = run.ask(|call| self.source.fetch(&fetch, call))?;
            let rows = Incoming::new(rows, self.origin.columns.as_deref(), &run.call, &run.progress)?;
            let fetched = rows.schema().clone();
            let OpenInput { schema: fetched, batches: rows } =
                Input::fallible(fetched, rows).open(Some(&schema))?;
            if !has_room_for(&schema, &fetched) {
                return Ok(None);
            }
            let order = schema_order(&schema, &fetched)?;
            let mut of_changed = parts.rows_of_named(&schema, changed)?;
            let of_table = schema.clone();
            let fetched = rows.map(move |batch| {
                let batch = in_order(&batch?, &order, &of_table)?;
                of_changed.check(&batch)?;
                Ok(batch)
            });
            Input::fallible(schema, unchanged.chain(fetched))
        };
        let (_, input) = self.retained(input)?;
        let position = (self.position(), record.encode()?);
        let version = self.cache.load_table(&self.table, &self.rules, input, position, began)?;
        self.forget_if_gaps(began)?;
        Ok(Some(version))
    }

    /// Notes the parts that a load of all rows gave, after all of its rows showed which part they are of.
    pub(super) fn note_parts(&self, record: Record, parts: &Parts, as_of: SystemTime) -> Result<()> {
        let counts = self.gate.lock();
        // Whoever invalidated rows meanwhile has taken the record away.
        if counts.has_gaps() {
            return Ok(());
        }
        let record = record.with_parts(parts.digests());
        let position = ChangeRequest::Position { source: self.position(), position: record.encode()? };
        self.add_position(position, as_of)
    }
}

/// Whether an error may be one of the way in which parts are fetched.
fn is_of_parts(code: ErrorCode) -> bool {
    use ErrorCode::{Corrupt, DuplicateKey, Io, SourceInvalid, SourceNotFound};
    matches!(code, Corrupt | Io | DuplicateKey | SourceInvalid | SourceNotFound)
}
