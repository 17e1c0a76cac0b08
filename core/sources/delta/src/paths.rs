//! The URLs that a table's log and the kernel have for files, and the names of these files below the location.

use object_store::path::Path;
use pillion::{Error, ErrorCode, Result};
use url::Url;

/// The folder of a table's log, in the folder of the table.
pub(crate) const LOG: &str = "_delta_log";

/// The URL of a location, and names below it.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    base: Url,
    /// The path of the URL, decoded and without `/` at its ends.
    root: String,
}

impl Paths {
    /// Those below a location, as `scheme://authority/path`; nothing in it is encoded.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`].
    pub(crate) fn new(location: &str) -> Result<Self> {
        let wrong = |why: &dyn std::fmt::Display| {
            Error::new(ErrorCode::InvalidArgument, format!("`{location}` is not a location of tables: {why}"))
        };
        let (scheme, rest) = location.split_once("://").ok_or_else(|| wrong(&"it has no scheme"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut base = Url::parse(&format!("{scheme}://{authority}")).map_err(|error| wrong(&error))?;
        let root: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match base.path_segments_mut() {
            Ok(mut segments) => {
                segments.clear().extend(&root);
            }
            Err(()) => return Err(wrong(&"nothing can be below it")),
        }
        Ok(Self { base, root: root.join("/") })
    }

    /// The URL of a folder below the location, with `/` at its end.
    pub(crate) fn folder_url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        // The base was made of segments, so it takes more of them.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/').filter(|part| !part.is_empty())).push("");
        }
        url
    }

    /// The URL of a file below the location.
    pub(crate) fn file_url(&self, path: &str) -> Url {
        let mut url = self.folder_url(path);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
        }
        url
    }

    /// The name below the location of what a URL means.
    ///
    /// # Errors
    /// [`ErrorCode::Unsupported`] for what is elsewhere: the credentials of the source are not for it.
    pub(crate) fn path_of(&self, url: &Url) -> Result<String> {
        let elsewhere = || {
            // Not what is behind the path: it may have a signature.
            let file = format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path());
            let message = format!(
                "the table has the file `{file}`, which is outside of `{}`: only files below the `url` of a source are read",
                self.base
            );
            Error::new(ErrorCode::Unsupported, message)
        };
        let place = |url: &Url| {
            (
                url.scheme().to_owned(),
                url.username().to_owned(),
                url.host_str().map(str::to_owned),
                url.port(),
            )
        };
        if place(url) != place(&self.base) || url.query().is_some() {
            return Err(elsewhere());
        }
        let path = Path::from_url_path(url.path()).map_err(|_| elsewhere())?;
        let below = path.as_ref().strip_prefix(self.root.as_str()).ok_or_else(elsewhere)?;
        match below.strip_prefix('/') {
            Some(below) => Ok(below.to_owned()),
            None if self.root.is_empty() || below.is_empty() => Ok(below.to_owned()),
            None => Err(elsewhere()),
        }
    }
}

/// The folder of a table, as a relation names it: without `/` at its ends, and empty for the location itself.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`].
pub(crate) fn table_path(text: &str) -> Result<String> {
    let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".");
    let parts: Vec<&str> = parts.collect();
    if parts.contains(&"..") {
        let message = format!("`{text}` is not a folder of a table: it leaves the folder of the source");
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    Ok(parts.join("/"))
}

/// A name in a folder; the folder may be the location itself.
pub(crate) fn in_folder(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use pillion_object_store::{Folder, Location};

    use super::*;

    #[test]
    fn a_name_becomes_a_url_and_back() {
        for (location, name, url) in [
            ("s3://bucket", "t/a b/x=1%25", "s3://bucket/t/a%20b/x=1%2525"),
            ("s3://bucket/lake/", "t/p", "s3://bucket/lake/t/p"),
            ("file:///srv/50% off", "t/p", "file:///srv/50%25%20off/t/p"),
            (
                "abfss://files@account.dfs.core.windows.net/lake",
                "t",
                "abfss://files@account.dfs.core.windows.net/lake/t",
            ),
        ] {
            let paths = Paths::new(location).unwrap();
            assert_eq!(paths.file_url(name).as_str(), url);
            assert_eq!(paths.path_of(&paths.file_url(name)).unwrap(), name);
            assert_eq!(paths.folder_url(name).as_str(), format!("{url}/"));
            assert_eq!(paths.path_of(&paths.folder_url(name)).unwrap(), name);
        }
        // A folder on disk that somebody names by a way through another one.
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a b/c")).unwrap();
        let location = dir.path().join("a b/c/../../a b");
        let folder = Folder::new(Location::new(location.to_str().unwrap())).unwrap();
        let paths = Paths::new(&folder.url()).unwrap();
        let url = paths.file_url("t/p");
        assert!(url.as_str().ends_with("/a%20b/t/p"), "{url}");
        assert_eq!(paths.path_of(&url).unwrap(), "t/p");
    }

    #[test]
    fn files_elsewhere_are_refused() {
        let paths = Paths::new("s3://bucket/lake").unwrap();
        let table = paths.folder_url("t");
        let of = |text: &str| paths.path_of(&table.join(text).unwrap());
        assert_eq!(of("../u/p.parquet").unwrap(), "u/p.parquet", "a shallow clone of a neighbour");
        for elsewhere in [
            "../../other/p",
            "s3://other/lake/p",
            "https://bucket/lake/p",
            "file:///lake/p",
            "s3://bucket/lakes/p",
        ] {
            let error = of(elsewhere).unwrap_err();
            assert_eq!(error.code(), ErrorCode::Unsupported, "{elsewhere}");
        }
        let signed = of("https://user:MsPw55@example.org/a%20b/p?sig=MsPw55#MsPw55").unwrap_err();
        assert!(signed.message().contains("`https://example.org/a%20b/p`"), "{signed}");
        assert!(!signed.message().contains("MsPw55"), "{signed}");
    }

    #[test]
    fn a_relation_names_a_folder() {
        for (text, path) in [("events", "events"), ("/a/./b/", "a/b"), (".", ""), ("", "")] {
            assert_eq!(table_path(text).unwrap(), path);
        }
        assert_eq!(table_path("a/../b").unwrap_err().code(), ErrorCode::InvalidArgument);
        assert_eq!(
            (in_folder("", LOG), in_folder("t", LOG)),
            ("_delta_log".to_owned(), "t/_delta_log".to_owned())
        );
    }
}
