//! The doors of a sidecar beside its socket.

#[cfg(feature = "http")]
mod http;

use std::sync::Arc;
use std::time::Duration;

use pillion::Cache;
use pillion_access::{Access, AccessError};

use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;

/// The open doors.
pub(crate) struct Doors {
    /// Who may use them, if one is open.
    access: Option<Arc<Access>>,
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
    // Also those that no door asks for now.
    access(config)?;
    let Some(http) = &config.http else { return Ok(Vec::new()) };
    #[cfg(feature = "http")]
    http::check(http)?;
    let names = config.tokens.iter().map(|token| format!("`{}` ({})", token.name, token.permissions));
    let anonymous = http.anonymous.iter().map(|permissions| format!("anyone ({permissions})"));
    let who: Vec<String> = names.chain(anonymous).collect();
    let encrypted = if http.tls.is_some() { " with TLS" } else { "" };
    Ok(vec![format!("{}{encrypted} for {}", http.listen, who.join(", "))])
}

/// As [`check`], and finds out whether the doors can be bound, although that is done later: a problem is reported before long loads.
///
/// # Errors
/// As [`check`], and of binding.
pub(crate) fn check_sockets(config: &Config) -> Result<(), Failure> {
    check(config)?;
    #[cfg(feature = "http")]
    if let Some(http) = &config.http {
        http::check_socket(config, http)?;
    }
    Ok(())
}

impl Doors {
    /// Opens the doors that a configuration names.
    ///
    /// # Errors
    /// As [`check`], and of binding.
    pub(crate) fn open(cache: &Cache, config: &Config) -> Result<Self, Failure> {
        let Some(http) = &config.http else {
            return Ok(Self {
                access: None,
                #[cfg(feature = "http")]
                http: None,
            });
        };
        let access = Arc::new(access(config)?);
        #[cfg(not(feature = "http"))]
        let _ = (cache, http);
        Ok(Self {
            #[cfg(feature = "http")]
            http: Some(http::open(cache, config, http, access.clone())?),
            access: Some(access),
        })
    }

    /// Who may use them, if one is open.
    pub(crate) fn access(&self) -> Option<Arc<Access>> {
        self.access.clone()
    }

    /// From now on, Unix sockets of doors admit the users that a configuration names.
    pub(crate) fn set_users(&self, config: &Config) {
        #[cfg(feature = "http")]
        if let Some(http) = &self.http {
            http.set_users(http::users(config));
        }
        #[cfg(not(feature = "http"))]
        let _ = config;
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

/// From now on, doors admit the tokens that a configuration names, for what it permits. Reads the files of tokens.
///
/// # Errors
/// As [`check`]. Nothing is changed then.
pub(crate) fn admit(access: &Access, config: &Config) -> Result<(), Failure> {
    let anonymous = config.http.as_ref().and_then(|http| http.anonymous.clone());
    access.adjust(config.tokens.iter().cloned(), anonymous).map_err(|error| unusable(&error))
}

/// Who may use the doors. Reads the files of tokens.
fn access(config: &Config) -> Result<Access, Failure> {
    let anonymous = config.http.as_ref().and_then(|http| http.anonymous.clone());
    Access::new(config.tokens.iter().cloned(), anonymous).map_err(|error| unusable(&error))
}

fn unusable(error: &AccessError) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}
