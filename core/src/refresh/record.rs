//! What is committed with the rows of a table from a source, so that refreshes go on after a restart.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::coverage::CoverageRecord;
use crate::source::TableSource;
use crate::types::error::{Error, Result};
use crate::types::rules::TableRules;

/// What of a refresh is known later. It is a source position of the cache: a map of MessagePack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Names the definition by which the rows were fetched.
    pub(super) definition: u64,
    /// The source's mark of the rows.
    #[serde(default, with = "serde_bytes")]
    pub(super) mark: Option<Vec<u8>>,
    /// Why the last refresh failed, for readers that refuse rows because of their age (`way/staleness.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// Digests of the parts of which the rows are (`refresh/parts.rs`); empty if they are not known to be of any.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    parts: Vec<u8>,
    /// The highest position of rows that came, where some of them were too old to be kept; the bytes of a number, the lowest first.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    highest: Option<Vec<u8>>,
    /// Which rows the table holds all of, if it is a working set; readers look it up here (`coverage/held.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coverage: Option<CoverageRecord>,
    /// Epoch of the feed with which the rows are in step (`refresh/follow/`); `None` for tables that are refreshed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<u64>,
    /// Why the rows are not in step with the feed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) out_of_step: Option<String>,
}

/// The longest mark that is kept as it is; of a longer one only a digest is.
const MARK_MAX: usize = 4096;
/// The most characters of a message that are kept.
const FAILURE_MAX: usize = 500;

impl Record {
    pub(super) fn new(definition: u64, mark: Option<&[u8]>) -> Self {
        Self { definition, mark: mark.map(short), ..Self::default() }
    }

    /// The record of rows that are in step with a feed.
    pub(super) fn in_step(definition: u64, epoch: u64) -> Self {
        Self { definition, epoch: Some(epoch), ..Self::default() }
    }

    /// The record of rows that were in step with a feed, and why they are not any more.
    pub(super) fn out_of_step(definition: u64, why: &str) -> Self {
        let why = why.chars().take(FAILURE_MAX).collect();
        Self { definition, out_of_step: Some(why), ..Self::default() }
    }

    /// Whether the rows have this mark. Without a mark nobody knows.
    pub(super) fn has_mark(&self, mark: Option<&[u8]>) -> bool {
        mark.is_some() && self.mark == mark.map(short)
    }

    pub(super) fn with_parts(mut self, parts: Vec<u8>) -> Self {
        self.parts = parts;
        self
    }

    pub(super) fn parts(&self) -> &[u8] {
        &self.parts
    }

    pub(super) fn with_highest(mut self, highest: Option<i128>) -> Self {
        self.highest = highest.map(|highest| highest.to_le_bytes().to_vec());
        self
    }

    /// The highest position of rows that came, where the held rows do not tell it.
    pub(super) fn highest(&self) -> Option<i128> {
        let bytes = self.highest.as_deref()?.try_into().ok()?;
        Some(i128::from_le_bytes(bytes))
    }

    pub(super) fn with_coverage(mut self, coverage: Option<CoverageRecord>) -> Self {
        self.coverage = coverage;
        self
    }

    /// Which rows the table holds all of, if it is a working set.
    pub(super) fn coverage(&self) -> Option<&CoverageRecord> {
        self.coverage.as_ref()
    }

    /// The same, after a refresh that did not fail.
    pub(super) fn after_success(mut self) -> Self {
        self.failure = None;
        self
    }

    /// Notes why a refresh failed. Returns whether that is something else than was noted before.
    pub(super) fn note(&mut self, error: &Error) -> bool {
        let failure = Some(error.message().chars().take(FAILURE_MAX).collect());
        std::mem::replace(&mut self.failure, failure) != self.failure
    }

    /// The record that was kept; `None` for bytes that this version does not understand, after which all rows are fetched.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok()
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        rmp_serde::to_vec_named(self)
            .map_err(|error| Error::internal("the record of a refresh").with_source(error))
    }
}

fn short(mark: &[u8]) -> Vec<u8> {
    if mark.len() <= MARK_MAX {
        return mark.to_vec();
    }
    xxhash_rust::xxh3::xxh3_128(mark).to_le_bytes().to_vec()
}

/// The name under which the record of a table is kept, which is also the source that its write policy names.
pub(super) fn position_name(source: &str, table: &str) -> String {
    format!("{source}/{table}")
}

/// A number that changes when rows must be fetched anew because something else, or some other place, is asked. When and how often rows are
/// fetched is no part of it.
pub(super) fn definition_number(source: &TableSource, place: Option<&str>, rules: &TableRules) -> u64 {
    // A form that differs between versions of Pillion costs a load, and nothing else.
    let text = format!(
        "{:?} {place:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        source.source,
        source.relation,
        source.columns,
        source.condition,
        source.append_by.as_ref().map(|by| &by.column),
        rules.primary_key,
        rules.sort_by,
        rules.working_set,
    );
    xxh3_64(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::source::Relation;

    #[test]
    fn a_record_knows_the_mark_of_its_rows() {
        let record = Record::new(7, Some(&[1; 5000]));
        assert_eq!(record.highest(), None);
        let record = record.with_highest(Some(-7));
        let again = Record::decode(&record.encode().unwrap()).unwrap();
        assert_eq!(again, record);
        assert_eq!(again.highest(), Some(-7));
        assert!(again.has_mark(Some(&[1; 5000])) && !again.has_mark(Some(&[2; 5000])));
        assert!(!Record::new(7, None).has_mark(None), "a source without marks tells nothing");
        assert_eq!(Record::decode(b"something else"), None);
    }

    #[test]
    fn only_what_is_asked_for_changes_the_number() {
        let source = || TableSource::new("shop", Relation::table("orders"));
        let rules = TableRules::default();
        let number_of =
            |source: &TableSource, rules: &TableRules| definition_number(source, Some("db"), rules);
        let number = number_of(&source(), &rules);
        assert_ne!(number, definition_number(&source(), Some("other"), &rules));
        assert_ne!(number, definition_number(&source(), None, &rules));
        assert_eq!(number, number_of(&source().every(Duration::from_secs(5)), &rules));
        assert_ne!(number, number_of(&source().condition("id > 5"), &rules));
        assert_ne!(number, number_of(&source().columns(["id"]), &rules));
        let keyed = TableRules { primary_key: vec!["id".to_owned()], ..TableRules::default() };
        assert_ne!(number, number_of(&source(), &keyed));
    }
}
