//! What is committed of a feed and of its tables: with this a follower begins each round.

use std::collections::BTreeSet;
use std::time::Instant;

use super::audit::{AuditRecord, audit_name};
use super::records::{ColumnsRecord, FeedRecord, ListRecord, columns_name, decode, feed_name, list_name};
use super::shared::{Shared, State};
use super::target::Target;
use crate::refresh::record::{Record, definition_number, position_name};
use crate::source::{Follow, Followed, OnSchemaChange};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::rules::{TableRules, WritePolicy};
use crate::way::embedded::Embedded;
use crate::way::{Backend, Reader};

/// A feed as it is committed.
#[derive(Debug)]
pub(super) struct Inspected {
    pub(super) feed: Option<FeedRecord>,
    pub(super) list: ListRecord,
    /// The tables of the list.
    pub(super) tables: Vec<Listed>,
}

/// A table in the list of a feed.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) columns: Option<ColumnsRecord>,
    /// If it is in step.
    pub(super) target: Option<Target>,
    /// If it was audited or copied since that is noted.
    pub(super) audit: Option<AuditRecord>,
}

impl Inspected {
    /// # Errors
    /// Those of reading the cache.
    pub(super) fn read(cache: &Embedded, shared: &Shared) -> Result<Self> {
        let source = &shared.source_name;
        let read = |name: &str| cache.source_position(name);
        let feed: Option<FeedRecord> = decode(read(&feed_name(source))?.as_deref());
        let list: ListRecord = decode(read(&list_name(source))?.as_deref()).unwrap_or_default();
        let mut tables = Vec::new();
        for name in &list.tables {
            let columns: Option<ColumnsRecord> = decode(read(&columns_name(source, name))?.as_deref());
            let target = match (&feed, &columns) {
                (Some(feed), Some(columns)) => target(cache, shared, name, feed.epoch, columns)?,
                _ => None,
            };
            let audit = decode(read(&audit_name(source, name))?.as_deref());
            tables.push(Listed { name: name.clone(), columns, target, audit });
        }
        Ok(Self { feed, list, tables })
    }

    /// The names of the tables that are in step.
    pub(super) fn in_step(&self) -> BTreeSet<String> {
        self.tables.iter().filter(|table| table.target.is_some()).map(|table| table.name.clone()).collect()
    }

    /// What is followed, and the columns of each relation; `None` if the records are not complete.
    pub(super) fn follow(&self) -> Option<(Follow, Vec<Followed>)> {
        let feed = self.feed.as_ref()?;
        let columns = self.tables.iter().map(|table| table.columns.as_ref()).collect::<Option<Vec<_>>>()?;
        let follow = Follow::new(&feed.name, columns.iter().map(|columns| columns.relation()));
        let follow = match &self.list.publication {
            Some(publication) => follow.publication(publication),
            None => follow,
        };
        Some((follow, columns.iter().map(|columns| columns.followed()).collect::<Option<_>>()?))
    }
}

/// A table, if it is in step with the feed of an epoch.
fn target(
    cache: &Embedded,
    shared: &Shared,
    name: &str,
    epoch: u64,
    columns: &ColumnsRecord,
) -> Result<Option<Target>> {
    let held = match cache.table(name) {
        Ok(held) => held,
        Err(error) if error.code() == ErrorCode::TableNotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let position = position_name(&shared.source_name, name);
    if held.rules.write_policy != WritePolicy::Source(position.clone()) {
        return Ok(None);
    }
    let record = cache.source_position(&position)?.as_deref().and_then(Record::decode);
    let Some(record) = record.filter(|record| record.epoch == Some(epoch)) else { return Ok(None) };
    let asked =
        shared.state.lock().tables.get(name).map(|table| (number(shared, table), table.rules.clone()));
    let is_asked_for =
        |(number, rules): (u64, TableRules)| record.definition == number && held.rules == rules.of_table();
    if !asked.is_none_or(is_asked_for) {
        return Ok(None);
    }
    match Target::new(&held, columns, record.definition) {
        Ok(target) => Ok(Some(target)),
        Err(error) if error.code() == ErrorCode::Unsupported => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number of a table's definition.
pub(super) fn number(shared: &Shared, table: &super::shared::Declared) -> u64 {
    definition_number(&table.origin, shared.source.identity().as_deref(), &table.rules)
}

impl State {
    /// Declared tables that are not in step and may be copied now; when one may be later. Notes which of the others are stale.
    pub(super) fn candidates(
        &mut self,
        cache: &Embedded,
        shared: &Shared,
    ) -> Result<(Vec<String>, Option<Instant>)> {
        let now = Instant::now();
        let (mut due, mut later): (Vec<String>, Option<Instant>) = (Vec::new(), None);
        for (name, table) in &mut self.tables {
            if self.in_step.contains(name) {
                table.stale = None;
                continue;
            }
            let record = cache.source_position(&position_name(&shared.source_name, name))?;
            let record = record.as_deref().and_then(Record::decode);
            let number = number(shared, table);
            let why =
                record.filter(|record| record.definition == number).and_then(|record| record.out_of_step);
            table.stale =
                why.filter(|_| table.origin.on_schema_change == OnSchemaChange::Stale && !table.is_asked);
            match table.may_be_copied_at() {
                _ if table.stale.is_some() => {}
                Some(at) if at > now => later = Some(later.map_or(at, |later| later.min(at))),
                _ => due.push(name.clone()),
            }
        }
        // The one that has waited longest, so that one that always fails keeps no other from being tried.
        let alone = due.iter().filter_map(|name| self.tables.get_key_value(name));
        let alone = alone.filter(|(_, table)| table.is_alone).min_by_key(|(_, table)| table.due);
        if let Some((name, _)) = alone {
            later = if due.len() > 1 { Some(now) } else { later };
            due = vec![name.clone()];
        }
        Ok((due, later))
    }
}

/// What declared tables say of what an administrator made at the source.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] if they differ.
pub(super) fn publication(state: &State) -> Result<Option<String>> {
    let mut names = state.tables.values().map(|table| &table.origin.publication);
    let first = names.next().cloned().flatten();
    if names.all(|name| *name == first) {
        return Ok(first);
    }
    Err(Error::new(
        ErrorCode::InvalidArgument,
        "tables that follow one source must name the same publication",
    ))
}
