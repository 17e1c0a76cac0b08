//! Messages about refreshes of tables from sources.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::message::ErrorMessage;
use super::value::WireValue;
use crate::types::clock::{freshness_at, nanoseconds_of};
use crate::types::value::Value;
use crate::way::refreshing::{
    AuditReport, AuditStatus, Divergence, DivergentRow, FollowPhase, FollowStatus, KeptName, RefreshState,
    RefreshStatus,
};

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) audit: Option<AuditedMessage>,
    /// In milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lag_time: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) names: Vec<KeptMessage>,
}

/// What a source keeps under a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptMessage {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) bytes: Option<u64>,
    #[serde(default)]
    pub(crate) user: Option<String>,
    pub(crate) is_own: bool,
}

/// What audits of a table have found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct AuditedMessage {
    /// In nanoseconds since 1970.
    pub(crate) ended: i64,
    pub(crate) rows: u64,
    pub(crate) divergent_rows: u64,
}

/// A position of the source of a table is waited for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WaitFor {
    pub(crate) table: String,
    #[serde(with = "serde_bytes")]
    pub(crate) position: Vec<u8>,
    /// For how long, in milliseconds.
    pub(crate) limit: u64,
}

/// What an audit found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AuditReply {
    pub(crate) table: String,
    pub(crate) rows: u64,
    pub(crate) divergent_rows: u64,
    pub(crate) mended_rows: u64,
    pub(crate) divergent: Vec<DivergentMessage>,
    /// In nanoseconds since 1970.
    #[serde(default)]
    pub(crate) sound_since: Option<i64>,
    /// In milliseconds.
    pub(crate) elapsed: u64,
}

/// A row that differed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DivergentMessage {
    pub(crate) key: Vec<WireValue>,
    pub(crate) what: DivergenceMessage,
}

/// How it did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum DivergenceMessage {
    Changed,
    Missing,
    Extra,
}

impl From<AuditReport> for AuditReply {
    fn from(report: AuditReport) -> Self {
        let divergent = report.divergent.into_iter().map(|row| DivergentMessage {
            key: row.key.iter().map(|value| WireValue::from(value.borrow())).collect(),
            what: match row.what {
                Divergence::Changed => DivergenceMessage::Changed,
                Divergence::Missing => DivergenceMessage::Missing,
                Divergence::Extra => DivergenceMessage::Extra,
            },
        });
        Self {
            table: report.table,
            rows: report.rows,
            divergent_rows: report.divergent_rows,
            mended_rows: report.mended_rows,
            divergent: divergent.collect(),
            sound_since: report.sound_since.map(nanoseconds_of),
            elapsed: milliseconds(report.elapsed),
        }
    }
}

impl From<AuditReply> for AuditReport {
    fn from(reply: AuditReply) -> Self {
        let divergent = reply.divergent.into_iter().map(|row| DivergentRow {
            key: row.key.into_iter().map(|value| value.into_value().unwrap_or(Value::Null)).collect(),
            what: match row.what {
                DivergenceMessage::Changed => Divergence::Changed,
                DivergenceMessage::Missing => Divergence::Missing,
                DivergenceMessage::Extra => Divergence::Extra,
            },
        });
        Self {
            table: reply.table,
            rows: reply.rows,
            divergent_rows: reply.divergent_rows,
            mended_rows: reply.mended_rows,
            divergent: divergent.collect(),
            sound_since: freshness_at(reply.sound_since).map(|moment| moment.as_of),
            elapsed: Duration::from_millis(reply.elapsed),
        }
    }
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
        let FollowStatus { name, position, last_commit, lag, lag_time, names, audit, .. } = status;
        let (lag_time, last_commit) = (lag_time.map(milliseconds), last_commit.map(nanoseconds_of));
        let names = names.into_iter().map(|KeptName { name, bytes, user, is_own }| KeptMessage {
            name,
            bytes,
            user,
            is_own,
        });
        let names = names.collect();
        let audit = audit.map(|AuditStatus { ended, rows, divergent_rows }| AuditedMessage {
            ended: nanoseconds_of(ended),
            rows,
            divergent_rows,
        });
        Self { phase, name, position, last_commit, lag, audit, lag_time, names }
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
        let FollowingMessage { name, position, last_commit, lag, audit, lag_time, names, .. } = message;
        let names = names.into_iter().map(|KeptMessage { name, bytes, user, is_own }| KeptName {
            name,
            bytes,
            user,
            is_own,
        });
        let (lag_time, names) = (lag_time.map(Duration::from_millis), names.collect());
        let last_commit = freshness_at(last_commit).map(|moment| moment.as_of);
        let audit = audit.and_then(|AuditedMessage { ended, rows, divergent_rows }| {
            Some(AuditStatus { ended: freshness_at(Some(ended))?.as_of, rows, divergent_rows })
        });
        Self { phase, name, position, last_commit, lag, lag_time, names, audit }
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
