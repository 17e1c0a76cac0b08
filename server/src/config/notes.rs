//! Notes about settings that are allowed but probably not intended.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pillion::nearest;
use pillion_access::{Permissions, Tables};

use super::{Config, TableConfig};

/// Notes about settings that are allowed but probably not intended.
pub(crate) fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    let access = &config.access;
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let is_limited = !access.allow_uids.is_empty() || !access.allow_gids.is_empty();
    let mut groups = rustix::process::getgroups().unwrap_or_default();
    groups.push(rustix::process::getegid());
    let has_group = groups.iter().any(|group| access.allow_gids.contains(&group.as_raw()));
    if is_limited && !access.allow_uids.contains(&uid) && !has_group {
        notes.push(format!(
            "this user ({uid}, group {gid}) is not admitted: a probe that runs as it, such as `pillion status`, will fail"
        ));
    }
    let folder = config.socket.parent().unwrap_or_else(|| Path::new("/"));
    if let Ok(found) = folder.metadata()
        && found.mode() & 0o1002 == 0o002
    {
        notes.push(format!(
            "everyone may write {}, so everyone may put another socket there: use a folder of its own",
            folder.display()
        ));
    }
    notes.extend(config.tables.iter().filter_map(stale_between_refreshes));
    for token in &config.tokens {
        notes.extend(unknown_tables(config, &format!("[tokens.{}]", token.name), &token.permissions));
    }
    if let Some(anonymous) = config.http.as_ref().and_then(|http| http.anonymous.as_ref()) {
        notes.extend(unknown_tables(config, "[http.anonymous]", anonymous));
    }
    if let Some(anonymous) = config.flight_sql.as_ref().and_then(|door| door.anonymous.as_ref()) {
        notes.extend(unknown_tables(config, "[flight_sql.anonymous]", anonymous));
    }
    if config.http.is_none() && config.flight_sql.is_none() && !config.tokens.is_empty() {
        notes.push(
            "there are tokens and neither [http] nor [flight_sql], so no door asks for them".to_owned(),
        );
    }
    notes
}

/// Notes about permissions for tables that the configuration does not define. Clients may make such tables, so they are allowed.
fn unknown_tables(config: &Config, section: &str, permissions: &Permissions) -> Vec<String> {
    let known = || config.tables.iter().map(|table| table.name.as_str());
    let rights =
        [("read", &permissions.read), ("write", &permissions.write), ("refresh", &permissions.refresh)];
    let named = rights.into_iter().flat_map(|(right, tables)| match tables {
        Tables::Named(names) => names.iter().map(|name| (right, name.as_str())).collect(),
        _ => Vec::new(),
    });
    let unknown = named.filter(|(_, name)| known().all(|table| table != *name));
    unknown
        .map(|(right, name)| {
            let near = nearest(name, known()).map(|near| format!("; did you mean `{near}`?"));
            format!(
                "`{right}` of {section} names the table `{name}`, which this configuration does not define{}",
                near.unwrap_or_default()
            )
        })
        .collect()
}

/// The note about a table whose rows become too old before the next refresh.
fn stale_between_refreshes(table: &TableConfig) -> Option<String> {
    let (bound, interval) = (table.rules.max_staleness?, table.source.as_ref()?.interval()?);
    (bound <= interval).then(|| {
        format!(
            "table `{}`: `max_staleness` ({bound:?}) is not longer than the {interval:?} between refreshes, so reads fail until the next one",
            table.name
        )
    })
}
