//! A store that was reached: listings and ranges of files, and what its errors mean.

use std::error::Error as _;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use pillion::{Error, ErrorCode, Result};

use crate::names::suggestion;
use crate::pattern::Pattern;
use crate::schemes::{Scheme, hide};

/// Files up to so many bytes are read in one request.
const SMALL_FILE: u64 = 1 << 20;
/// As `SMALL_FILE`, where a server may not be able to give parts of files.
const SMALL_FILE_HTTP: u64 = 8 << 20;

/// A store as its client library opened it.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
    pub(crate) secrets: Vec<String>,
    pub(crate) scheme: Scheme,
}

/// Clones are the same store.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) opened: Arc<Opened>,
    shown: Arc<str>,
}

/// A file as a listing found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Below the root of the source.
    pub(crate) path: String,
    pub(crate) meta: ObjectMeta,
}

impl Store {
    pub(crate) fn new(opened: Opened, shown: &str) -> Self {
        Self { opened: Arc::new(opened), shown: shown.into() }
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.opened.scheme
    }

    pub(crate) fn is_on_disk(&self) -> bool {
        self.scheme() == Scheme::Local
    }

    /// Whether the server may be one that gives files only as a whole.
    pub(crate) fn may_lack_ranges(&self) -> bool {
        self.scheme().is_plain_http()
    }

    /// Files up to so many bytes are read in one request.
    pub(crate) fn small_file(&self) -> u64 {
        if self.may_lack_ranges() { SMALL_FILE_HTTP } else { SMALL_FILE }
    }

    /// How errors name a file.
    pub(crate) fn name_of(&self, path: &str) -> String {
        format!("{}/{path}", self.shown)
    }

    /// The files of a pattern, in the order of their names.
    ///
    /// # Errors
    /// [`ErrorCode::SourceNotFound`] for a path without a file, and those of reaching the store.
    pub(crate) async fn list(self, pattern: Pattern) -> Result<Vec<Found>> {
        if let Some(path) = pattern.path() {
            let location = self.location(path)?;
            let meta = self.opened.store.head(&location).await;
            let meta = meta.map_err(|error| self.error(&self.name_of(path), &error))?;
            return Ok(vec![Found { path: path.to_owned(), meta }]);
        }
        let folder = self.location(pattern.folder())?;
        let listed = self.opened.store.list(Some(&folder)).try_filter_map(|meta| {
            let path = self.below_root(&meta.location);
            let found = path.filter(|path| pattern.matches(path)).map(|path| Found { path, meta });
            std::future::ready(Ok(found))
        });
        let listed: std::result::Result<Vec<Found>, _> = listed.try_collect().await;
        let mut files = match listed {
            Ok(files) => files,
            // A folder that is not there has no files.
            Err(object_store::Error::NotFound { .. }) if self.scheme() == Scheme::Local => Vec::new(),
            Err(error) => return Err(self.list_error(pattern.text(), &error)),
        };
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Names of files and folders in the root; those of folders end with `/`.
    ///
    /// # Errors
    /// Those of reaching the store.
    pub(crate) async fn top(self) -> Result<Vec<String>> {
        let listed = self.opened.store.list_with_delimiter(Some(&self.opened.root)).await;
        let listed = listed.map_err(|error| self.list_error("", &error))?;
        let folders = listed.common_prefixes.iter().filter_map(|path| Some(self.below_root(path)? + "/"));
        let files = listed.objects.iter().filter_map(|meta| self.below_root(&meta.location));
        let mut names: Vec<String> =
            folders.chain(files).filter(|name| !name.starts_with(['.', '_'])).collect();
        names.sort();
        Ok(names)
    }

    /// Bytes of a file as it was when it was listed.
    ///
    /// # Errors
    /// [`ErrorCode::SourceUnavailable`], also if the file is another one by now.
    pub(crate) async fn read(self, found: Arc<Found>, range: Range<u64>) -> Result<Bytes> {
        let is_whole = range == (0..found.meta.size);
        let mut options = GetOptions::new().with_if_match(tag_for_condition(self.scheme(), &found.meta));
        if !is_whole {
            options = options.with_range(Some(GetRange::Bounded(range.clone())));
        }
        let name = self.name_of(&found.path);
        let wrong = |error: object_store::Error| self.read_error(&name, &error);
        let answer = self.opened.store.get_opts(&found.meta.location, options).await.map_err(wrong)?;
        if !is_same(&answer.meta, &found.meta) || answer.range != range {
            return Err(replaced(&name));
        }
        let bytes = answer.bytes().await.map_err(wrong)?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(replaced(&name));
        }
        Ok(bytes)
    }

    /// Succeeds if a file is still the one that was listed.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) async fn look_again(self, found: Arc<Found>) -> Result<()> {
        let name = self.name_of(&found.path);
        let now = self.opened.store.head(&found.meta.location).await;
        match now.map_err(|error| self.read_error(&name, &error))? {
            now if is_same(&now, &found.meta) => Ok(()),
            _ => Err(replaced(&name)),
        }
    }

    pub(crate) fn location(&self, path: &str) -> Result<Path> {
        let below = Path::parse(path).map_err(|error| {
            Error::new(ErrorCode::InvalidArgument, format!("`{path}` cannot be the name of a file: {error}"))
        })?;
        Ok(self.opened.root.parts().chain(below.parts()).collect())
    }

    pub(crate) fn below_root(&self, location: &Path) -> Option<String> {
        let root = self.opened.root.as_ref();
        let rest = location.as_ref().strip_prefix(root)?;
        Some(if root.is_empty() { rest } else { rest.strip_prefix('/')? }.to_owned())
            .filter(|path| !path.is_empty())
    }

    pub(crate) fn list_error(&self, pattern: &str, error: &object_store::Error) -> Error {
        let folder = self.name_of(pattern);
        if self.may_lack_ranges() && !matches!(error, object_store::Error::Unauthenticated { .. }) {
            let (said, shown) = (error.to_string(), self.shown_error(error));
            if said.contains("error sending request") {
                return Error::new(ErrorCode::SourceUnavailable, format!("cannot list `{folder}`: {shown}"));
            }
            let message = format!(
                "the server does not list the files of `{folder}`: name a file without wildcards ({shown})"
            );
            return Error::new(ErrorCode::Unsupported, message);
        }
        self.error(&folder, error)
    }

    fn read_error(&self, name: &str, error: &object_store::Error) -> Error {
        use object_store::Error as E;
        match error {
            E::NotFound { .. } | E::Precondition { .. } => replaced(name),
            error => self.error(name, error),
        }
    }

    pub(crate) fn error(&self, name: &str, error: &object_store::Error) -> Error {
        use object_store::Error as E;
        let (code, what) = match error {
            E::NotFound { .. } => (ErrorCode::SourceNotFound, "is not there"),
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
                (ErrorCode::SourceRefused, "may not be read with these credentials")
            }
            E::InvalidPath { .. } => (ErrorCode::SourceInvalid, "has a name that cannot be read"),
            E::NotSupported { .. } | E::NotImplemented { .. } => (
                ErrorCode::Unsupported,
                "cannot be read: the server lacks what this needs, such as ranges of bytes",
            ),
            // Listings have no kinds of errors.
            _ => match status_of(&error.to_string()) {
                Some(401 | 403) => (ErrorCode::SourceRefused, "may not be read with these credentials"),
                Some(404) => (ErrorCode::SourceNotFound, "is not there"),
                _ => (ErrorCode::SourceUnavailable, "cannot be read"),
            },
        };
        Error::new(code, format!("`{name}` {what}: {}", self.shown_error(error)))
    }

    /// What an error says, with its cause, without secrets and without the page that some servers send along.
    fn shown_error(&self, error: &object_store::Error) -> String {
        let said = error.to_string();
        let lower = said.to_ascii_lowercase();
        let page = ["<!doctype html", "<html"].iter().filter_map(|tag| lower.find(tag)).min();
        let said = said.get(..page.unwrap_or(said.len())).unwrap_or(&said);
        let said = said.trim_end_matches([' ', ':', '\n', '\r']);
        // The message of a request that could not be sent does not say why: an unknown certificate, a closed port.
        let cause = std::iter::successors(error.source(), |&error: &&(dyn std::error::Error + 'static)| {
            error.source()
        })
        .last();
        match cause.map(ToString::to_string).filter(|cause| page.is_none() && !said.contains(cause.as_str()))
        {
            Some(cause) => hide(&self.opened.secrets, &format!("{said}: {cause}")),
            None => hide(&self.opened.secrets, said),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.shown).finish()
    }
}

/// The status of an answer that an error tells.
fn status_of(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The error of a file that is not the one that was listed.
fn replaced(name: &str) -> Error {
    let message =
        format!("`{name}` was replaced or removed while it was read: nothing of it was kept, read it again");
    Error::new(ErrorCode::SourceUnavailable, message)
}

/// The tag for a condition, if the listing has it as the store compares it: strong, and on a network in quotes.
fn tag_for_condition(scheme: Scheme, meta: &ObjectMeta) -> Option<String> {
    meta.e_tag.clone().filter(|tag| scheme == Scheme::Local || tag.starts_with('"'))
}

/// Whether two answers are about the same content. Listings write tags without quotes, and some servers round times.
fn is_same(now: &ObjectMeta, listed: &ObjectMeta) -> bool {
    let bare = |meta: &ObjectMeta| {
        meta.e_tag.as_deref().map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned())
    };
    let tags = match (bare(now), bare(listed)) {
        (Some(now), Some(listed)) => now == listed,
        _ => now.last_modified.timestamp() == listed.last_modified.timestamp(),
    };
    tags && now.size == listed.size
}

/// The error of a pattern without files.
pub(crate) fn nothing_matches(store: &Store, pattern: &Pattern, top: &[String]) -> Error {
    let first = pattern.text().split('/').next().unwrap_or_default();
    let near = suggestion(first, top.iter().map(|name| name.trim_end_matches('/')));
    let message = format!(
        "no file matches `{}`{near}; with the options `empty` and `types` such a table has no rows",
        store.name_of(pattern.text())
    );
    Error::new(ErrorCode::SourceNotFound, message)
}
