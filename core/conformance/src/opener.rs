//! What a way in provides to the suite.

use pillion::{Cache, Version};

/// A way into a cache.
pub trait Opener {
    /// Opens a cache over a fresh directory.
    fn open(&self) -> Box<dyn Opened>;
}

/// An open cache: a handle that writes, and the handle under test. They are the same if the way in can write.
///
/// The directory is removed when this is dropped.
pub trait Opened {
    /// The handle through which rows get into the cache.
    fn writer(&self) -> &Cache;

    /// The handle under test.
    fn reader(&self) -> &Cache;

    /// The handle that owns the directory, and can be told of sources.
    fn owner(&self) -> &Cache {
        self.writer()
    }

    /// Whether the handle under test reaches the sources of the owner.
    fn asks_sources(&self) -> bool {
        true
    }

    /// Returns when the handle under test sees everything up to `version`. A way in that does not follow the writer by
    /// itself replaces its handle by a newer one.
    fn catch_up(&mut self, version: Version);

    /// Closes all handles, the writer's cleanly, and opens the same directory again.
    fn reopen(&mut self);
}
