//! What a changed configuration changes in a sidecar that runs.

use std::collections::BTreeSet;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use pillion::Cache;
use pillion_access::Access;

use super::log::LogHandle;
use super::reloader::Asked;
use super::{Event, spawn, tables};
use crate::config::{Config, Reload, TableConfig, verify};
use crate::doors;
use crate::failure::Failure;
use crate::sources;

/// A sidecar that runs, as far as a reload changes it.
pub(super) struct Running {
    pub(super) cache: Cache,
    pub(super) log: LogHandle,
    pub(super) events: Sender<Event>,
    /// Told what could not be loaded.
    pub(super) asked: Sender<Asked>,
    /// Who may use the doors, if one is open.
    pub(super) access: Option<Arc<Access>>,
}

/// What of a configuration could not be taken in although nothing is wrong with it, such as on a full disk.
#[derive(Debug, Default)]
pub(super) struct Missing {
    pub(super) sources: BTreeSet<String>,
    pub(super) tables: BTreeSet<String>,
    /// Whether the limits of the cache stay as they were.
    pub(super) limits: bool,
}

impl Missing {
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.tables.is_empty() && !self.limits
    }

    /// The configuration `next` without what is missing, which stays as it is in `now`.
    pub(super) fn without(&self, now: &Config, mut next: Config) -> Config {
        next.sources.retain(|source| !self.sources.contains(&source.name));
        next.sources.extend(now.sources.iter().filter(|it| self.sources.contains(&it.name)).cloned());
        next.tables.retain(|table| !self.tables.contains(&table.name));
        next.tables.extend(now.tables.iter().filter(|it| self.tables.contains(&it.name)).cloned());
        next
    }
}

impl Running {
    /// Takes in a configuration in the place of `now`, and returns the one that holds from now on, with what is missing: the new
    /// one, except for the keys that need a restart. Tables of files that are new are loaded in the background, so that nothing
    /// waits for them. Blocks for as long as it takes to look at the files that the configuration names.
    ///
    /// # Errors
    /// Everything that is wrong with it. Nothing is changed then.
    pub(super) fn take_in(&self, now: &Config, mut next: Config) -> Result<(Config, Missing), Failure> {
        self.check(now, &next)?;
        let kept = keep_what_needs_a_restart(now, &mut next);
        // First, because files of tokens may have changed since they were checked; then nothing else is taken in.
        if let Some(access) = &self.access {
            doors::admit(access, &next)?;
        }
        let limits = is_missing("limits", self.cache.adjust(&next.cache_options()).map_err(Failure::from));
        let mut missing = Missing { limits, ..Missing::default() };
        self.log.set_level(next.log.level);
        self.take_in_sources(now, &next, &mut missing);
        self.take_in_tables(now, &next, &mut missing);
        for key in kept {
            tracing::warn!(key, "changed in the configuration; it holds after a restart");
        }
        Ok((next, missing))
    }

    fn take_in_sources(&self, now: &Config, next: &Config, missing: &mut Missing) {
        for source in &next.sources {
            let known = now.sources.iter().find(|known| known.name == source.name);
            if known == Some(source) {
                continue;
            }
            // One that the configuration did not name any more may still be known.
            if is_missing(&source.name, sources::add(&self.cache, source, true)) {
                missing.sources.insert(source.name.clone());
                continue;
            }
            let what = if known.is_some() { "source changed" } else { "source added" };
            tracing::info!(source = source.name, "{what}");
        }
    }

    fn take_in_tables(&self, now: &Config, next: &Config, missing: &mut Missing) {
        let is_fed =
            |name: &str| next.tables.iter().any(|table| table.name == name && table.source.is_some());
        for table in now.tables.iter().filter(|table| table.source.is_some() && !is_fed(&table.name)) {
            let left = self.cache.unfollow_table(&table.name).map(drop).map_err(Failure::from);
            if is_missing(&table.name, left) {
                missing.tables.insert(table.name.clone());
            } else {
                tracing::info!(table = table.name, "table kept, and refreshed no longer");
            }
        }
        for table in &next.tables {
            let is_new = now.tables.iter().all(|known| !is_alike(known, table));
            if let Some(definition) = table.fed_definition().filter(|_| is_new)
                && is_missing(&table.name, tables::follow(&self.cache, table, definition))
            {
                missing.tables.insert(table.name.clone());
            }
        }
        match self.load(now, next) {
            Ok(()) => {}
            Err((tables, failure)) => {
                is_missing("tables of files", Err(failure));
                missing.tables.extend(tables);
            }
        }
    }

    /// Finds everything that is wrong with a configuration, as `config check` does.
    fn check(&self, now: &Config, next: &Config) -> Result<(), Failure> {
        doors::check(next)?;
        let held = self.cache.tables()?;
        let (sources, mut problems) = verify::sources(next);
        for table in &next.tables {
            problems.extend(verify::conflict(table, &held));
            problems.extend(verify::incapable(table, &sources));
            if table.source.is_none() && now.tables.iter().all(|known| !is_alike(known, table)) {
                problems.extend(verify::files_of(table).1);
            }
        }
        match problems.first() {
            None => Ok(()),
            Some((exit, _)) => {
                let messages: Vec<&str> = problems.iter().map(|(_, message)| message.as_str()).collect();
                Err(Failure::new(*exit, messages.join("\n")))
            }
        }
    }

    /// Loads tables of files that are new, or are to be loaded again and whose files changed, one after another. Tells which
    /// could not be loaded, once that is known.
    ///
    /// # Errors
    /// If no load begins: which tables then wait for one, and why.
    fn load(&self, now: &Config, next: &Config) -> Result<(), (Vec<String>, Failure)> {
        let of_files = || next.tables.iter().filter(|table| table.source.is_none());
        let names =
            |tables: &mut dyn Iterator<Item = &TableConfig>| tables.map(|table| table.name.clone()).collect();
        let held = self.cache.tables().map_err(|error| (names(&mut of_files()), Failure::from(error)))?;
        let held: BTreeSet<String> = held.into_iter().map(|table| table.name).collect();
        let is_wanted = |table: &&TableConfig| {
            let is_changed = now.tables.iter().all(|known| !is_alike(known, table));
            // One that is not there yet and has not changed is being loaded.
            is_changed && (!held.contains(&table.name) || table.reload == Reload::Start)
        };
        let wanted: Vec<TableConfig> = of_files().filter(is_wanted).cloned().collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let begun = spawn("pillion-load", &self.events, {
            let (cache, asked, wanted) = (self.cache.clone(), self.asked.clone(), wanted.clone());
            move || {
                // The loads of a later configuration come later, whatever those before take.
                let _order = LOADS.lock().unwrap_or_else(PoisonError::into_inner);
                for table in wanted {
                    // One bad table keeps no other from being loaded.
                    if let Err(failure) = tables::load(&cache, &table) {
                        tracing::error!(table = table.name, error = failure.to_string(), "table not loaded");
                        // Nobody listens any more if the sidecar ends.
                        let _ = asked.send(Asked::AgainFor(table.name));
                    }
                }
            }
        });
        begun.map_err(|failure| (names(&mut wanted.iter()), failure))
    }
}

/// Held by the loads of one configuration.
static LOADS: Mutex<()> = Mutex::new(());

/// Logs what could not be taken in although nothing is wrong with it.
fn is_missing(name: &str, taken_in: Result<(), Failure>) -> bool {
    taken_in
        .inspect_err(|failure| tracing::error!(name, error = failure.to_string(), "not taken in"))
        .is_err()
}

/// Whether two sections of a table say the same.
fn is_alike(known: &TableConfig, table: &TableConfig) -> bool {
    known.name == table.name && format!("{known:?}") == format!("{table:?}")
}

/// Puts the old settings of the HTTP door into a configuration, except for what clients without a token may do; returns whether
/// they were others.
fn keep_http(now: &Config, next: &mut Config) -> bool {
    let mut kept = now.http.clone();
    if let (Some(kept), Some(next)) = (&mut kept, &next.http) {
        kept.anonymous.clone_from(&next.anonymous);
    }
    let is_changed = kept != next.http;
    next.http = kept;
    is_changed
}

/// The same for the Flight SQL door.
fn keep_flight_sql(now: &Config, next: &mut Config) -> bool {
    let mut kept = now.flight_sql.clone();
    if let (Some(kept), Some(next)) = (&mut kept, &next.flight_sql) {
        kept.anonymous.clone_from(&next.anonymous);
    }
    let is_changed = kept != next.flight_sql;
    next.flight_sql = kept;
    is_changed
}

/// Puts the old values of keys that need a restart into a configuration, and returns those whose new values are others.
fn keep_what_needs_a_restart(now: &Config, next: &mut Config) -> Vec<&'static str> {
    let mut kept = Vec::new();
    if keep_http(now, next) {
        kept.push("http");
    }
    if keep_flight_sql(now, next) {
        kept.push("flight_sql");
    }
    macro_rules! keep {
        ($($($field:ident).+ => $key:literal,)+) => {
            $(if now.$($field).+ != next.$($field).+ {
                next.$($field).+ = now.$($field).+.clone();
                kept.push($key);
            })+
        };
    }
    keep! {
        dir => "dir",
        socket => "socket",
        durability => "durability",
        load_memory => "load_memory",
        history => "history",
        query_memory => "query_memory",
        query_threads => "query_threads",
        result_cache => "result_cache",
        spill_dir => "spill_dir",
        handshake_timeout => "handshake_timeout",
        upload_timeout => "upload_timeout",
        shared_memory => "shared_memory",
        shared_memory_per_user => "shared_memory_per_user",
        shared_memory_per_connection => "shared_memory_per_connection",
        access.socket_mode => "access.socket_mode",
        access.attach => "access.attach",
        health.listen => "health.listen",
        log.format => "log.format",
    }
    kept
}
