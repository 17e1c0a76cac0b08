//! Which cache a command works on.

use clap::Args;
use pillion::Cache;

use crate::failure::Failure;

/// Which cache a command works on.
#[derive(Args, Debug)]
pub struct Connection {
    /// The cache: a directory, or a URL such as file:/var/lib/pillion or unix:/run/pillion/pillion.sock
    // Required, but clap does not check it: its message would not mention the environment variable.
    #[arg(long, env = "PILLION_URL", value_name = "DIR|URL", hide_env_values = true)]
    pub url: Option<String>,
}

impl Connection {
    /// Opens the cache for reading, beside its owner if it has one.
    ///
    /// # Errors
    /// Those of [`Cache::from_url`].
    pub fn read(&self) -> Result<Cache, Failure> {
        Ok(Cache::from_url_to_read(self.url()?)?)
    }

    /// The same as [`read`](Self::read), but asks the sidecar if the URL names a socket and does not say how to attach:
    /// the sidecar knows more about itself than its files tell.
    ///
    /// # Errors
    /// Those of [`Cache::from_url`].
    pub fn ask(&self) -> Result<Cache, Failure> {
        let url = self.url()?;
        let asks = url.starts_with("unix:") && !url.contains("attach=");
        let separator = if url.contains('?') { '&' } else { '?' };
        let asking = asks.then(|| format!("{url}{separator}attach=never"));
        Ok(Cache::from_url_to_read(asking.as_deref().unwrap_or(url))?)
    }

    /// Opens or creates the cache for writing.
    ///
    /// # Errors
    /// Those of [`Cache::from_url`].
    pub fn write(&self) -> Result<Cache, Failure> {
        Ok(Cache::from_url(self.url()?)?)
    }

    fn url(&self) -> Result<&str, Failure> {
        self.url.as_deref().filter(|url| !url.is_empty()).ok_or_else(|| {
            Failure::usage("which cache?").hint("give its directory with --url DIR, or set PILLION_URL")
        })
    }
}
