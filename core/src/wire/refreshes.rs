//! Messages about refreshes of tables from sources.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::message::ErrorMessage;
use crate::types::clock::{freshness_at, nanoseconds_of};
use crate::way::refreshing::{RefreshState, RefreshStatus};

/// How the refreshes of all tables stand.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RefreshesReply {
    pub(crate) refreshes: Vec<RefreshMessage>,
}

/// How the refreshes of a table stand.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RefreshMessage {
    pub(crate) table: String,
    pub(crate) source: String,
    pub(crate) state: StateMessage,
    pub(crate) succeeded: u64,
    pub(crate) failures: u32,
    #[serde(default)]
    pub(crate) last_error: Option<ErrorMessage>,
    /// In nanoseconds since 1970.
    #[serde(default)]
    pub(crate) last_success: Option<i64>,
}

/// What a table waits for. Times are in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum StateMessage {
    Waiting { next: Option<u64> },
    Due {},
    Running { rows: u64, bytes: u64, expected_rows: Option<u64>, elapsed: u64 },
    Paused {},
}

/// Changes how a table is refreshed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Steer {
    pub(crate) table: String,
    pub(crate) action: SteerAction,
}

/// What becomes of the refreshes of a table.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum SteerAction {
    /// The one under way is given up.
    Cancel,
    /// None begins by itself.
    Pause,
    /// They begin again.
    Resume,
}

/// Whether a refresh was under way that was given up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SteerReply {
    pub(crate) was_given_up: bool,
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<RefreshStatus> for RefreshMessage {
    fn from(status: RefreshStatus) -> Self {
        let state = match status.state {
            RefreshState::Waiting(next) => StateMessage::Waiting { next: next.map(milliseconds) },
            RefreshState::Due => StateMessage::Due {},
            RefreshState::Running { rows, bytes, expected_rows, elapsed } => {
                StateMessage::Running { rows, bytes, expected_rows, elapsed: milliseconds(elapsed) }
            }
            RefreshState::Paused => StateMessage::Paused {},
        };
        Self {
            table: status.table,
            source: status.source,
            state,
            succeeded: status.succeeded,
            failures: status.failures,
            last_error: status.last_error.as_deref().map(ErrorMessage::new),
            last_success: status.last_success.map(nanoseconds_of),
        }
    }
}

impl From<RefreshMessage> for RefreshStatus {
    fn from(message: RefreshMessage) -> Self {
        let state = match message.state {
            StateMessage::Waiting { next } => RefreshState::Waiting(next.map(Duration::from_millis)),
            StateMessage::Due {} => RefreshState::Due,
            StateMessage::Running { rows, bytes, expected_rows, elapsed } => {
                RefreshState::Running { rows, bytes, expected_rows, elapsed: Duration::from_millis(elapsed) }
            }
            StateMessage::Paused {} => RefreshState::Paused,
        };
        let last_success: Option<SystemTime> = freshness_at(message.last_success).map(|moment| moment.as_of);
        Self {
            table: message.table,
            source: message.source,
            state,
            succeeded: message.succeeded,
            failures: message.failures,
            last_error: message.last_error.map(|error| Arc::new(error.into_error())),
            last_success,
        }
    }
}
