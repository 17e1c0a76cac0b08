//! Where the files are, and how to reach them.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use pillion::source::Secret;
use pillion::{Error, ErrorCode, Result};

use crate::names::suggestion;
use crate::schemes::{Scheme, Settings};
use crate::store::Opened;

/// Options that are secrets, however they are given.
const SECRETS: [&str; 7] = [
    "access_key",
    "client_secret",
    "password",
    "sas_token",
    "secret_access_key",
    "service_account_key",
    "session_token",
];

/// Where files are: a URL, options, and secrets.
///
/// ```
/// use pillion_object_store::{Location, Secret};
///
/// let location = Location::new("s3://flights/2013")
///     .option("endpoint", "https://s3.example.org")
///     .option("region", "eu-west-1")
///     .secret("access_key_id", Secret::Environment("FLIGHTS_KEY".to_owned()))
///     .secret("secret_access_key", Secret::File("/run/secrets/flights".into()));
/// assert_eq!(format!("{location:?}").contains("eu-west-1"), true);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Location {
    url: Url,
    options: BTreeMap<String, String>,
    secrets: BTreeMap<String, Secret>,
}

/// The parts of a URL, without user and password.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    scheme: String,
    authority: String,
    path: String,
    /// It looks like a mistyped URL, so nothing of it is kept: a password may stand anywhere.
    is_mistyped: bool,
}

impl Location {
    /// A folder on disk, as a path or as `file:///folder`; a prefix of a bucket, as `s3://bucket/prefix`, `gs://bucket/prefix`
    /// or `az://container/prefix`; a folder of a server, as `https://host/folder`. The features of this crate say which of
    /// these there are.
    pub fn new(url: impl Into<String>) -> Self {
        let url = url.into();
        let Some((scheme, rest)) = url.split_once("://") else {
            let is_mistyped = is_mistyped(&url);
            let path = if is_mistyped { String::new() } else { url };
            let url = Url { scheme: "file".to_owned(), authority: String::new(), path, is_mistyped };
            return Self { url, options: BTreeMap::new(), secrets: BTreeMap::new() };
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let is_http = matches!(scheme, "http" | "https");
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) if is_http => (Some(user), host),
            _ => (None, authority),
        };
        let (scheme, authority, path) = (scheme.to_lowercase(), host.to_owned(), path.to_owned());
        let url = Url { scheme, authority, path, is_mistyped: false };
        let location = Self { url, options: BTreeMap::new(), secrets: BTreeMap::new() };
        match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((user, password)) => location.option("user", user).secret("password", password),
            None => location,
        }
    }

    /// An option; the documentation of the crate lists them. Names that are not known are refused when the source is made.
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        if SECRETS.contains(&name.as_str()) {
            return self.secret(name, value.into());
        }
        self.options.insert(name, value.into());
        self
    }

    /// An option that errors, logs and `Debug` never show. Every option can be given so.
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.secrets.insert(name.into(), value.into());
        self
    }

    /// Checks what can be checked without reaching the files.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`]; [`ErrorCode::Unsupported`] for a URL whose feature this build does not have.
    pub(crate) fn check(&self) -> Result<()> {
        if self.url.is_mistyped {
            let message = "the place is neither a URL nor a path: write a URL as `scheme://…`, and `./` in front of a path that looks like one";
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        let known = self.scheme()?.options();
        for name in self.options.keys().chain(self.secrets.keys()) {
            if !known.contains(&name.as_str()) {
                let scheme = &self.url.scheme;
                let mut message = format!(
                    "`{scheme}://` has no option `{name}`{}",
                    suggestion(name, known.iter().copied())
                );
                if !message.ends_with('?') && !known.is_empty() {
                    message = format!("{message}; there are {}", known.join(", "));
                }
                return Err(Error::new(ErrorCode::InvalidArgument, message));
            }
        }
        Ok(())
    }

    fn scheme(&self) -> Result<Scheme> {
        Scheme::of(&self.url.scheme)
    }

    /// Whether the files are on a server that gives files and lists none.
    pub(crate) fn is_plain_http(&self) -> bool {
        self.scheme().is_ok_and(Scheme::is_plain_http)
    }

    /// The folder, if it is on disk.
    pub(crate) fn folder(&self) -> Option<&FilePath> {
        let path = if self.url.path.is_empty() { "." } else { self.url.path.as_str() };
        (self.scheme().ok()? == Scheme::Local).then(|| FilePath::new(path))
    }

    /// How errors name it.
    pub(crate) fn shown(&self) -> String {
        let Url { scheme, authority, path, .. } = &self.url;
        let path = path.trim_end_matches('/');
        if scheme == "file" { path.to_owned() } else { format!("{scheme}://{authority}{path}") }
    }

    /// Which folder this is, without who asks for it.
    pub(crate) fn place(&self) -> String {
        let option = |name: &str| self.options.get(name).map_or("", String::as_str);
        match self.folder().and_then(|folder| std::path::absolute(folder).ok()) {
            Some(folder) => folder.display().to_string(),
            None => format!("{}?{}&{}", self.shown(), option("endpoint"), option("account")),
        }
    }

    /// The values of all options, with secrets as they are now.
    ///
    /// # Errors
    /// [`ErrorCode::SourceRefused`] for a secret that cannot be read.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let mut values = self.options.clone();
        let mut secrets = Vec::new();
        for (name, secret) in &self.secrets {
            let secret = secret.read()?;
            secrets.push(secret.clone());
            values.insert(name.clone(), secret);
        }
        Ok(Settings { values, secrets })
    }

    /// Makes the client; reaches nothing, except that a local folder must exist.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`]; [`ErrorCode::SourceNotFound`] for a local folder that is not there.
    pub(crate) fn open(&self, settings: Settings) -> Result<Opened> {
        let scheme = self.scheme()?;
        if scheme == Scheme::Local {
            return Ok(Opened {
                store: local(&self.url.path)?,
                root: Path::default(),
                secrets: settings.secrets,
                scheme,
            });
        }
        self.open_on_network(scheme, settings)
    }

    #[cfg(not(any(feature = "aws", feature = "gcp", feature = "azure", feature = "http")))]
    fn open_on_network(&self, _: Scheme, _: Settings) -> Result<Opened> {
        Err(Error::new(ErrorCode::Unsupported, format!("this build cannot read `{}`", self.shown())))
    }

    #[cfg(any(feature = "aws", feature = "gcp", feature = "azure", feature = "http"))]
    fn open_on_network(&self, scheme: Scheme, mut settings: Settings) -> Result<Opened> {
        // A server may repeat the header that has the password.
        settings.secrets.extend(crate::clients::basic(&settings));
        let Url { scheme: name, authority, path, .. } = &self.url;
        let wrong = |error: object_store::Error| {
            let text = settings.hide(&error.to_string());
            Error::new(ErrorCode::InvalidArgument, format!("cannot use `{}`: {text}", self.shown()))
        };
        let (below, root) = if scheme.is_plain_http() { (path.as_str(), "") } else { ("", path.as_str()) };
        let root = Path::parse(root.trim_matches('/')).map_err(|error| wrong(error.into()))?;
        let store = crate::clients::build(scheme, &format!("{name}://{authority}{below}"), &settings);
        Ok(Opened { store: store.map_err(wrong)?, root, secrets: settings.secrets, scheme })
    }
}

/// Whether a text without `://` was rather to be a URL than a path: it begins as `s3:/bucket`, or may hold a password as
/// `user:password@host`.
fn is_mistyped(text: &str) -> bool {
    let is_path = text.starts_with('.') || text.starts_with('/') && !text.starts_with("//");
    let after_colon = text.split_once(':').map_or("", |(_, rest)| rest);
    !is_path && (after_colon.starts_with('/') || after_colon.contains('@'))
}

fn local(folder: &str) -> Result<Arc<dyn ObjectStore>> {
    let folder = if folder.is_empty() { "." } else { folder };
    let missing = |why: String| {
        Error::new(ErrorCode::SourceNotFound, format!("cannot open the folder `{folder}`: {why}"))
    };
    match FilePath::new(folder).metadata() {
        Ok(found) if !found.is_dir() => return Err(missing("it is not a folder".to_owned())),
        Ok(_) => {}
        Err(error) => return Err(missing(error.to_string())),
    }
    match LocalFileSystem::new_with_prefix(folder) {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(missing(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_url_shows_no_password() {
        for text in [
            "postgresql:/u:MsPw55@db/shop",
            "postgresql:u:MsPw55@db/shop",
            "//u:MsPw55@db/shop",
            "u:MsPw55@db",
            "s3:/MsPw55",
        ] {
            let location = Location::new(text);
            let refused = location.check().unwrap_err();
            assert_eq!(refused.code(), ErrorCode::InvalidArgument);
            assert!(!format!("{refused:?} {location:?} {}", location.shown()).contains("MsPw55"), "{text}");
        }
        for path in ["/data/a:b@c", "./a:b@c", "at:noon", "a@b", "landing", "file:///a:b@c"] {
            assert!(Location::new(path).check().is_ok(), "{path}");
        }
    }
}
