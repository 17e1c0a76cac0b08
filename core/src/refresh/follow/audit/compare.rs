//! Finds the keys of rows that differ from those of the source at one position.

use std::collections::HashMap;

use super::held::{EncodedKey, Held, Span};
use crate::source::{Call, FeedCheck, RowSum};
use crate::types::error::{Error, Result};
use crate::way::refreshing::Divergence;

/// A range with more rows is parted before any are fetched.
const FETCHED_ROWS: usize = if cfg!(test) { 8 } else { 256 };
/// Into how many parts.
const PARTS: usize = 32;
/// The most differing rows that are noted before they are mended.
pub(super) const SUSPECTS_MAX: usize = if cfg!(test) { 100 } else { 50_000 };

/// Keys of rows that differ.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    pub(super) keys: Vec<(EncodedKey, Divergence)>,
    /// There are more.
    pub(super) is_full: bool,
    /// Ranges whose sums differ although no row does.
    pub(super) unexplained: u64,
}

impl Suspects {
    fn push(&mut self, key: EncodedKey, what: Divergence) {
        if self.keys.len() < SUSPECTS_MAX {
            self.keys.push((key, what));
        } else {
            self.is_full = true;
        }
    }
}

/// Compares held rows with a state of the source at the same position.
pub(super) struct Comparison<'a> {
    pub(super) held: Held<'a>,
    pub(super) check: &'a mut dyn FeedCheck,
    pub(super) call: &'a Call,
    pub(super) suspects: Suspects,
}

impl Comparison<'_> {
    /// Compares a span, part by part. Returns how many rows the source has in it.
    pub(super) fn compare(&mut self, span: &Span, bounds: &[EncodedKey]) -> Result<u64> {
        let there = self.sums(span, bounds)?;
        let held = self.held.sums(span, bounds, self.check)?;
        let parts = span.parts(bounds);
        for ((part, there), held) in parts.iter().zip(&there).zip(held) {
            if *there != held && !self.suspects.is_full {
                let rows = self.held.digests(part, self.check)?;
                self.narrow(part, &rows)?;
            }
        }
        Ok(there.iter().map(|sum| sum.rows).sum())
    }

    fn sums(&mut self, span: &Span, bounds: &[EncodedKey]) -> Result<Vec<RowSum>> {
        self.call.check()?;
        let (range, bounds) = (self.held.range(span)?, self.held.values(bounds)?);
        let sums = self.check.sums(&range, &bounds, self.call)?;
        if sums.len() == bounds.len() + 1 {
            Ok(sums)
        } else {
            Err(Error::internal("a source adds up other parts than it was asked for"))
        }
    }

    /// Finds what differs in a span that differs; `rows` are those that are held in it.
    fn narrow(&mut self, span: &Span, rows: &[(EncodedKey, i64)]) -> Result<()> {
        if rows.len() <= FETCHED_ROWS {
            return self.fetch(span, rows);
        }
        let chunks: Vec<&[(EncodedKey, i64)]> = rows.chunks(rows.len().div_ceil(PARTS)).collect();
        let bounds = chunks.iter().skip(1).filter_map(|chunk| Some(chunk.first()?.0.clone()));
        let bounds: Vec<EncodedKey> = bounds.collect();
        let there = self.sums(span, &bounds)?;
        for ((part, rows), there) in span.parts(&bounds).iter().zip(chunks).zip(there) {
            let mut held = RowSum::default();
            rows.iter().for_each(|(_, digest)| held.add(*digest));
            if held != there && !self.suspects.is_full {
                self.narrow(part, rows)?;
            }
        }
        Ok(())
    }

    fn fetch(&mut self, span: &Span, rows: &[(EncodedKey, i64)]) -> Result<()> {
        let mut held: HashMap<&[u8], i64> = rows.iter().map(|(key, digest)| (&**key, *digest)).collect();
        let (range, before) = (self.held.range(span)?, self.suspects.keys.len());
        for batch in self.check.fetch(&range, self.call)? {
            let batch = batch?;
            let conformed = self.held.target.conform(&batch)?;
            let keys = self.held.target.keys(&conformed)?;
            let keys = keys.ok_or_else(|| Error::internal("a row of the source has no key"))?;
            for ((key, _), there) in keys.iter().zip(self.check.digests(&batch)?) {
                match held.remove(key) {
                    Some(held) if held == there => {}
                    Some(_) => self.suspects.push(key.into(), Divergence::Changed),
                    None => self.suspects.push(key.into(), Divergence::Missing),
                }
            }
            if self.suspects.is_full {
                return Ok(());
            }
        }
        let mut extra: Vec<&[u8]> = held.into_keys().collect();
        extra.sort_unstable();
        for key in extra {
            self.suspects.push(key.into(), Divergence::Extra);
        }
        if self.suspects.keys.len() == before && !self.suspects.is_full {
            self.suspects.unexplained += 1;
        }
        Ok(())
    }
}
