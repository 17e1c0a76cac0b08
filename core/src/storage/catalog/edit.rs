//! What a commit changes, as it stands in the log and, summed up, in a manifest.
//!
//! Both are MessagePack with field names, so that a later version can add fields that this one skips.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::storage::table::deleted::DeletedRecord;
use crate::storage::tail::RowsRecord;
use crate::types::rules::{OnMiss, Retention, TableRules, WorkingSet, WritePolicy};

/// One change of the catalog or of rows; a commit is a list of them, applied in order, whole or not at all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Edit {
    /// A new, empty table.
    DefineTable(TableRecord),
    /// A table and all its rows are gone.
    DropTable {
        /// Its number.
        table: u64,
    },
    /// Complete, durable segment files now belong to a table.
    AddSegments {
        /// Its number.
        table: u64,
        /// The segments, oldest first.
        segments: Vec<SegmentRecord>,
        /// Rows of the table that are gone: replaced by new rows with the same keys, or expired.
        replaced: u64,
        /// The places of those that were in segments.
        deleted: Vec<DeletedRecord>,
    },
    /// Rows that stand in the record's data now belong to a table and replace those with the same keys.
    Insert {
        /// Its number.
        table: u64,
        /// Where the rows stand.
        rows: RowsRecord,
        /// Rows that they replace.
        replaced: u64,
    },
    /// The rows with some keys are gone.
    Delete {
        /// The table's number.
        table: u64,
        /// Where the encoded keys stand in the record's data, as one column of bytes.
        keys: RowsRecord,
        /// Rows that are gone. Keys that were not there do not count.
        deleted: u64,
    },
    /// All rows of a table are gone.
    Truncate {
        /// Its number.
        table: u64,
    },
    /// Rows of a table stand somewhere else now. Which rows it has does not change.
    Rewrite {
        /// Its number.
        table: u64,
        /// Segments that no longer belong to it.
        segments: Vec<u64>,
        /// Its rows in log files up to this number no longer count; 0 if no rows of the log are moved.
        log: u64,
        /// Complete, durable segment files that hold what was live in those segments and log files.
        into: Vec<SegmentRecord>,
        /// Rows of those files that were deleted while they were written.
        deleted: Vec<DeletedRecord>,
    },
    /// A table now holds everything that its source held at a moment.
    SetFreshness {
        /// Its number.
        table: u64,
        /// Nanoseconds since 1970-01-01 UTC.
        as_of: i64,
    },
    /// Everything that a source sent up to a position is in the cache.
    SetPosition {
        /// Name of the source.
        source: String,
        /// The position, as the source understands it. An empty one forgets the source.
        #[serde(with = "serde_bytes")]
        position: Vec<u8>,
    },
}

impl Edit {
    /// The existing table that it changes, if there is one.
    pub(crate) fn table(&self) -> Option<u64> {
        match *self {
            Self::DropTable { table }
            | Self::AddSegments { table, .. }
            | Self::Insert { table, .. }
            | Self::Delete { table, .. }
            | Self::Truncate { table }
            | Self::Rewrite { table, .. }
            | Self::SetFreshness { table, .. } => Some(table),
            Self::DefineTable(_) | Self::SetPosition { .. } => None,
        }
    }
}

/// The definition of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TableRecord {
    /// Never used again for another table; names its folder.
    pub(crate) id: u64,
    /// Name that users give it.
    pub(crate) name: String,
    /// Arrow IPC schema message.
    #[serde(with = "serde_bytes")]
    pub(crate) schema: Vec<u8>,
    /// Columns of the primary key; empty if the table has none.
    pub(crate) primary_key: Vec<String>,
    /// Columns by which every segment is sorted, ascending, nulls last.
    pub(crate) sort_by: Vec<String>,
    /// Who may change its rows.
    #[serde(default)]
    write_policy: WritePolicyRecord,
    /// How long rows stay.
    #[serde(default)]
    retention: Option<RetentionRecord>,
    /// How old rows may be and still be read, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_staleness: Option<u64>,
}

impl TableRecord {
    pub(crate) fn new(id: u64, name: String, schema: Vec<u8>, rules: TableRules) -> Self {
        let TableRules { primary_key, sort_by, write_policy, retention, max_staleness, working_set } = rules;
        let write_policy = match (write_policy, working_set) {
            (WritePolicy::Anyone, _) => WritePolicyRecord::Anyone,
            (WritePolicy::AppendOnly, _) => WritePolicyRecord::AppendOnly,
            (WritePolicy::Source(name), None) => WritePolicyRecord::Source(name),
            (WritePolicy::Source(source), Some(WorkingSet { condition, on_miss })) => {
                let (on_miss, delegates) = match on_miss {
                    OnMiss::Error => (OnMissRecord::Error, false),
                    OnMiss::Local => (OnMissRecord::Local, false),
                    OnMiss::Delegate => (OnMissRecord::Error, true),
                };
                WritePolicyRecord::WorkingSet { source, condition, on_miss, delegates }
            }
        };
        let retention = retention.map(|Retention { column, age }| {
            let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
            RetentionRecord { column, age }
        });
        let max_staleness = max_staleness.map(|bound| u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX));
        Self { id, name, schema, primary_key, sort_by, write_policy, retention, max_staleness }
    }

    /// The rules of the table.
    pub(crate) fn rules(&self) -> TableRules {
        let write_policy = match &self.write_policy {
            WritePolicyRecord::Anyone => WritePolicy::Anyone,
            WritePolicyRecord::AppendOnly => WritePolicy::AppendOnly,
            WritePolicyRecord::Source(source) | WritePolicyRecord::WorkingSet { source, .. } => {
                WritePolicy::Source(source.clone())
            }
        };
        let working_set = match &self.write_policy {
            WritePolicyRecord::WorkingSet { condition, on_miss, delegates, .. } => {
                Some(WorkingSet::new(condition).on_miss(match on_miss {
                    _ if *delegates => OnMiss::Delegate,
                    OnMissRecord::Error => OnMiss::Error,
                    OnMissRecord::Local => OnMiss::Local,
                }))
            }
            _ => None,
        };
        let retention = self.retention.as_ref();
        TableRules {
            primary_key: self.primary_key.clone(),
            sort_by: self.sort_by.clone(),
            write_policy,
            retention: retention.map(|it| Retention::new(&it.column, Duration::from_nanos(it.age))),
            max_staleness: self.max_staleness.map(Duration::from_nanos),
            working_set,
        }
    }
}

/// See [`WritePolicy`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
enum WritePolicyRecord {
    #[default]
    Anyone,
    AppendOnly,
    Source(String),
    /// A source feeds the table, and it holds only some rows. A variant and no field beside the policy: a version that does not know
    /// it must not take the table for whole, and does not open the cache.
    WorkingSet {
        source: String,
        condition: String,
        on_miss: OnMissRecord,
        /// The source answers what is not held. A version that does not know the field refuses such reads, as `on_miss` says.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        delegates: bool,
    },
}

/// See [`OnMiss`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum OnMissRecord {
    Error,
    Local,
}

/// See [`Retention`].
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RetentionRecord {
    column: String,
    /// Nanoseconds.
    age: u64,
}

/// What the catalog knows of a segment file; enough to open it without reading anything but its directory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SegmentRecord {
    /// Never used again for another segment; names its file.
    pub(crate) id: u64,
    /// Segments of one run were written by one commit, in sort order, and do not overlap in it.
    pub(crate) run: u64,
    /// Rows in it.
    pub(crate) rows: u64,
    /// Length of the file in bytes.
    pub(crate) len: u64,
    /// Where its directory starts.
    pub(crate) directory_offset: u64,
    /// Length of its directory.
    pub(crate) directory_len: u64,
    /// Checksum of its directory, which holds or covers the checksums of everything before it.
    pub(crate) directory_checksum: u64,
    /// No encoded key is below it; empty without a primary key. See [`bounds`](crate::storage::key::bounds).
    #[serde(with = "serde_bytes")]
    pub(crate) min_key: Vec<u8>,
    /// No encoded key is above it; empty without a primary key, and `None` if nothing is known.
    #[serde(with = "serde_bytes")]
    pub(crate) max_key: Option<Vec<u8>>,
    /// Why none of its rows may be read. If set, `directory_checksum` is wrong on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) damage: Option<String>,
}

/// Body of a manifest: everything that the edits up to its sequence add up to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CatalogRecord {
    /// Number of the log file whose records follow.
    pub(crate) log: u64,
    /// The newest incarnations, this one included, and the sequence of the last commit before each, oldest first.
    pub(crate) incarnations: Vec<(u64, u64)>,
    /// Number of the next table.
    pub(crate) next_table: u64,
    /// Number of the next segment.
    pub(crate) next_segment: u64,
    /// All tables.
    pub(crate) tables: Vec<TableContentRecord>,
    /// See [`Edit::SetPosition`].
    pub(crate) positions: BTreeMap<String, ByteBuf>,
}

/// A table and its segments in a manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TableContentRecord {
    /// Its definition.
    pub(crate) table: TableRecord,
    /// Its segments, oldest first.
    pub(crate) segments: Vec<SegmentRecord>,
    /// Rows of them that are deleted.
    pub(crate) deleted: Vec<DeletedRecord>,
    /// See [`Edit::SetFreshness`].
    pub(crate) as_of: Option<i64>,
}
