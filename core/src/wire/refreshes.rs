//! Messages about refreshes of tables from sources.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::message::ErrorMessage;
use crate::types::clock::{freshness_at, nanoseconds_of};
use crate::way::refreshing::{FollowPhase, FollowStatus, RefreshState, RefreshStatus};

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
    /// Of a table that follows its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) following: Option<FollowingMessage>,
}

/// How a table stands that follows its source.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FollowingMessage {
    pub(crate) phase: PhaseMessage,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) position: Option<String>,
    /// In nanoseconds since 1970.
    #[serde(default)]
    pub(crate) last_commit: Option<i64>,
    #[serde(default)]
    pub(crate) lag: Option<u64>,
}

/// What such a table does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum PhaseMessage {
    Copying {},
    Following {},
    Waiting {},
    Stale { why: String },
}

impl From<FollowStatus> for FollowingMessage {
    fn from(status: FollowStatus) -> Self {
        let phase = match status.phase {
            FollowPhase::Copying => PhaseMessage::Copying {},
            FollowPhase::Following => PhaseMessage::Following {},
            FollowPhase::Waiting => PhaseMessage::Waiting {},
            FollowPhase::Stale(why) => PhaseMessage::Stale { why },
        };
        let FollowStatus { name, position, last_commit, lag, .. } = status;
        Self { phase, name, position, last_commit: last_commit.map(nanoseconds_of), lag }
    }
}

impl From<FollowingMessage> for FollowStatus {
    fn from(message: FollowingMessage) -> Self {
        let phase = match message.phase {
            PhaseMessage::Copying {} => FollowPhase::Copying,
            PhaseMessage::Following {} => FollowPhase::Following,
            PhaseMessage::Waiting {} => FollowPhase::Waiting,
            PhaseMessage::Stale { why } => FollowPhase::Stale(why),
        };
        let FollowingMessage { name, position, last_commit, lag, .. } = message;
        let last_commit = freshness_at(last_commit).map(|moment| moment.as_of);
        Self { phase, name, position, last_commit, lag }
    }
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
            following: status.following.map(Into::into),
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
            following: message.following.map(Into::into),
        }
    }
}
