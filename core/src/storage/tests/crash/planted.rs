//! Syncs that are not worth what they should be, to see that the search notices.

use std::path::Path;

use crate::storage::vfs::faulty::is_below;

/// The name of a manifest until it is complete.
pub(super) const UNFINISHED_MANIFEST: &str = "manifest.tmp";

/// A bug that the search must find: syncs that have no effect, or come too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    NoSyncOfFolders,
    NoSyncOfTableFolders,
    NoSyncOfLogFolder,
    NoSyncOfLogs,
    NoSyncOfSegments,
    NoSyncOfManifests,
    /// A manifest gets its name first, and is synced only then.
    LateSyncOfManifests,
}

impl Planted {
    pub(super) fn forgets_file(self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match self {
            Self::NoSyncOfLogs => name.ends_with(".log"),
            Self::NoSyncOfSegments => name.ends_with(".arrow"),
            Self::NoSyncOfManifests => name.starts_with("manifest"),
            _ => false,
        }
    }

    pub(super) fn delays_file(self, path: &Path) -> bool {
        self == Self::LateSyncOfManifests && path.ends_with(UNFINISHED_MANIFEST)
    }

    pub(super) fn forgets_folder(self, path: &Path) -> bool {
        match self {
            Self::NoSyncOfFolders => true,
            Self::NoSyncOfTableFolders => is_below(path, "tables"),
            Self::NoSyncOfLogFolder => path.ends_with("log"),
            _ => false,
        }
    }
}
