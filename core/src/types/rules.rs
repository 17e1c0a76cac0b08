//! What a table is to be, beside its columns and rows.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Who may change the rows of a table. Everybody may drop it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WritePolicy {
    /// Everybody who may write, in every way.
    #[default]
    Anyone,
    /// Rows are added and none is changed: [`Table::append`](crate::Table::append) alone is allowed. They may age out all the
    /// same ([`TableDefinition::retain`](crate::TableDefinition::retain)).
    AppendOnly,
    /// A source of this name feeds the table, in transactions that say how far it was read
    /// ([`Transaction::source_position`](crate::Transaction::source_position)). Others may only
    /// [invalidate](crate::Table::invalidate) rows: what they write would be lost when the source tells of the row again.
    Source(String),
}

impl fmt::Display for WritePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::AppendOnly => f.write_str("append_only"),
            Self::Source(name) => write!(f, "source:{name}"),
        }
    }
}

/// How long rows stay in a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Retention {
    /// The column of times or dates that tells how old a row is; a null never grows old.
    pub column: String,
    /// Older rows are removed.
    #[serde(with = "nanoseconds")]
    pub age: Duration,
}

impl Retention {
    /// Rows stay until the time in a column is so long ago, which is 584 years at most.
    pub fn new(column: impl Into<String>, age: Duration) -> Self {
        Self { column: column.into(), age: age.min(Duration::from_nanos(u64::MAX)) }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` up to {:?} ago", self.column, self.age)
    }
}

/// What a definition asks for, and a table is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableRules {
    pub(crate) primary_key: Vec<String>,
    /// Empty: the primary key.
    pub(crate) sort_by: Vec<String>,
    pub(crate) write_policy: WritePolicy,
    pub(crate) retention: Option<Retention>,
}

/// Durations as whole nanoseconds, up to 584 years.
mod nanoseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(age: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}
