//! A changed configuration, taken in while the sidecar runs: whole, or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

use pillion::{Cache, Server};

use super::log::LogHandle;
use super::{Event, spawn, tables};
use crate::config::{Config, Reload, TableConfig, verify};
use crate::failure::Failure;
use crate::sources;

/// What tells one state of a file from another. A symbolic link that is moved to another file changes it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Fingerprint {
    /// That of the file at a path; `None` if there is none now.
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        let modified = (found.mtime(), found.mtime_nsec());
        Some(Self { device: found.dev(), inode: found.ino(), len: found.len(), modified })
    }
}

/// The file of the configuration, looked at now and then.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    taken: Option<Fingerprint>,
    seen: Option<Fingerprint>,
}

impl ConfigFile {
    /// The file, as it is now.
    pub(super) fn new(path: PathBuf) -> Self {
        let taken = Fingerprint::of(&path);
        Self { path, taken, seen: taken }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has changed, and has been the same in two looks: a file that is being written is left to the next look.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = Fingerprint::of(&self.path);
        let is_still = now.is_some() && now == self.seen;
        self.seen = now;
        is_still && now != self.taken
    }

    /// It is read as it is now.
    pub(super) fn taken(&mut self) {
        self.taken = Fingerprint::of(&self.path);
        self.seen = self.taken;
    }
}

/// A sidecar that runs, as far as a reload changes it.
pub(super) struct Running<'a> {
    pub(super) cache: &'a Cache,
    pub(super) server: &'a Server,
    pub(super) log: &'a LogHandle,
    pub(super) events: &'a Sender<Event>,
}

impl Running<'_> {
    /// Takes in a configuration in the place of `now`, and returns the one that holds from now on: the new one, except for the
    /// keys that need a restart. Tables of files that are new are loaded in the background, so that nothing waits for them.
    ///
    /// # Errors
    /// Everything that is wrong with it. Nothing is changed then.
    pub(super) fn take_in(&self, now: &Config, mut next: Config) -> Result<Config, Failure> {
        self.check(now, &next)?;
        let kept = keep_what_needs_a_restart(now, &mut next);
        tell("limits", self.cache.adjust(&next.cache_options()).map_err(Failure::from));
        self.server.adjust(&next.server_options());
        self.log.set_level(next.log.level);
        self.take_in_sources(now, &next);
        self.take_in_tables(now, &next);
        for key in kept {
            tracing::warn!(key, "changed in the configuration; it holds after a restart");
        }
        Ok(next)
    }

    fn take_in_sources(&self, now: &Config, next: &Config) {
        for source in &next.sources {
            let known = now.sources.iter().find(|known| known.name == source.name);
            if known == Some(source) {
                continue;
            }
            // One that the configuration did not name any more may still be known.
            tell(&source.name, sources::add(self.cache, source, true));
            let what = if known.is_some() { "source changed" } else { "source added" };
            tracing::info!(source = source.name, "{what}");
        }
    }

    fn take_in_tables(&self, now: &Config, next: &Config) {
        let is_fed =
            |name: &str| next.tables.iter().any(|table| table.name == name && table.source.is_some());
        for table in now.tables.iter().filter(|table| table.source.is_some() && !is_fed(&table.name)) {
            tell(&table.name, self.cache.unfollow_table(&table.name).map(drop).map_err(Failure::from));
            tracing::info!(table = table.name, "table kept, and refreshed no longer");
        }
        for table in &next.tables {
            let is_new = now.tables.iter().all(|known| !is_alike(known, table));
            if let Some(definition) = table.fed_definition().filter(|_| is_new) {
                tell(&table.name, tables::follow(self.cache, table, definition));
            }
        }
        tell("tables of files", self.load(now, next));
    }

    /// Finds everything that is wrong with a configuration, as `config check` does.
    fn check(&self, now: &Config, next: &Config) -> Result<(), Failure> {
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

    /// Loads tables of files that are new, or are to be loaded again and whose files changed, one after another.
    fn load(&self, now: &Config, next: &Config) -> Result<(), Failure> {
        let held: BTreeSet<String> = self.cache.tables()?.into_iter().map(|table| table.name).collect();
        let is_wanted = |table: &&TableConfig| {
            let is_changed = now.tables.iter().all(|known| !is_alike(known, table));
            table.source.is_none()
                && (!held.contains(&table.name) || is_changed && table.reload == Reload::Start)
        };
        let wanted: Vec<TableConfig> = next.tables.iter().filter(is_wanted).cloned().collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let cache = self.cache.clone();
        spawn("pillion-load", self.events, move || {
            // The loads of a later configuration come later, whatever those before take.
            let _order = LOADS.lock().unwrap_or_else(PoisonError::into_inner);
            for table in wanted {
                // One bad table keeps no other from being loaded.
                if let Err(failure) = tables::load(&cache, &table) {
                    tracing::error!(table = table.name, error = failure.to_string(), "table not loaded");
                }
            }
        })
    }
}

/// Held by the loads of one configuration.
static LOADS: Mutex<()> = Mutex::new(());

/// Logs what could not be taken in although nothing is wrong with it: everything else is.
fn tell(name: &str, taken_in: Result<(), Failure>) {
    if let Err(failure) = taken_in {
        tracing::error!(name, error = failure.to_string(), "not taken in");
    }
}

/// Whether two sections of a table say the same.
fn is_alike(known: &TableConfig, table: &TableConfig) -> bool {
    known.name == table.name && format!("{known:?}") == format!("{table:?}")
}

/// Puts the old values of keys that need a restart into a configuration, and returns those whose new values are others.
fn keep_what_needs_a_restart(now: &Config, next: &mut Config) -> Vec<&'static str> {
    let mut kept = Vec::new();
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
