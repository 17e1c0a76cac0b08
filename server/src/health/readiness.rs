//! When the tables of a cache are as the configuration wants them.

use std::collections::HashMap;

use pillion::{Cache, RefreshStatus, TableInfo};
use serde_json::{Value as Json, json};

use crate::config::Config;
use crate::output::units;

/// A reason why the sidecar is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotReady {
    /// The table that it concerns; `None`: all of the sidecar.
    pub(crate) table: Option<String>,
    /// What is missing, for people.
    pub(crate) reason: String,
}

impl NotReady {
    /// A reason that concerns all of the sidecar.
    pub(crate) fn of_all(reason: impl Into<String>) -> Self {
        Self { table: None, reason: reason.into() }
    }

    fn of(table: &str, reason: impl Into<String>) -> Self {
        Self { table: Some(table.to_owned()), reason: reason.into() }
    }
}

impl std::fmt::Display for NotReady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.table {
            Some(table) => write!(f, "table `{table}`: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// Why a cache is not ready, by the rules of a configuration; nothing if it is.
pub(crate) fn not_ready(cache: &Cache, config: &Config) -> Vec<NotReady> {
    let status = match cache.status() {
        Ok(status) => status,
        Err(error) => return vec![NotReady::of_all(error.message())],
    };
    let mut found = Vec::new();
    if let Some(poisoned) = status.poisoned {
        found.push(NotReady::of_all(format!("nothing can be written any more: {poisoned}")));
    }
    // Only the owner of a cache and its clients know of refreshes.
    let refreshes = cache.refreshes().unwrap_or_default();
    // By name, so that the time grows with the tables, and not with their square.
    let refreshes: Refreshes<'_> = refreshes.iter().map(|it| (it.table.as_str(), it)).collect();
    let held: HashMap<&str, &TableInfo> = status.tables.iter().map(|it| (it.name.as_str(), it)).collect();
    let wanted: Vec<&str> = match &config.health.ready_tables {
        Some(named) => named.iter().map(String::as_str).collect(),
        None => config.tables.iter().map(|table| table.name.as_str()).collect(),
    };
    for name in wanted {
        match held.get(name) {
            None => found.push(NotReady::of(name, not_loaded(name, &refreshes))),
            Some(table) if config.health.ready_fresh && is_stale(table) => {
                found.push(NotReady::of(name, stale(table, &refreshes)));
            }
            Some(_) => {}
        }
    }
    found
}

/// Whether reads of a table fail because its rows are too old.
pub(crate) fn is_stale(table: &TableInfo) -> bool {
    let Some(bound) = table.rules.max_staleness else { return false };
    table.freshness.is_none_or(|freshness| freshness.age() > bound)
}

/// The reasons as JSON.
pub(crate) fn reasons(not_ready: &[NotReady]) -> Json {
    not_ready.iter().map(|it| json!({ "table": it.table, "reason": it.reason })).collect()
}

/// How refreshes stand, by table.
type Refreshes<'a> = HashMap<&'a str, &'a RefreshStatus>;

fn not_loaded(table: &str, refreshes: &Refreshes<'_>) -> String {
    with_failure("it is not loaded yet".to_owned(), table, refreshes)
}

fn stale(table: &TableInfo, refreshes: &Refreshes<'_>) -> String {
    let age = table
        .freshness
        .map_or_else(|| "of unknown age".to_owned(), |it| format!("{} old", units::age(it.age())));
    let bound = table.rules.max_staleness.map(units::age).unwrap_or_default();
    with_failure(format!("its rows are {age}, and may be at most {bound} old"), &table.name, refreshes)
}

/// The same with the reason why the last refresh failed, if it did.
fn with_failure(reason: String, table: &str, refreshes: &Refreshes<'_>) -> String {
    match refreshes.get(table).and_then(|refresh| refresh.last_error.as_ref()) {
        Some(error) => format!("{reason}; the last refresh failed: {}", error.message()),
        None => reason,
    }
}
