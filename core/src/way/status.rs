//! What is known of a cache as a whole.

use std::fmt;

use super::table_info::TableInfo;
use crate::types::version::Version;

/// How a cache is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Way {
    /// The cache runs in this process, which owns the directory.
    Embedded,
    /// Another process owns the directory, or nobody does. This one maps its files read-only and reads them without a
    /// message; a sidecar, if it connected to one, makes its writes.
    Attached,
    /// A sidecar answers every call over its socket.
    Remote,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Attached => f.write_str("attached"),
            Self::Remote => f.write_str("remote"),
        }
    }
}

/// The state of a cache as a whole.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// How it is reached.
    pub way: Way,
    /// Its directory.
    pub dir: std::path::PathBuf,
    /// Its newest version.
    pub version: Version,
    /// Its tables, by name.
    pub tables: Vec<TableInfo>,
    /// What was found damaged when the cache was opened, and was left out.
    pub damage: Option<String>,
    /// What went wrong with the disk, if a write has failed: the cache takes no more writes, and its owner must open
    /// it again. Always `None` for an attached cache; a remote one asks its sidecar.
    pub poisoned: Option<String>,
    /// The last sign of life of the owner, if that is another process and was ever seen.
    pub owner: Option<OwnerSeen>,
}

/// A sign of life of the owner of a directory.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OwnerSeen {
    /// When it was last seen alive; an owner that lives renews it every second.
    pub at: std::time::SystemTime,
    /// Whether it closed the cache.
    pub closed: bool,
}
