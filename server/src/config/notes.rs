//! Notes about settings that are allowed but probably not intended.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
    notes
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
