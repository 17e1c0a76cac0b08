//! A refresh that brings back rows that were invalidated, and fetches no others.

use super::fetched::Incoming;
use super::gate::Missing;
use super::record::Record;
use super::run::{Held, Run, Work};
use crate::input::{Input, OpenInput};
use crate::types::error::{ErrorKind, Result};
use crate::types::mode::WriteMode;
use crate::types::version::Version;
use crate::way::embedded::has_room_for;

/// The most keys that a source is asked for at a time.
const KEYS_OF_FETCH: usize = 500;
/// How often the rows are fetched again because more were invalidated meanwhile.
const TRIES: usize = 3;

impl Work {
    /// Brings back the rows that are missing, if it is known which these are and the source sends rows by their keys. `None`
    /// otherwise: all rows must be fetched.
    pub(super) fn load_missing(&self, held: &Held, number: u64, run: &Run) -> Result<Option<Version>> {
        // A row that is newer than the others would move the position from which rows are appended.
        if !self.source.capabilities().keys || self.origin.append_by.is_some() {
            return Ok(None);
        }
        for _ in 0..TRIES {
            let (missing, before) = {
                let counts = self.gate.lock();
                (counts.missing().cloned(), counts.before_load())
            };
            let Some(missing) = missing else { return Ok(None) };
            let record = Record::decode(&missing.record).filter(|record| record.definition == number);
            let Some(record) = record.filter(|_| held.has_rules(&self.rules)) else { return Ok(None) };
            let rows = match self.fetch_missing(held, &missing, run) {
                Ok(Some(rows)) => rows,
                Ok(None) => return Ok(None),
                // The source cannot tell rows by such keys.
                Err(error) if error.kind() == ErrorKind::Request => {
                    tracing::debug!(
                        table = self.table,
                        "all rows are fetched instead of some keys: {error:#}"
                    );
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let mut counts = self.gate.lock();
            if counts.before_load() == before {
                // The other rows are as old as they were.
                let as_of = held.info.freshness.map_or(std::time::SystemTime::UNIX_EPOCH, |it| it.as_of);
                let version =
                    self.add(as_of, &record.after_success(), self.rows(held, WriteMode::Upsert, rows))?;
                counts.loaded(before);
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// The rows that the source still has. `None` if it sends other columns than the table has, or a key twice.
    fn fetch_missing(&self, held: &Held, missing: &Missing, run: &Run) -> Result<Option<Input>> {
        let mut batches = Vec::new();
        let mut keys = missing.keys.clone();
        keys.dedup();
        for keys in keys.chunks(KEYS_OF_FETCH) {
            let fetch = self.fetch(None).keys(self.rules.primary_key.clone(), keys.to_vec());
            let rows = run.ask(|call| self.source.fetch(&fetch, call))?;
            let rows = Incoming::new(rows, self.origin.columns.as_deref(), &run.call, &run.progress)?;
            let schema = rows.schema().clone();
            let OpenInput { schema, batches: rows } =
                Input::fallible(schema, rows).open(Some(&held.info.schema))?;
            if !has_room_for(&held.info.schema, &schema) {
                return Ok(None);
            }
            let mut count = 0;
            for batch in rows {
                let batch = batch?;
                count += batch.num_rows();
                batches.push(batch);
            }
            if count > keys.len() {
                return Ok(None);
            }
        }
        let schema = batches.first().map_or_else(|| held.info.schema.clone(), |batch| batch.schema());
        Ok(Some(Input::fallible(schema, batches.into_iter().map(Ok))))
    }
}
