//! What is known of the audits of a table, also after a restart.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::types::clock::{freshness_at, nanoseconds_of};
use crate::way::refreshing::AuditStatus;

/// A source position of the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::refresh::follow) struct AuditRecord {
    /// When the last audit ended, in nanoseconds since 1970.
    #[serde(default)]
    pub(super) ended: Option<i64>,
    /// The rows that it compared.
    #[serde(default)]
    pub(super) rows: u64,
    /// Rows that differed, in all audits.
    #[serde(default)]
    pub(super) divergent_rows: u64,
    /// When the rows were last known to be those of the source: all of them were compared or copied.
    #[serde(default)]
    pub(super) sound: Option<i64>,
}

/// The name under which the record of a table is kept. No source has an empty name.
pub(in crate::refresh::follow) fn audit_name(source: &str, table: &str) -> String {
    format!("//{source}/{table}")
}

impl AuditRecord {
    pub(in crate::refresh::follow) fn sound(&self) -> Option<SystemTime> {
        freshness_at(self.sound).map(|moment| moment.as_of)
    }

    /// All rows were those of the source at a moment.
    pub(in crate::refresh::follow) fn sound_at(self, moment: SystemTime) -> Self {
        Self { sound: Some(nanoseconds_of(moment)), ..self }
    }

    pub(in crate::refresh::follow) fn status(&self) -> Option<AuditStatus> {
        let ended = freshness_at(self.ended)?.as_of;
        Some(AuditStatus { ended, rows: self.rows, divergent_rows: self.divergent_rows })
    }
}
