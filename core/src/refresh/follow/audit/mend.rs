//! Gives rows that differ the values that the source has, unless the stream brings others.

use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use super::Audit;
use super::held::{EncodedKey, Held};
use crate::refresh::follow::target::Target;
use crate::refresh::record::{Record, position_name};
use crate::storage::{Change, KeyColumn};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::mode::WriteMode;
use crate::way::{Backend, Reader};

/// Keys that the source is asked for at once.
const KEYS_AT_ONCE: usize = if cfg!(test) { 40 } else { 2000 };
/// How often rows are looked at that change all the time.
const TRIES: u32 = 5;

impl Audit<'_> {
    /// Mends rows. Returns how many are as the source has them now.
    pub(super) fn mend(&self, suspects: &[EncodedKey]) -> Result<u64> {
        let mut mended = 0;
        for keys in suspects.chunks(KEYS_AT_ONCE) {
            let mut left = keys.to_vec();
            for _ in 0..TRIES {
                if left.is_empty() {
                    break;
                }
                let (done, again) = self.mend_some(left)?;
                (mended, left) = (mended + done, again);
            }
        }
        Ok(mended)
    }

    /// Compares rows anew and mends them. Returns how many are as at the source, and the keys that must be looked at again.
    fn mend_some(&self, keys: Vec<EncodedKey>) -> Result<(u64, Vec<EncodedKey>)> {
        let (target, fed) = self.target()?;
        let watching = self.watch()?;
        let mut check = self.check(&fed, &target)?;
        let Some(state) = watching.at(check.position(), &*self.shared.source, Self::deadline())? else {
            return Ok((0, keys));
        };
        let held = Held { state, target: &target };
        let mut column = KeyColumn::default();
        keys.iter().for_each(|key| column.push(key));
        let before = held.digests_of(&column, &*check)?;
        let mut there: Vec<(EncodedKey, i64, RecordBatch)> = Vec::new();
        let call = self.call(super::PATIENCE)?;
        for batch in check.fetch_keys(&held.values(&keys)?, &call)? {
            let batch = batch?;
            let rows = target.conform(&batch)?;
            let found =
                target.keys(&rows)?.ok_or_else(|| Error::internal("a row of the source has no key"))?;
            for (row, ((key, _), digest)) in found.iter().zip(check.digests(&batch)?).enumerate() {
                there.push((key.into(), digest, rows.slice(row, 1)));
            }
        }
        there.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        drop(check);
        let left = self.shared.left.lock();
        if left.contains(&self.table) {
            let message = format!("table `{}` is not fed by its source any more", self.table);
            return Err(Error::new(ErrorCode::Cancelled, message));
        }
        let done = watching.meanwhile(|touched| {
            let (mut rows, mut gone, mut again, mut done) = (Vec::new(), KeyColumn::default(), Vec::new(), 0);
            for (key, before) in keys.into_iter().zip(before) {
                if touched.has(&key) {
                    // The stream may have brought another row since, whole or with values of the one that differed.
                    again.push(key);
                    continue;
                }
                let found = there.binary_search_by(|(other, ..)| other.cmp(&key)).ok();
                match (before, found.and_then(|found| there.get(found))) {
                    (before, Some((_, digest, _))) if before == Some(*digest) => {}
                    (_, Some((.., row))) => rows.push(target.declared(row)?),
                    (Some(_), None) => gone.push(&key),
                    (None, None) => {}
                }
                done += 1;
            }
            self.write(&target, &rows, gone)?;
            Ok((done, again))
        });
        drop(left);
        done
    }

    fn write(&self, target: &Target, rows: &[RecordBatch], gone: KeyColumn) -> Result<()> {
        let table = target.table;
        let mut changes = Vec::new();
        let batch = match rows.is_empty() {
            true => None,
            false => Some(
                concat_batches(&target.schema, rows)
                    .map_err(|error| Error::internal("rows that are mended").with_source(error))?,
            ),
        };
        let mut rows = batch.into_iter().map(Ok);
        if rows.len() > 0 {
            changes.push(Change::Rows { table, mode: WriteMode::Upsert, rows: &mut rows });
        }
        if gone.len() > 0 {
            changes.push(Change::Delete { table, keys: gone, invalidates: false });
        }
        if changes.is_empty() {
            return Ok(());
        }
        // Only the source of a table writes to it, which is whoever writes its record; it stays as it is.
        let name = position_name(&self.shared.source_name, &self.table);
        let record = self.cache.source_position(&name)?;
        let is_in_step =
            record.as_deref().and_then(Record::decode).is_some_and(|record| record.epoch.is_some());
        let Some(position) = record.filter(|_| is_in_step) else {
            let message = format!("table `{}` does not follow its source any more", self.table);
            return Err(Error::new(ErrorCode::Cancelled, message));
        };
        changes.push(Change::Position { source: name, position });
        // The other rows are no fresher for that.
        let freshness = self.cache.table_by_id(table)?.freshness;
        let as_of = freshness.map_or_else(SystemTime::now, |freshness| freshness.as_of);
        self.cache.write_changes(changes, as_of).map(drop)
    }
}
