//! Held rows of one version, range by range of their keys.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use crate::refresh::follow::target::Target;
use crate::source::{FeedCheck, KeyRange, RowSum};
use crate::storage::{KeyColumn, State};
use crate::types::error::{Error, Result};
use crate::types::value::Value;
use crate::way::local;

/// Rows of a range of keys that is compared at once.
pub(super) const RANGE_ROWS: u64 = if cfg!(test) { 64 } else { 16_384 };
/// Keys of which the ends of ranges are chosen.
const SAMPLE_MAX: usize = 1 << 16;

/// An encoded key.
pub(super) type EncodedKey = Box<[u8]>;

/// Encoded keys from one up to, and without, another.
#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    pub(super) from: Option<EncodedKey>,
    pub(super) below: Option<EncodedKey>,
}

impl Span {
    fn has(&self, key: &[u8]) -> bool {
        self.from.as_deref().is_none_or(|from| from <= key)
            && self.below.as_deref().is_none_or(|below| key < below)
    }

    /// The spans between some keys within this one.
    pub(super) fn parts(&self, bounds: &[EncodedKey]) -> Vec<Self> {
        let begins = std::iter::once(self.from.clone()).chain(bounds.iter().cloned().map(Some));
        let ends = bounds.iter().cloned().map(Some).chain([self.below.clone()]);
        begins.zip(ends).map(|(from, below)| Self { from, below }).collect()
    }
}

/// The rows of a table in one state.
#[derive(Debug)]
pub(super) struct Held<'a> {
    pub(super) state: Arc<State>,
    pub(super) target: &'a Target,
}

impl Held<'_> {
    /// Keys that part the rows into ranges of about the same size, in ascending order.
    pub(super) fn bounds(&self) -> Result<Vec<EncodedKey>> {
        let names = self.target.key_names();
        let rows = local::scan_between(&self.state, self.target.table, Some(&names), None, None)?;
        let columns: Vec<usize> = (0..names.len()).collect();
        // A key is chosen by its hash: the same ones each time, spread evenly, and half as many whenever there are too many.
        let (mut sample, mut mask, mut total): (Vec<(u64, EncodedKey)>, u64, u64) = (Vec::new(), 0, 0);
        for batch in rows {
            let keys = KeyColumn::of(&batch?, &columns)?;
            total += keys.len() as u64;
            sample.extend(
                keys.iter().filter(|(_, hash)| hash & mask == 0).map(|(key, hash)| (hash, key.into())),
            );
            while sample.len() > SAMPLE_MAX {
                mask = mask << 1 | 1;
                sample.retain(|(hash, _)| hash & mask == 0);
            }
        }
        let ranges = usize::try_from(total / RANGE_ROWS).unwrap_or(usize::MAX).min(sample.len()) + 1;
        let mut keys: Vec<EncodedKey> = sample.into_iter().map(|(_, key)| key).collect();
        keys.sort_unstable();
        let step = keys.len().div_ceil(ranges).max(1);
        Ok(keys.into_iter().step_by(step).skip(1).collect())
    }

    /// Rows of a span with their keys, batch by batch.
    fn batches(&self, span: Span) -> Result<impl Iterator<Item = Result<(KeyColumn, RecordBatch)>>> {
        let rows = local::scan_between(
            &self.state,
            self.target.table,
            None,
            span.from.as_deref(),
            span.below.as_deref(),
        )?;
        let target = self.target;
        Ok(rows.map(move |batch| {
            let batch = batch?;
            let keys = target.keys(&batch)?.ok_or_else(|| Error::internal("a held row has no key"))?;
            let is_within: BooleanArray = keys.iter().map(|(key, _)| Some(span.has(key))).collect();
            let failed = |error| Error::internal("rows of a range").with_source(error);
            let batch = filter_record_batch(&batch, &is_within).map_err(failed)?;
            let mut within = KeyColumn::default();
            keys.iter().filter(|(key, _)| span.has(key)).for_each(|(key, _)| within.push(key));
            Ok((within, batch))
        }))
    }

    /// What the rows of a span come to, part by part.
    pub(super) fn sums(
        &self,
        span: &Span,
        bounds: &[EncodedKey],
        check: &dyn FeedCheck,
    ) -> Result<Vec<RowSum>> {
        let mut sums = vec![RowSum::default(); bounds.len() + 1];
        for batch in self.batches(span.clone())? {
            let (keys, rows) = batch?;
            for ((key, _), digest) in keys.iter().zip(check.digests(&rows)?) {
                let part = bounds.partition_point(|bound| **bound <= *key);
                if let Some(sum) = sums.get_mut(part) {
                    sum.add(digest);
                }
            }
        }
        Ok(sums)
    }

    /// The keys of a span with the digests of their rows, in ascending order.
    pub(super) fn digests(&self, span: &Span, check: &dyn FeedCheck) -> Result<Vec<(EncodedKey, i64)>> {
        let mut digests = Vec::new();
        for batch in self.batches(span.clone())? {
            let (keys, rows) = batch?;
            digests.extend(keys.iter().map(|(key, _)| key.into()).zip(check.digests(&rows)?));
        }
        digests.sort_unstable();
        Ok(digests)
    }

    /// The digests of the rows with some keys, of those that are there.
    pub(super) fn digests_of(&self, keys: &KeyColumn, check: &dyn FeedCheck) -> Result<Vec<Option<i64>>> {
        let table = local::table_of(&self.state, self.target.table)?;
        let digest = |(key, hash): (&[u8], u64)| {
            // A table that follows holds all rows, so that none is looked for elsewhere.
            let Some(row) = local::look_up(&self.state, table, key, hash, |_| Ok(None))? else {
                return Ok(None);
            };
            Ok(check.digests(&row.to_batch()?)?.first().copied())
        };
        keys.iter().map(digest).collect()
    }

    /// A span as the source is asked for it.
    pub(super) fn range(&self, span: &Span) -> Result<KeyRange> {
        let key = |key: &Option<EncodedKey>| {
            let values = key.as_ref().map(|key| self.target.key_values(std::slice::from_ref(key)));
            Ok::<_, Error>(values.transpose()?.and_then(|mut values| values.pop()))
        };
        Ok(KeyRange { from: key(&span.from)?, below: key(&span.below)? })
    }

    pub(super) fn values(&self, keys: &[EncodedKey]) -> Result<Vec<Vec<Value>>> {
        self.target.key_values(keys)
    }
}
