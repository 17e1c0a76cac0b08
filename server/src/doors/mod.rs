//! The doors of a sidecar beside its socket.

#[cfg(feature = "http")]
mod http;

use std::sync::Arc;
use std::time::Duration;

use pillion::Cache;
use pillion_access::Access;

use crate::config::{Config, HttpConfig};
use crate::exit::Exit;
use crate::failure::Failure;

/// The open doors.
pub(crate) struct Doors {
    #[cfg(feature = "http")]
    http: Option<pillion_http::HttpServer>,
}

/// Whether this build has the door of `[http]`.
pub(crate) const HAS_HTTP: bool = cfg!(feature = "http");

/// Checks what doors need, and describes each; opens none.
///
/// # Errors
/// [`Exit::Usage`] for tokens and certificates that cannot be used.
pub(crate) fn check(config: &Config) -> Result<Vec<String>, Failure> {
    let Some(http) = &config.http else { return Ok(Vec::new()) };
    access(config, http)?;
    #[cfg(feature = "http")]
    http::check(http)?;
    let names = config.tokens.iter().map(|token| format!("`{}` ({})", token.name, token.permissions));
    let anonymous = http.anonymous.iter().map(|permissions| format!("anyone ({permissions})"));
    let who: Vec<String> = names.chain(anonymous).collect();
    let encrypted = if http.tls.is_some() { " with TLS" } else { "" };
    Ok(vec![format!("{}{encrypted} for {}", http.listen, who.join(", "))])
}

impl Doors {
    /// Opens the doors that a configuration names.
    ///
    /// # Errors
    /// As [`check`], and of binding.
    pub(crate) fn open(cache: &Cache, config: &Config) -> Result<Self, Failure> {
        let access = config.http.as_ref().map(|http| access(config, http)).transpose()?.map(Arc::new);
        #[cfg(not(feature = "http"))]
        drop((cache, access));
        Ok(Self {
            #[cfg(feature = "http")]
            http: match (&config.http, access) {
                (Some(http), Some(access)) => Some(http::open(cache, config, http, access)?),
                _ => None,
            },
        })
    }

    /// Accepts no more requests, and returns at once.
    pub(crate) fn begin_to_stop(&self) {
        #[cfg(feature = "http")]
        if let Some(http) = &self.http {
            http.begin_to_stop();
        }
    }

    /// Waits for requests under way, for at most this long.
    pub(crate) fn stop(self, patience: Duration) {
        #[cfg(feature = "http")]
        if let Some(http) = self.http {
            http.stop(patience);
        }
        #[cfg(not(feature = "http"))]
        let _ = patience;
    }

    /// Why a door no longer serves, if that is so.
    pub(crate) fn failure(&self) -> Option<String> {
        #[cfg(feature = "http")]
        return self.http.as_ref().and_then(pillion_http::HttpServer::failure);
        #[cfg(not(feature = "http"))]
        None
    }
}

/// Who may use the doors. Reads the files of tokens.
fn access(config: &Config, http: &HttpConfig) -> Result<Access, Failure> {
    Access::new(config.tokens.iter().cloned(), http.anonymous.clone())
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}
