//! A location, with the client that reaches it and the threads that wait for it.

use std::path::{Component, Path, PathBuf};

use parking_lot::Mutex;
use pillion::Result;
use pillion::source::{Call, Changed, Watch};
use pillion::{Error, ErrorCode};

use crate::files::Files;
use crate::location::Location;
use crate::runtime::Driver;
use crate::schemes::Settings;
use crate::store::Store;
use crate::watch::watch;

/// A location that is reached when something is asked of it, for connectors of table formats: their relations say by themselves
/// which files they consist of.
#[derive(Debug)]
pub struct Folder {
    location: Location,
    shown: String,
    driver: Driver,
    reached: Mutex<Option<Reached>>,
}

/// A client, with the settings that it was made with.
struct Reached {
    settings: Settings,
    store: Store,
}

impl Folder {
    /// Checks a location and reaches nothing.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for an unknown kind of URL or option;
    /// [`Unsupported`](ErrorCode::Unsupported) for a kind of URL whose feature this build does not have.
    pub fn new(location: Location) -> Result<Self> {
        location.check()?;
        let shown = location.shown();
        Ok(Self { location, shown, driver: Driver::new()?, reached: Mutex::new(None) })
    }

    /// Names the place, without who asks for it; see [`identity`](pillion::source::Source::identity).
    #[must_use]
    pub fn place(&self) -> String {
        self.location.place()
    }

    /// The URL of the folder, without user, password and options; an absolute `file:///…` without `..` on disk.
    #[must_use]
    pub fn url(&self) -> String {
        match self.on_disk() {
            Some(folder) => format!("file://{}", without_parents(folder).display()),
            None => self.shown.clone(),
        }
    }

    /// Whether the files are on a server that gives files and lists none.
    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.location.is_plain_http()
    }

    /// Its files, for the time of a call. Reads secrets again, and makes a new client if they changed.
    ///
    /// # Errors
    /// [`SourceRefused`](ErrorCode::SourceRefused) for a secret that cannot be read; [`InvalidArgument`](ErrorCode::InvalidArgument) for
    /// options that cannot be; [`SourceNotFound`](ErrorCode::SourceNotFound) for a folder on disk that is not there.
    pub fn files(&self, call: &Call) -> Result<Files> {
        Ok(Files::new(self.store()?, self.driver.clone(), call.clone()))
    }

    /// Whether changes of its files are [told](Self::watch): those on disk are.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.on_disk().is_some()
    }

    /// Tells changes of the files in a folder below this one until the answer is dropped; those of folders in it too, if `is_deep`.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorCode::Unsupported) for a folder that is not on disk; [`Io`](ErrorCode::Io) if the system does not watch it.
    pub fn watch(&self, below: &str, is_deep: bool, changed: Changed) -> Result<Watch> {
        match self.on_disk() {
            Some(folder) => watch(folder.join(below), is_deep, changed),
            None => Err(Error::new(ErrorCode::Unsupported, "only changes of folders on disk are told")),
        }
    }

    /// The folder, if it is on disk.
    fn on_disk(&self) -> Option<&Path> {
        self.location.folder()
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// The client. A new one if secrets changed.
    ///
    /// # Errors
    /// As [`files`](Self::files).
    pub(crate) fn store(&self) -> Result<Store> {
        let settings = self.location.settings()?;
        let mut reached = self.reached.lock();
        match &*reached {
            Some(known) if known.settings == settings && !known.store.is_on_disk() => Ok(known.store.clone()),
            _ => {
                let store = Store::new(self.location.open(settings.clone())?, &self.shown);
                *reached = Some(Reached { settings, store: store.clone() });
                Ok(store)
            }
        }
    }
}

impl std::fmt::Debug for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

/// A folder as an absolute path without `..`, which a URL cannot have. Links are followed only where that needs it: files that name others
/// by URLs name them as whoever wrote them came to them.
fn without_parents(folder: &Path) -> PathBuf {
    let has_parents = folder.components().any(|component| component == Component::ParentDir);
    let found = if has_parents { std::fs::canonicalize(folder).ok() } else { None };
    found.or_else(|| std::path::absolute(folder).ok()).unwrap_or_else(|| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_no_parents() {
        let dir = tempfile::tempdir().unwrap();
        let there = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let url = |path: &Path| Folder::new(Location::new(path.to_str().unwrap())).unwrap().url();
        assert_eq!(url(&dir.path().join("a/b/../../a")), format!("file://{}/a", there.display()));
        assert_eq!(url(dir.path()), format!("file://{}", dir.path().display()));
        assert_eq!(url(Path::new("/no/such/./lake")), "file:///no/such/lake");
    }
}
