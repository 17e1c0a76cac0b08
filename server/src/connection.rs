//! Which cache a command works on.

use clap::Args;
use pillion::Cache;

use crate::failure::Failure;

/// Which cache a command works on.
#[derive(Args, Debug)]
pub struct Connection {
    /// The cache: a directory, or a URL such as file:/var/lib/pillion or unix:/run/pillion/pillion.sock
    // Required, but not of clap: its message would not say that there is a variable.
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

    /// As [`read`](Self::read), and asks the sidecar where there is one, unless the URL says how to attach: it knows more of
    /// itself than who reads its files.
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
