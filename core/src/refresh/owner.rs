//! An embedded cache and the refreshes of its tables: what a program holds that opened a directory.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::gate::Gate;
use super::record::position_name;
use super::scheduler::Scheduler;
use crate::answer::batches::Batches;
use crate::source::{Source, TableSource};
#[cfg(feature = "sidecar")]
use crate::storage::Maps;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::options::CacheOptions;
use crate::types::permitted::Permitted;
use crate::types::recorder::Recording;
use crate::types::rules::{TableRules, WritePolicy};
use crate::types::value::Value;
use crate::types::version::Version;
use crate::way::change::ChangeRequest;
use crate::way::definition::TableDefinition;
use crate::way::embedded::Embedded;
use crate::way::executed::Executed;
use crate::way::refreshing::{AuditReport, RefreshStatus, Refreshing};
use crate::way::status::{Status, Way};
use crate::way::table_info::TableInfo;
use crate::way::{Backend, Reader, Served, Statement, Upkeep, Writer, delegate_reads};

/// Keys of rows, each a value of every column of the key.
type Keys = Vec<Vec<Value>>;

/// The cache in this process, with its refreshes. Dropping it ends them, and then the cache.
#[derive(Debug)]
pub(crate) struct Owner {
    scheduler: Scheduler,
    embedded: Arc<Embedded>,
}

impl Owner {
    pub(crate) fn new(embedded: Embedded, refreshes_at_once: usize) -> Self {
        let embedded = Arc::new(embedded);
        Self { scheduler: Scheduler::new(embedded.clone(), refreshes_at_once), embedded }
    }
}

#[cfg(test)]
impl Owner {
    pub(crate) fn embedded(&self) -> &Arc<Embedded> {
        &self.embedded
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // In a copy of the process that opened the cache there are none of its threads.
        if !self.embedded.is_forked() {
            self.scheduler.stop();
        }
    }
}

impl Reader for Owner {
    delegate_reads!(embedded);

    fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        self.embedded.sql(text, parameters)
    }
}

impl Writer for Owner {
    fn define_table(&self, name: &str, definition: TableDefinition) -> Result<TableInfo> {
        if definition.origin.is_none() {
            return self.embedded.define_table(name, definition);
        }
        self.embedded.refuse_if_forked()?;
        let held = self.embedded.table(name).ok();
        let (origin, rules) = fed(name, definition)?;
        if let Some(other) = held.as_ref().filter(|held| held.rules.write_policy != rules.write_policy) {
            other.check_definition(&rules)?;
        }
        let is_new = self.scheduler.follow(name, origin, rules, held.is_none())?;
        if let Some(held) = held {
            return Ok(held);
        }
        if let Err(error) = self.scheduler.refresh(name) {
            if is_new {
                self.scheduler.forget(name);
            }
            return Err(error);
        }
        self.embedded.table(name)
    }

    fn drop_table(&self, name: &str) -> Result<Version> {
        let held = self.embedded.table(name).ok();
        let fed = held.as_ref().and_then(|held| self.gate(held));
        if !self.embedded.is_forked() {
            self.scheduler.forget(name);
        }
        // A record without a table would count among the positions that a cache remembers.
        let mut records = held
            .as_ref()
            .map(|held| self.scheduler.followers.records_of(held))
            .transpose()?
            .unwrap_or_default();
        records.extend(fed.map(|(source, _)| source).filter(|source| !records.contains(source)));
        let is_fed = !records.is_empty();
        let version = self.embedded.drop_fed_table(name, records);
        if is_fed && !self.embedded.is_forked() {
            // The source need not keep its changes any more.
            self.scheduler.followers.look();
        }
        version
    }

    fn write(&self, changes: Vec<ChangeRequest>, as_of: SystemTime) -> Result<Version> {
        let tables = changes.iter().filter_map(|change| match change {
            ChangeRequest::Invalidate { table, .. } => self.embedded.table_by_id(*table).ok(),
            _ => None,
        });
        let tables: Vec<TableInfo> = tables.collect();
        for table in &tables {
            if self.scheduler.followers.is_in_step(table)? {
                return Err(Error::new(
                    ErrorCode::Unsupported,
                    format!(
                        "table `{}` follows its source: its rows change when they change there, and nothing is to be invalidated",
                        table.name
                    ),
                ));
            }
        }
        let invalidated: Vec<TableInfo> =
            tables.into_iter().filter(|table| self.gate(table).is_some()).collect();
        if invalidated.is_empty() {
            return self.embedded.write(changes, as_of);
        }
        self.invalidate(changes, as_of, &invalidated)
    }

    fn execute(&self, text: &str, parameters: &[Value], permitted: Option<&Permitted>) -> Result<Executed> {
        let modify = || self.embedded.modify(text, parameters, permitted, &|name| self.drop_table(name));
        self.embedded.recording().modified(text, modify, |executed| executed.rows)
    }
}

impl Owner {
    /// The name of the record of a table, and its gate, if refreshes feed it.
    fn gate(&self, table: &TableInfo) -> Option<(String, Gate)> {
        let WritePolicy::Source(position) = &table.rules.write_policy else { return None };
        if self.embedded.is_forked() {
            return None;
        }
        Some((position.clone(), self.scheduler.gate(&table.name, position)?))
    }

    /// Writes changes that invalidate rows of tables from sources: the next refresh brings them back, also after a crash.
    fn invalidate(
        &self,
        mut changes: Vec<ChangeRequest>,
        as_of: SystemTime,
        tables: &[TableInfo],
    ) -> Result<Version> {
        let mut gates: Vec<(String, u64, Gate)> = tables
            .iter()
            .filter_map(|table| self.gate(table).map(|(source, gate)| (source, table.id, gate)))
            .collect();
        // In an order that is the same for all, so that two commits never wait for each other.
        gates.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        gates.dedup_by(|(a, ..), (b, ..)| a == b);
        let mut locked: Vec<_> = gates.iter().map(|(.., gate)| gate.lock()).collect();
        let missing: Vec<(Keys, Option<Vec<u8>>)> = gates
            .iter()
            .map(|(source, table, _)| {
                Ok((invalidated(&changes, *table), self.embedded.source_position(source)?))
            })
            .collect::<Result<_>>()?;
        let positions = gates.iter().map(|(source, ..)| (source.clone(), Vec::new()));
        changes.extend(positions.map(|(source, position)| ChangeRequest::Position { source, position }));
        let version = self.embedded.write(changes, as_of)?;
        for (counts, (keys, record)) in locked.iter_mut().zip(missing) {
            counts.invalidate(keys, record);
        }
        drop(locked);
        for table in tables {
            self.scheduler.hurry(&table.name);
        }
        Ok(version)
    }
}

impl Upkeep for Owner {
    fn compact(&self) -> Result<()> {
        self.embedded.compact()
    }

    fn sync(&self) -> Result<()> {
        self.embedded.sync()
    }

    fn close(&self) -> Result<()> {
        if !self.embedded.is_forked() {
            self.scheduler.stop();
        }
        self.embedded.close()
    }

    fn adjust(&self, options: &CacheOptions) -> Result<()> {
        self.embedded.adjust(options)?;
        self.scheduler.limit(options.refreshes_at_once);
        Ok(())
    }
}

#[cfg(feature = "sidecar")]
impl Served for Owner {
    fn maps(&self) -> Option<Arc<Maps>> {
        self.embedded.maps()
    }

    fn identity(&self) -> Option<(u64, u64)> {
        self.embedded.identity()
    }

    fn includes(&self, version: Version) -> Result<Option<bool>> {
        self.embedded.includes(version)
    }
}

#[cfg(not(feature = "sidecar"))]
impl Served for Owner {}

impl Backend for Owner {
    fn way(&self) -> Way {
        self.embedded.way()
    }

    fn messages_sent(&self) -> u64 {
        self.embedded.messages_sent()
    }

    fn pin(&self) -> Result<Arc<dyn Reader>> {
        self.embedded.pin()
    }

    fn prepare(self: Arc<Self>, text: &str) -> Result<Arc<dyn Statement>> {
        self.embedded.clone().prepare(text)
    }

    fn changes(&self, table: u64, since: Version) -> Result<Batches> {
        self.embedded.changes(table, since)
    }

    fn source_position(&self, source: &str) -> Result<Option<Vec<u8>>> {
        self.embedded.source_position(source)
    }

    fn status(&self) -> Result<Status> {
        self.embedded.status()
    }

    fn recording(&self) -> &Recording {
        self.embedded.recording()
    }

    fn refreshing(&self) -> Option<&dyn Refreshing> {
        Some(self)
    }
}

impl Refreshing for Owner {
    fn add_source(&self, name: &str, source: Arc<dyn Source>, replaces: bool) -> Result<()> {
        self.embedded.refuse_if_forked()?;
        self.scheduler.add_source(name, &source, replaces)
    }

    fn follow(&self, name: &str, definition: TableDefinition) -> Result<()> {
        let (origin, rules) = fed(name, definition)?;
        self.embedded.refuse_if_forked()?;
        self.scheduler.follow(name, origin, rules, false).map(drop)
    }

    fn unfollow(&self, table: &str) -> Result<bool> {
        self.embedded.refuse_if_forked()?;
        let was_fed = self.scheduler.forget(table);
        self.scheduler.followers.leave(table)?;
        Ok(was_fed)
    }

    fn refresh(&self, table: &str) -> Result<Version> {
        self.embedded.refuse_if_forked()?;
        self.scheduler.refresh(table)
    }

    fn cancel(&self, table: &str) -> Result<bool> {
        self.embedded.refuse_if_forked()?;
        self.scheduler.cancel(table)
    }

    fn pause(&self, table: &str, is_paused: bool) -> Result<()> {
        self.embedded.refuse_if_forked()?;
        self.scheduler.pause(table, is_paused)
    }

    fn wait_for(&self, table: &str, position: &[u8], limit: Duration) -> Result<Version> {
        self.embedded.refuse_if_forked()?;
        self.scheduler.followers.wait_for(table, position, limit)
    }

    fn audit(&self, table: &str) -> Result<AuditReport> {
        self.embedded.refuse_if_forked()?;
        self.scheduler.followers.audit(table)
    }

    fn refreshes(&self) -> Result<Vec<RefreshStatus>> {
        self.embedded.refuse_if_forked()?;
        Ok(self.scheduler.refreshes())
    }
}

/// The keys of the rows of a table that changes invalidate.
fn invalidated(changes: &[ChangeRequest], of_table: u64) -> Keys {
    let keys = changes.iter().filter_map(|change| match change {
        ChangeRequest::Invalidate { table, keys } if *table == of_table => Some(keys),
        _ => None,
    });
    keys.flatten().cloned().collect()
}

/// The source of a table, and its rules with the policy that lets only the source write.
fn fed(name: &str, definition: TableDefinition) -> Result<(TableSource, TableRules)> {
    let TableDefinition { origin, mut rules, .. } = definition;
    let refused = |message: String| Error::new(ErrorCode::InvalidArgument, message);
    let Some(origin) = origin else {
        return Err(refused(format!(
            "table `{name}` has no source to follow: define it with `TableDefinition::from_source`"
        )));
    };
    if rules.write_policy != WritePolicy::Anyone {
        return Err(refused(format!(
            "table `{name}` is fed by a source, and has no other write policy beside that"
        )));
    }
    rules.write_policy = WritePolicy::Source(position_name(&origin.source, name));
    if origin.working_set.is_some() {
        rules.working_set.clone_from(&origin.working_set);
    }
    Ok((*origin, rules))
}
