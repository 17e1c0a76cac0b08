//! A refresh of a table in parts: changed ones are fetched, the others stay.

use std::time::SystemTime;

use super::fetched::{Incoming, wanted};
use super::parts::{PARTS_MAX, Parts, in_order};
use super::record::Record;
use super::run::{Held, Run, Work, is_as_described, schema_order};
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
        match self.fetch_changed(held, described, &parts, (&same, &changed), (&record, began), run) {
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
        let parts = described.all_parts().len();
        if parts > PARTS_MAX {
            tracing::info!(
                table = self.table,
                parts,
                "all rows are fetched: parts are told apart if there are at most {PARTS_MAX}"
            );
            return None;
        }
        Parts::of(described, &*wanted(&self.origin, described.schema()).ok()?)
    }

    fn fetch_changed(
        &self,
        held: &Held,
        described: &Description,
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
            // Held rows were compared with what was described, and these may have changed together with others since.
            if !is_as_described(&rows, described) {
                tracing::info!(
                    table = self.table,
                    "all rows are fetched: the source changed after it described its parts"
                );
                return Ok(None);
            }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
    use parking_lot::Mutex;

    use super::*;
    use crate::source::{Call, Capabilities, Fetch, Fetched, Relation, Source, TableSource};
    use crate::{Cache, TableDefinition};

    /// Two parts of a row each, which says at which version it was changed last. The first changes with every third version, the second
    /// with every version.
    #[derive(Clone, Debug, Default)]
    struct Moving {
        state: Arc<Mutex<MovingState>>,
    }

    #[derive(Debug, Default)]
    struct MovingState {
        version: i64,
        /// The version to which the source moves right before the next rows are read.
        next: Option<i64>,
        /// The parts of each fetch; `None` for all.
        fetches: Vec<Option<Vec<String>>>,
    }

    const PARTS: [&str; 2] = ["slow", "quick"];

    fn changed_at(part: &str, version: i64) -> i64 {
        if part == "slow" { version / 3 * 3 } else { version }
    }

    fn schema() -> SchemaRef {
        let fields =
            vec![Field::new("part", DataType::Utf8, false), Field::new("version", DataType::Int64, false)];
        Arc::new(Schema::new(fields))
    }

    impl Source for Moving {
        fn capabilities(&self) -> Capabilities {
            Capabilities { parts: true, marks: true, ..Capabilities::default() }
        }

        fn relations(&self, _: &Call) -> Result<Vec<String>> {
            Ok(Vec::new())
        }

        fn describe(&self, _: &Relation, _: &Call) -> Result<Description> {
            let version = self.state.lock().version;
            let part = |name: &str| Part {
                name: name.to_owned(),
                mark: changed_at(name, version).to_le_bytes().to_vec(),
                values: vec![("part".to_owned(), Some(name.to_owned()))],
            };
            Ok(Description::new(schema()).mark(version.to_le_bytes()).parts(PARTS.map(part).to_vec()))
        }

        fn fetch(&self, fetch: &Fetch, _: &Call) -> Result<Fetched> {
            let mut state = self.state.lock();
            state.version = state.next.take().unwrap_or(state.version);
            state.fetches.push(fetch.wanted_parts().map(<[String]>::to_vec));
            let version = state.version;
            let is_wanted = |part: &str| {
                fetch.wanted_parts().is_none_or(|parts| parts.iter().any(|wanted| wanted == part))
            };
            let parts: Vec<&str> = PARTS.into_iter().filter(|part| is_wanted(part)).collect();
            let versions = parts.iter().map(|part| changed_at(part, version));
            let versions: ArrayRef = Arc::new(Int64Array::from_iter_values(versions));
            let parts: ArrayRef = Arc::new(StringArray::from(parts));
            let batch = RecordBatch::try_new(schema(), vec![parts, versions]).unwrap();
            Ok(Fetched::new(schema(), [Ok(batch)]).mark(version.to_le_bytes()))
        }
    }

    /// The versions in the rows, and the parts of the fetches since the last call.
    fn refreshed(cache: &Cache, source: &Moving) -> (Vec<i64>, Vec<Option<Vec<String>>>) {
        let mut versions = Vec::new();
        for batch in cache.table("t").unwrap().scan().unwrap() {
            let batch = batch.unwrap();
            let column = batch.column_by_name("version").unwrap();
            versions.extend(column.as_primitive::<Int64Type>().values().iter().copied());
        }
        versions.sort_unstable();
        (versions, std::mem::take(&mut source.state.lock().fetches))
    }

    #[test]
    fn rows_of_two_versions_are_not_put_together() {
        let (dir, source) = (tempfile::tempdir().unwrap(), Moving::default());
        let cache = Cache::open(dir.path()).unwrap();
        cache.add_source("lake", source.clone()).unwrap();
        let origin = TableSource::new("lake", Relation::table("t")).on_call();
        cache.define_table("t", TableDefinition::from_source(origin)).unwrap();
        assert_eq!(refreshed(&cache, &source), (vec![0, 0], vec![None]));
        let move_to = |version: i64, next: Option<i64>| {
            let mut state = source.state.lock();
            (state.version, state.next) = (version, next);
        };
        let quick = || Some(vec!["quick".to_owned()]);
        // Only one part had changed when the parts were described, and both when it was fetched.
        move_to(1, Some(3));
        cache.refresh("t").unwrap();
        assert_eq!(refreshed(&cache, &source), (vec![3, 3], vec![quick(), None]));
        // The parts that were described are not those of the rows that came.
        move_to(4, None);
        cache.refresh("t").unwrap();
        assert_eq!(refreshed(&cache, &source), (vec![3, 4], vec![None]));
        move_to(5, None);
        cache.refresh("t").unwrap();
        assert_eq!(refreshed(&cache, &source), (vec![3, 5], vec![quick()]));
    }
}
