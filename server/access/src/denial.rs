//! Refusals: what clients are told of them, and what the log is.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::permissions::Right;

/// At most one refusal is logged in this time, so that a flood of them fills no disk. The next line says how many there were.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Why a client is refused. Holds nothing that it sent except names of tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It showed no token, and without one nobody is admitted.
    NoToken,
    /// It showed a token that no file has.
    UnknownToken,
    /// What it may do does not include this.
    Forbidden {
        /// The name of its token.
        name: Arc<str>,
        /// What it lacks.
        right: Right,
        /// The table that it is about.
        table: Option<String>,
    },
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoToken => f.write_str("a token is needed"),
            Self::UnknownToken => f.write_str("the token is not valid"),
            Self::Forbidden { name, right, table: Some(table) } => {
                write!(f, "`{name}` may not {right} the table `{table}`")
            }
            Self::Forbidden { name, right: Right::Administer, .. } => {
                write!(f, "`{name}` may not see how the process stands")
            }
            Self::Forbidden { name, right, .. } => write!(f, "`{name}` may not {right} any table"),
        }
    }
}

impl Error for Denied {}

/// Counts refusals and logs them.
#[derive(Debug, Default)]
pub struct Denials {
    count: AtomicU64,
    /// When one was logged last, and how many there were by then.
    logged: Mutex<Option<(Instant, u64)>>,
}

impl Denials {
    /// Refusals so far.
    pub fn so_far(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts a refusal at a door. A door also counts what it refuses by itself, such as a foreign host.
    pub fn count(&self, door: &'static str, why: &dyn fmt::Display) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut logged = self.logged.lock();
        let before = match *logged {
            Some((at, _)) if at.elapsed() < LOG_INTERVAL => return,
            Some((_, before)) => before,
            None => 0,
        };
        *logged = Some((Instant::now(), count));
        drop(logged);
        // Names that a client made up may be long, and may have line ends.
        let why: String = why.to_string().chars().take(200).flat_map(char::escape_debug).collect();
        tracing::warn!(door, denied = why, since_last_line = count.saturating_sub(before), "refused");
    }
}
