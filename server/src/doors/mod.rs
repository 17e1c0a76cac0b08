//! The doors of a sidecar beside its socket.

#[cfg(feature = "flight")]
mod flight_sql;
#[cfg(feature = "http")]
mod http;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pillion::Cache;
use pillion_access::{Access, AccessError, Anonymous, Permissions};

use crate::config::{Config, DoorListen, DoorTls};
use crate::exit::Exit;
use crate::failure::Failure;

/// The name of the HTTP door, also of its section.
const HTTP: &str = "http";
/// The name of the Flight SQL door, also of its section.
const FLIGHT_SQL: &str = "flight_sql";

/// Whether this build has the door of `[http]`.
pub(crate) const HAS_HTTP: bool = cfg!(feature = "http");
/// Whether this build has the door of `[flight_sql]`.
pub(crate) const HAS_FLIGHT_SQL: bool = cfg!(feature = "flight");

/// The open doors.
pub(crate) struct Doors {
    /// Who may use them, if one is open.
    access: Option<Arc<Access>>,
    #[cfg(feature = "http")]
    http: Option<pillion_http::HttpServer>,
    #[cfg(feature = "flight")]
    flight_sql: Option<pillion_flight::FlightServer>,
}

/// Checks what doors need, and describes each behind its name; opens none.
///
/// # Errors
/// [`Exit::Usage`] for tokens and certificates that cannot be used.
pub(crate) fn check(config: &Config) -> Result<Vec<(&'static str, String)>, Failure> {
    // Also those that no door asks for now.
    access(config)?;
    let mut described = Vec::new();
    if let Some(door) = &config.http {
        #[cfg(feature = "http")]
        http::check(door)?;
        described.push((HTTP, self::described(config, &door.listen, &door.tls, &door.anonymous)));
    }
    if let Some(door) = &config.flight_sql {
        #[cfg(feature = "flight")]
        flight_sql::check(door)?;
        described.push((FLIGHT_SQL, self::described(config, &door.listen, &door.tls, &door.anonymous)));
    }
    Ok(described)
}

/// Where a door listens, and who may use it.
fn described(
    config: &Config,
    listen: &DoorListen,
    tls: &Option<DoorTls>,
    anonymous: &Option<Permissions>,
) -> String {
    let names = config.tokens.iter().map(|token| format!("`{}` ({})", token.name, token.permissions));
    let anonymous = anonymous.iter().map(|permissions| format!("anyone ({permissions})"));
    let who: Vec<String> = names.chain(anonymous).collect();
    let encrypted = if tls.is_some() { " with TLS" } else { "" };
    format!("{listen}{encrypted} for {}", who.join(", "))
}

/// As [`check`], and finds out whether the doors can be bound, although that is done later: a problem is reported before long loads.
///
/// # Errors
/// As [`check`], and of binding.
pub(crate) fn check_sockets(config: &Config) -> Result<(), Failure> {
    check(config)?;
    #[cfg(feature = "http")]
    if let Some(door) = &config.http {
        http::check_socket(config, door)?;
    }
    #[cfg(feature = "flight")]
    if let Some(door) = &config.flight_sql {
        flight_sql::check_socket(config, door)?;
    }
    Ok(())
}

impl Doors {
    /// Opens the doors that a configuration names.
    ///
    /// # Errors
    /// As [`check`], and of binding.
    pub(crate) fn open(cache: &Cache, config: &Config) -> Result<Self, Failure> {
        let has_door = config.http.is_some() || config.flight_sql.is_some();
        let access = has_door.then(|| access(config).map(Arc::new)).transpose()?;
        // One for all doors, so that permissions hold on each alike.
        #[cfg(feature = "http")]
        let http = match (&config.http, &access) {
            (Some(door), Some(access)) => Some(http::open(cache, config, door, access.clone())?),
            _ => None,
        };
        #[cfg(feature = "flight")]
        let flight_sql = match (&config.flight_sql, &access) {
            (Some(door), Some(access)) => Some(flight_sql::open(cache, config, door, access.clone())?),
            _ => None,
        };
        #[cfg(not(any(feature = "http", feature = "flight")))]
        let _ = cache;
        Ok(Self {
            access,
            #[cfg(feature = "http")]
            http,
            #[cfg(feature = "flight")]
            flight_sql,
        })
    }

    /// Who may use them, if one is open.
    pub(crate) fn access(&self) -> Option<Arc<Access>> {
        self.access.clone()
    }

    /// From now on, Unix sockets of doors admit the users that a configuration names.
    pub(crate) fn set_users(&self, config: &Config) {
        #[cfg(feature = "http")]
        if let Some(door) = &self.http {
            door.set_users(http::users(config));
        }
        #[cfg(feature = "flight")]
        if let Some(door) = &self.flight_sql {
            door.set_users(flight_sql::users(config));
        }
        #[cfg(not(any(feature = "http", feature = "flight")))]
        let _ = config;
    }

    /// Accepts no more requests, and returns at once.
    pub(crate) fn begin_to_stop(&self) {
        #[cfg(feature = "http")]
        if let Some(door) = &self.http {
            door.begin_to_stop();
        }
        #[cfg(feature = "flight")]
        if let Some(door) = &self.flight_sql {
            door.begin_to_stop();
        }
    }

    /// Waits for requests under way, for at most this long.
    pub(crate) fn stop(self, patience: Duration) {
        let begun = Instant::now();
        let left = || patience.saturating_sub(begun.elapsed());
        #[cfg(feature = "http")]
        if let Some(door) = self.http {
            door.stop(left());
        }
        #[cfg(feature = "flight")]
        if let Some(door) = self.flight_sql {
            door.stop(left());
        }
        let _ = left;
    }

    /// Why a door no longer serves, if that is so.
    pub(crate) fn failure(&self) -> Option<String> {
        let failure: Option<String> = None;
        #[cfg(feature = "http")]
        let failure = failure.or_else(|| self.http.as_ref().and_then(pillion_http::HttpServer::failure));
        #[cfg(feature = "flight")]
        let failure =
            failure.or_else(|| self.flight_sql.as_ref().and_then(pillion_flight::FlightServer::failure));
        failure
    }
}

/// From now on, doors admit the tokens that a configuration names, for what it permits. Reads the files of tokens.
///
/// # Errors
/// As [`check`]. Nothing is changed then.
pub(crate) fn admit(access: &Access, config: &Config) -> Result<(), Failure> {
    access.adjust(config.tokens.iter().cloned(), anonymous(config)).map_err(|error| unusable(&error))
}

/// Who may use the doors. Reads the files of tokens.
fn access(config: &Config) -> Result<Access, Failure> {
    Access::new(config.tokens.iter().cloned(), anonymous(config)).map_err(|error| unusable(&error))
}

/// What clients without a token may do at each door.
fn anonymous(config: &Config) -> Anonymous {
    let http = config.http.as_ref().and_then(|door| door.anonymous.clone());
    let flight_sql = config.flight_sql.as_ref().and_then(|door| door.anonymous.clone());
    let doors = [(HTTP, http), (FLIGHT_SQL, flight_sql)];
    Anonymous::at(doors.into_iter().filter_map(|(door, permissions)| Some((door, permissions?))))
}

fn unusable(error: &AccessError) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}
