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
    /// Another process owns the directory, or nobody; this one maps its files read-only and sends no message.
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

/// How a cache stands.
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
    /// What was found damaged when it was opened, and left out.
    pub damage: Option<String>,
    /// What went wrong with the disk, if a write failed since: the cache takes no more of them, and its owner must open it
    /// again. Attached handles are not told; the sidecar is asked for it with a remote one.
    pub poisoned: Option<String>,
    /// The owner, if that is another process that was ever seen.
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
