//! Tables that follow their sources: a copy, and then every change.
//!
//! One thread follows all tables of a source. docs/design/0013-following-a-source.md says what it commits, and how it goes on after
//! every failure.

mod audit;
mod commit;
mod effect;
mod follower;
mod heartbeat;
mod inspect;
mod planted;
mod records;
mod shared;
mod stream;
mod switch;
mod target;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::follower::Follower;
use self::records::list_name;
use self::shared::{Shared, stopping};
use super::record::{Record, position_name};
use super::wanted;
use crate::source::{Call, Source, TableSource};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::panics;
use crate::types::rules::{TableRules, WritePolicy};
use crate::types::version::Version;
use crate::way::embedded::Embedded;
use crate::way::refreshing::{AuditReport, RefreshStatus};
use crate::way::table_info::TableInfo;
use crate::way::{Backend, Reader};

/// How long a stop waits for sources that were told to end.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether threads have ended that cannot say so.
const END_PAUSE: Duration = Duration::from_millis(20);
/// How long a source may take to say where it is.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// The followers of a cache, one for each source of which tables follow.
#[derive(Debug)]
pub(super) struct Followers {
    cache: Arc<Embedded>,
    running: Mutex<BTreeMap<String, Running>>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    /// Audits tables by itself, if somebody wants that of one.
    auditor: Option<JoinHandle<()>>,
}

impl Followers {
    pub(super) fn new(cache: Arc<Embedded>) -> Self {
        Self { cache, running: Mutex::default() }
    }

    /// A source was added: what earlier processes began to follow is followed on.
    pub(super) fn added(&self, source_name: &str, source: &Arc<dyn Source>) -> Result<()> {
        let has_list = self.cache.source_position(&list_name(source_name))?.is_some();
        if has_list && source.capabilities().changes {
            self.start(source_name, source).map(drop)
        } else {
            Ok(())
        }
    }

    /// Lets a table follow its source from now on. Returns whether it was not declared before.
    pub(super) fn declare(
        &self,
        table: &str,
        origin: TableSource,
        rules: TableRules,
        source: &Arc<dyn Source>,
    ) -> Result<bool> {
        if let Ok(held) = self.cache.table(table)
            && held.rules.write_policy != rules.write_policy
        {
            return Err(Error::new(
                ErrorCode::TableExists,
                format!(
                    "table `{table}` exists and is not fed by the source `{}`; drop it, or give the new one another name",
                    origin.source
                ),
            ));
        }
        let shared = self.start(&origin.source, source)?;
        let other = shared.state.lock().tables.iter().find_map(|(name, other)| {
            (name != table && other.origin.publication != origin.publication).then(|| name.clone())
        });
        if let Some(other) = other {
            let message = format!(
                "tables `{table}` and `{other}` follow one source and must name the same publication"
            );
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        if origin.audit.is_some() {
            self.start_auditor(&origin.source)?;
        }
        Ok(shared.declare(table, origin, rules))
    }

    /// Starts what audits tables of a source by itself, unless it runs.
    fn start_auditor(&self, source_name: &str) -> Result<()> {
        let mut running = self.running.lock();
        let Some(running) = running.get_mut(source_name).filter(|running| running.auditor.is_none()) else {
            return Ok(());
        };
        let (cache, shared) = (self.cache.clone(), running.shared.clone());
        let thread = std::thread::Builder::new()
            .name("pillion-audit".to_owned())
            .spawn(move || {
                let panicked = || Error::internal("comparing with a source panicked");
                let run = || {
                    audit::run_idle(&cache, &shared);
                    Ok(())
                };
                if let Err(error) = panics::catch(run, panicked) {
                    tracing::error!(
                        source = shared.source_name,
                        "no more audits begin by themselves: {error:#}"
                    );
                }
                // Whoever waits for the end may close the cache.
                drop(cache);
                shared.changed.notify_all();
            })
            .map_err(|error| Error::new(ErrorCode::Io, "cannot start a thread").with_source(error))?;
        running.auditor = Some(thread);
        Ok(())
    }

    /// Compares all rows of a table with those of its source, and mends those that differ.
    pub(super) fn audit(&self, table: &str) -> Result<AuditReport> {
        let Some(shared) = self.of(table) else {
            self.cache.table(table)?;
            return Err(Error::new(
                ErrorCode::Unsupported,
                format!(
                    "table `{table}` does not follow its source (`refresh = \"changes\"`): what is refreshed now and then differs from a source that has \
                     changed since, and the next refresh mends it"
                ),
            ));
        };
        audit::now(&self.cache, &shared, table)
    }

    fn start(&self, source_name: &str, source: &Arc<dyn Source>) -> Result<Arc<Shared>> {
        let mut running = self.running.lock();
        if let Some(running) = running.get(source_name) {
            return Ok(running.shared.clone());
        }
        let shared = Arc::new(Shared::new(source_name, source.clone()));
        let follower = Follower::new(self.cache.clone(), shared.clone());
        let ended = shared.clone();
        let thread = std::thread::Builder::new()
            .name("pillion-follow".to_owned())
            .spawn(move || {
                follower.run();
                // Whoever waits for the end may close the cache.
                drop(follower);
                ended.state.lock().has_ended = true;
                ended.changed.notify_all();
            })
            .map_err(|error| Error::new(ErrorCode::Io, "cannot start a thread").with_source(error))?;
        running.insert(source_name.to_owned(), Running { shared: shared.clone(), thread, auditor: None });
        Ok(shared)
    }

    /// The follower of a table that is declared to follow.
    fn of(&self, table: &str) -> Option<Arc<Shared>> {
        let running = self.running.lock();
        let found = running.values().find(|running| running.shared.state.lock().tables.contains_key(table));
        found.map(|running| running.shared.clone())
    }

    /// Whether tables follow a source, or followed it and are not forgotten there yet.
    pub(super) fn follow(&self, source_name: &str) -> bool {
        self.running.lock().contains_key(source_name)
    }

    /// Whether a table is declared to follow.
    pub(super) fn has(&self, table: &str) -> bool {
        self.of(table).is_some()
    }

    /// A table is not declared any more, if it was.
    pub(super) fn withdraw(&self, table: &str) {
        if let Some(shared) = self.of(table) {
            shared.withdraw(table);
        }
    }

    /// A table is fed in another way from now on, or not any more: its rows count as out of step.
    pub(super) fn leave(&self, table: &str) -> Result<()> {
        self.withdraw(table);
        let Ok(held) = self.cache.table(table) else { return Ok(()) };
        if !self.is_in_step(&held)? {
            return Ok(());
        }
        let WritePolicy::Source(position) = &held.rules.write_policy else { return Ok(()) };
        let source = position.split('/').next().unwrap_or_default();
        let shared = self.running.lock().get(source).map(|running| running.shared.clone());
        let mut left = shared.as_ref().map(|shared| shared.left.lock());
        if let Some(left) = &mut left {
            left.insert(table.to_owned());
        }
        let record = self.cache.source_position(position)?.as_deref().and_then(Record::decode);
        let record = Record::new(record.map_or(0, |record| record.definition), None).encode()?;
        let forgotten = crate::storage::Change::Position { source: position.clone(), position: record };
        self.cache.write_changes(vec![forgotten], std::time::SystemTime::now())?;
        drop(left);
        self.look();
        Ok(())
    }

    /// Whether the rows of a table were in step with a feed when they were last changed.
    pub(super) fn is_in_step(&self, held: &TableInfo) -> Result<bool> {
        let WritePolicy::Source(position) = &held.rules.write_policy else { return Ok(false) };
        let record = self.cache.source_position(position)?.as_deref().and_then(Record::decode);
        Ok(record.is_some_and(|record| record.epoch.is_some()))
    }

    /// The records that are forgotten with a table. Its columns are known until the feed has no such table any more.
    pub(super) fn records_of(&self, held: &TableInfo) -> Result<Vec<String>> {
        let WritePolicy::Source(position) = &held.rules.write_policy else { return Ok(Vec::new()) };
        let source = position.strip_suffix(&held.name).and_then(|source| source.strip_suffix('/'));
        let record = self.cache.source_position(position)?.as_deref().and_then(Record::decode);
        Ok(match (source, record) {
            (Some(source), Some(_)) => {
                let audit = audit::audit_name(source, &held.name);
                let is_kept = self.cache.source_position(&audit)?.is_some();
                std::iter::once(position_name(source, &held.name)).chain(is_kept.then_some(audit)).collect()
            }
            _ => Vec::new(),
        })
    }

    /// Lets all followers look at what is committed.
    pub(super) fn look(&self) {
        let all: Vec<Arc<Shared>> =
            self.running.lock().values().map(|running| running.shared.clone()).collect();
        for shared in all {
            shared.wish(|_| ());
        }
    }

    /// Waits until a table has everything that its source has now. One that is stale is copied anew.
    pub(super) fn refresh(&self, table: &str) -> Result<Version> {
        let shared = self.of(table).ok_or_else(|| not_followed(table))?;
        let (is_in_step, is_streaming, attempts) = {
            let state = shared.state.lock();
            (state.in_step.contains(table), state.is_streaming, state.attempts())
        };
        // A table that follows already needs no hurry.
        if !is_in_step || !is_streaming {
            shared.wish(|state| {
                if let Some(declared) = state.tables.get_mut(table) {
                    declared.is_asked = true;
                    declared.due = None;
                }
            });
            self.wait(table, &shared, None, |state| match state.failure_since(table, attempts) {
                _ if state.in_step.contains(table) => Some(Ok(())),
                Some(error) => Some(Err(super::scheduler::again(&error))),
                None => None,
            })?;
        }
        let newest = shared.source.newest_position(&Call::within(ASK_TIMEOUT))?;
        let attempts = shared.state.lock().attempts();
        self.wait(table, &shared, None, |state| {
            if let Some(error) = state.failure_since(table, attempts) {
                return Some(Err(super::scheduler::again(&error)));
            }
            has_reached(state, table, &shared, &newest)
        })?;
        self.cache.version()
    }

    /// Waits until a table has everything up to a position.
    pub(super) fn wait_for(&self, table: &str, position: &[u8], limit: Duration) -> Result<Version> {
        let shared = self.of(table).ok_or_else(|| not_followed(table))?;
        // What is not a position is refused at once, also before the table is copied.
        shared.source.behind(position, position)?;
        let deadline = Instant::now().checked_add(limit);
        self.wait(table, &shared, deadline, |state| has_reached(state, table, &shared, position))?;
        self.cache.version()
    }

    fn wait(
        &self,
        table: &str,
        shared: &Shared,
        deadline: Option<Instant>,
        mut done: impl FnMut(&shared::State) -> Option<Result<()>>,
    ) -> Result<()> {
        let mut state = shared.state.lock();
        loop {
            if state.is_stopping {
                return Err(stopping());
            }
            if !state.tables.contains_key(table) {
                return Err(Error::new(
                    ErrorCode::Cancelled,
                    format!("table `{table}` was dropped meanwhile"),
                ));
            }
            if let Some(result) = done(&state) {
                return result;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                let why = state.waiting_for(table);
                return Err(Error::new(
                    ErrorCode::Timeout,
                    format!("table `{table}` has not reached the position in time: {why}"),
                ));
            }
            wanted::wait(&shared.changed, &mut state, table, deadline)?;
        }
    }

    /// How all tables that follow stand.
    pub(super) fn statuses(&self) -> Vec<RefreshStatus> {
        let all: Vec<Arc<Shared>> =
            self.running.lock().values().map(|running| running.shared.clone()).collect();
        let of_one = |shared: &Arc<Shared>| {
            let state = shared.state.lock();
            state.tables.keys().filter_map(|table| state.status(table, shared)).collect::<Vec<_>>()
        };
        all.iter().flat_map(of_one).collect()
    }

    /// Ends all followers, and waits until they have ended.
    pub(super) fn stop(&self) {
        let running = std::mem::take(&mut *self.running.lock());
        for follower in running.values() {
            follower.shared.stop();
        }
        let patience = Instant::now() + STOP_PATIENCE;
        for (source, follower) in running {
            let mut state = follower.shared.state.lock();
            let has_ended = |state: &shared::State| {
                let is_over = |thread: &JoinHandle<()>| thread.is_finished();
                (state.has_ended || follower.thread.is_finished())
                    && follower.auditor.as_ref().is_none_or(is_over)
            };
            while !has_ended(&state) {
                let look_at = patience.min(Instant::now() + END_PAUSE);
                follower.shared.changed.wait_until(&mut state, look_at);
                if patience <= Instant::now() {
                    tracing::error!(source, "the source does not heed the end of its calls; left alone");
                    break;
                }
            }
        }
    }
}

fn has_reached(state: &shared::State, table: &str, shared: &Shared, wanted: &[u8]) -> Option<Result<()>> {
    let reached = state.reached.as_deref().filter(|_| state.in_step.contains(table))?;
    match shared.source.behind(reached, wanted) {
        Ok(0) => Some(Ok(())),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }
}

fn not_followed(table: &str) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("table `{table}` does not follow its source"))
}
