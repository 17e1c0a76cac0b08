//! The calls and the messages of their requests and answers.

use std::fmt;
use std::time::Duration;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_bytes::ByteBuf;

use super::rows;
use super::value::{WireValue, WireVersion};
use crate::answer::certificate::TableCertificate;
use crate::types::bounds::ReadBounds;
use crate::types::clock::{freshness_at, nanoseconds_of};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::mode::WriteMode;
use crate::types::rules::{OnMiss, Retention, TableRules, WorkingSet, WritePolicy};
use crate::types::version::Tier;
use crate::way::table_info::TableInfo;

/// Keys that one call may ask for.
pub(crate) const KEYS_MAX: usize = 100_000;
/// Most bytes of a message with many keys: read, they take several times as much.
pub(crate) const KEYS_LEN_MAX: usize = 4 << 20;
/// Most bytes of rows in one commit message. A single change with more is uploaded batch by batch; several changes with
/// more are refused.
pub(crate) const COMMIT_LEN_MAX: usize = 4 << 20;

macro_rules! calls {
    ($($(#[$doc:meta])+ $name:ident = $number:literal;)+) => {
        /// What a frame asks for; the numbers never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub(crate) enum Call {
            $($(#[$doc])+ $name = $number,)+
        }

        impl Call {
            /// Every call.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)+];

            /// The call with a number, if this version knows it.
            pub(crate) fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

calls! {
    /// First on every connection: [`Hello`] → [`HelloReply`].
    Hello = 1;
    /// [`Pin`] → [`VersionMessage`].
    Version = 2;
    /// [`Pin`] → a list of [`InfoMessage`].
    Tables = 3;
    /// [`Name`] → [`InfoMessage`].
    TableByName = 4;
    /// [`Table`] → [`InfoMessage`].
    TableById = 5;
    /// [`Get`] → [`RowsReply`].
    Get = 6;
    /// [`GetMany`] → [`RowsReply`].
    GetMany = 7;
    /// [`Empty`] → [`Pin`].
    Snapshot = 8;
    /// [`Pin`] → [`Empty`].
    Release = 9;
    /// [`Scan`] → [`CursorReply`].
    Scan = 10;
    /// [`Sql`] → [`CursorReply`].
    Sql = 11;
    /// [`Prepare`] → [`PrepareReply`].
    Prepare = 12;
    /// [`Execute`] → [`CursorReply`].
    Execute = 13;
    /// [`Next`] → [`Empty`]: forget a prepared statement.
    Forget = 14;
    /// [`Next`] → [`NextReply`].
    Next = 15;
    /// [`Next`] → [`Empty`]: end a cursor.
    Close = 16;
    /// [`Begin`] → [`Next`]: the number of an upload.
    Begin = 17;
    /// [`Write`] → [`Empty`].
    Write = 18;
    /// [`Next`] → [`VersionMessage`], or [`InfoMessage`] for a new table: the upload is complete.
    Finish = 19;
    /// [`Name`] → [`VersionMessage`].
    DropTable = 20;
    /// [`Empty`] → [`Empty`].
    Sync = 21;
    /// [`Empty`] → [`StatusReply`].
    Status = 22;
    /// [`Next`] → [`Empty`]: an upload will not be completed.
    Abandon = 23;
    /// [`Share`] → [`ShareReply`] and the descriptor of the memory, through which answers can go instead of the
    /// socket.
    Share = 24;
    /// [`Return`] → [`Empty`]: leased memory is not needed any more.
    Return = 25;
    /// [`Cancel`] → [`Empty`]: nobody waits for the answer to a request.
    Cancel = 26;
    /// [`GetRow`](super::cells::GetRow) → [`FoundRow`](super::FoundRow): a lookup in fixed layouts.
    GetRow = 27;
    /// [`Commit`](Commit) → [`VersionMessage`].
    Commit = 28;
    /// [`Source`](Source) → [`PositionReply`](PositionReply).
    SourcePosition = 29;
    /// [`Empty`] → [`Empty`].
    Compact = 30;
    /// [`Changes`] → [`CursorReply`].
    Changes = 31;
    /// [`Name`] → [`VersionMessage`]: a table is refreshed from its source.
    Refresh = 32;
    /// [`Empty`] → [`RefreshesReply`](super::RefreshesReply).
    Refreshes = 33;
    /// [`Steer`](super::Steer) → [`SteerReply`](super::SteerReply).
    SteerRefreshes = 34;
    /// [`Modify`] → [`ModifyReply`].
    Modify = 35;
    /// [`Name`] → [`AuditReply`](super::AuditReply): a table is compared with its source.
    Audit = 36;
    /// [`WaitFor`](super::WaitFor) → [`VersionMessage`].
    WaitFor = 37;
}

/// Nothing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Empty {}

/// Who connects, and the newest version of the protocol that it speaks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    pub(crate) client: String,
    /// The last version that the client saw on an earlier connection.
    #[serde(default)]
    pub(crate) seen: Option<WireVersion>,
    /// The client understands that a row of `GetRow` may be one that the source sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tiers: bool,
}

/// Who answers, the version of the protocol that both will speak, and the cache directory if clients may read it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HelloReply {
    pub(crate) protocol: u32,
    pub(crate) server: String,
    pub(crate) dir: String,
    #[serde(default)]
    pub(crate) identity: Option<DirIdentity>,
    /// The newest version.
    #[serde(default)]
    pub(crate) version: Option<WireVersion>,
    /// What the sidecar knows of the version that the client saw; `None` if the client named none.
    #[serde(default)]
    pub(crate) seen: Option<Seen>,
    /// The sidecar heeds the bounds of single reads.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) bounds: bool,
}

/// What a sidecar knows of a version that its client saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Seen {
    /// Everything of that version is there.
    Included,
    /// The version was lost in a crash.
    Lost,
    /// The version is of another cache, or of long ago.
    Unknown,
}

/// Lets two processes find out whether they see the same directory: device and inode of its `live/head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DirIdentity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// How the client can take answers: as `layouts` instead of Arrow IPC streams, with their bytes in leased `memory` or
/// in `files` that it can open below the directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) memory: bool,
    pub(crate) files: bool,
}

/// Bytes of the memory whose descriptor comes with this; 0 if there is none.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShareReply {
    pub(crate) memory: u64,
}

/// Leases by their numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Return {
    pub(crate) leases: Vec<u64>,
}

/// A request of this connection by its number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cancel {
    pub(crate) request: u64,
}

/// A snapshot by its number; `None` stands for the newest version.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(crate) snapshot: Option<u64>,
}

/// A table by name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) snapshot: Option<u64>,
    pub(crate) name: String,
}

/// A table by number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) snapshot: Option<u64>,
    pub(crate) table: u64,
}

/// The parts of a key.
pub(crate) type Key = Vec<WireValue>;

/// A lookup.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Get {
    pub(crate) snapshot: Option<u64>,
    pub(crate) table: u64,
    pub(crate) key: Key,
    /// What this read demands beyond what its tables allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bounds: Option<BoundsMessage>,
}

/// Several lookups at one version.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GetMany {
    pub(crate) snapshot: Option<u64>,
    pub(crate) table: u64,
    /// More keys than one call may ask for are cut to one more than that: the rest is not kept.
    #[serde(deserialize_with = "some_keys")]
    pub(crate) keys: Vec<Key>,
    /// Whether the answer may stop after some of the keys, if their rows are long.
    #[serde(default)]
    pub(crate) partial: bool,
    /// What this read demands beyond what its tables allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bounds: Option<BoundsMessage>,
}

/// An empty key is one byte in the message and takes twenty times as much memory, so keys beyond the limit are not
/// kept.
fn some_keys<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<Key>, D::Error> {
    struct Keys;

    impl<'de> Visitor<'de> for Keys {
        type Value = Vec<Key>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("keys")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> std::result::Result<Self::Value, A::Error> {
            let mut keys = Vec::new();
            while keys.len() <= KEYS_MAX {
                match sequence.next_element()? {
                    Some(key) => keys.push(key),
                    None => return Ok(keys),
                }
            }
            while sequence.next_element::<IgnoredAny>()?.is_some() {}
            Ok(keys)
        }
    }

    deserializer.deserialize_seq(Keys)
}

/// Which keys were found, and their rows in that order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RowsReply {
    pub(crate) found: Vec<bool>,
    pub(crate) version: WireVersion,
    pub(crate) as_of: Option<i64>,
    /// Of each found row that the source sent when it was fetched, and nil of the others; empty if the cache has all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fetched: Vec<Option<i64>>,
    /// One batch as an Arrow IPC stream.
    #[serde(with = "serde_bytes", default)]
    pub(crate) rows: Vec<u8>,
    /// Or any number of batches as a layout, for clients that asked for layouts.
    #[serde(with = "serde_bytes", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) layout: Vec<u8>,
}

/// All rows of a table, with some columns or all.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Scan {
    pub(crate) snapshot: Option<u64>,
    pub(crate) table: u64,
    pub(crate) columns: Option<Vec<String>>,
    /// What this read demands beyond what its tables allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bounds: Option<BoundsMessage>,
}

/// What commits changed in a table after a version.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Changes {
    pub(crate) table: u64,
    pub(crate) since: WireVersion,
}

/// A query.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sql {
    pub(crate) snapshot: Option<u64>,
    pub(crate) text: String,
    pub(crate) parameters: Vec<WireValue>,
    /// What this read demands beyond what its tables allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bounds: Option<BoundsMessage>,
}

/// A statement that changes tables.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Modify {
    pub(crate) text: String,
    pub(crate) parameters: Vec<WireValue>,
}

/// What it did.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ModifyReply {
    /// Rows that were added, replaced or deleted.
    pub(crate) rows: u64,
    pub(crate) version: WireVersion,
}

/// A query to be planned.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prepare {
    pub(crate) text: String,
}

/// A planned query and how many parameters it takes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PrepareReply {
    pub(crate) id: u64,
    pub(crate) parameters: u64,
}

/// See [`ReadBounds`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct BoundsMessage {
    #[serde(default)]
    authoritative: bool,
    /// Nanoseconds.
    #[serde(default)]
    max_staleness: Option<u64>,
    #[serde(default)]
    partial: bool,
}

impl From<ReadBounds> for BoundsMessage {
    fn from(bounds: ReadBounds) -> Self {
        let ReadBounds { authoritative, max_staleness, partial } = bounds;
        let max_staleness = max_staleness.map(|bound| u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX));
        Self { authoritative, max_staleness, partial }
    }
}

impl BoundsMessage {
    /// Reads within these bounds; without any if there is no message.
    pub(crate) fn run<T>(bounds: Option<Self>, read: impl FnOnce() -> T) -> T {
        let Some(Self { authoritative, max_staleness, partial }) = bounds else { return read() };
        let max_staleness = max_staleness.map(Duration::from_nanos);
        ReadBounds { authoritative, max_staleness, partial }.run(read)
    }
}

/// A planned query to be run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Execute {
    pub(crate) snapshot: Option<u64>,
    pub(crate) id: u64,
    pub(crate) parameters: Vec<WireValue>,
    /// What this read demands beyond what its tables allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bounds: Option<BoundsMessage>,
}

/// An answer that the client fetches portion by portion; the first portion comes with this.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CursorReply {
    pub(crate) id: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) schema: Vec<u8>,
    pub(crate) version: WireVersion,
    pub(crate) as_of: Option<i64>,
    /// Who answered; missing if the cache did.
    #[serde(default, skip_serializing_if = "TierMessage::is_local")]
    pub(crate) tier: TierMessage,
    /// Of which tables that hold only some rows the answer is, and whether it is complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) certificate: Vec<CertificateMessage>,
    pub(crate) first: NextReply,
}

/// See [`Tier`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct TierMessage(Option<String>);

impl TierMessage {
    fn is_local(&self) -> bool {
        self.0.is_none()
    }
}

impl From<Tier> for TierMessage {
    fn from(tier: Tier) -> Self {
        Self((tier != Tier::Local).then(|| tier.to_string()))
    }
}

impl From<&TierMessage> for Tier {
    fn from(message: &TierMessage) -> Self {
        match message.0.as_deref() {
            None | Some("local") => Self::Local,
            Some("delegated") => Self::Delegated,
            // What a later version adds is not the cache alone either.
            Some(_) => Self::Mixed,
        }
    }
}

/// See [`TableCertificate`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CertificateMessage {
    table: String,
    complete: bool,
    #[serde(default)]
    coverage: Option<String>,
    reason: String,
    /// In nanoseconds since 1970.
    #[serde(default)]
    as_of: Option<i64>,
    #[serde(default, skip_serializing_if = "TierMessage::is_local")]
    tier: TierMessage,
}

impl From<&TableCertificate> for CertificateMessage {
    fn from(certificate: &TableCertificate) -> Self {
        Self {
            table: certificate.table.clone(),
            complete: certificate.is_complete,
            coverage: certificate.coverage.clone(),
            reason: certificate.reason.clone(),
            as_of: certificate.freshness.map(|freshness| nanoseconds_of(freshness.as_of)),
            tier: certificate.tier.into(),
        }
    }
}

impl From<&CertificateMessage> for TableCertificate {
    fn from(message: &CertificateMessage) -> Self {
        Self {
            table: message.table.clone(),
            tier: (&message.tier).into(),
            is_complete: message.complete,
            coverage: message.coverage.clone(),
            reason: message.reason.clone(),
            freshness: freshness_at(message.as_of),
        }
    }
}

/// A cursor, statement or upload by its number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Next {
    pub(crate) id: u64,
}

/// The next rows of a cursor; `last`: no more follow.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NextReply {
    /// One batch as an Arrow IPC stream.
    #[serde(with = "serde_bytes", default)]
    pub(crate) rows: Vec<u8>,
    /// Or any number of batches as a layout, for clients that asked for layouts.
    #[serde(with = "serde_bytes", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) layout: Vec<u8>,
    pub(crate) last: bool,
}

/// What an upload is for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WriteKind {
    /// A new table.
    Define {
        name: String,
        #[serde(flatten)]
        rules: RulesMessage,
    },
    /// Additional rows for a table.
    Append { table: u64 },
    /// All rows of a table, replacing the present ones.
    Replace { table: u64 },
    /// Rows that replace those of a table with the same keys.
    Upsert { table: u64 },
}

impl WriteKind {
    /// An upload of rows in a mode.
    pub(crate) fn rows(table: u64, mode: WriteMode) -> Self {
        match mode {
            WriteMode::Append => Self::Append { table },
            WriteMode::Upsert => Self::Upsert { table },
            WriteMode::Replace => Self::Replace { table },
        }
    }
}

/// The beginning of an upload.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) kind: WriteKind,
    /// When the client began to fetch the rows, in nanoseconds since 1970, if it began before it sent this.
    #[serde(default)]
    pub(crate) as_of: Option<i64>,
    #[serde(with = "serde_bytes")]
    pub(crate) schema: Vec<u8>,
}

/// Rows of an upload.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) id: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) rows: Vec<u8>,
}

/// A version.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VersionMessage {
    pub(crate) version: WireVersion,
}

/// A description of a table.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InfoMessage {
    pub(crate) id: u64,
    pub(crate) name: String,
    #[serde(with = "serde_bytes")]
    pub(crate) schema: Vec<u8>,
    #[serde(flatten)]
    pub(crate) rules: RulesMessage,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    #[serde(default)]
    pub(crate) logged_rows: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) damage: Option<String>,
    /// What it covers, if it is a working set and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) coverage: Option<String>,
    pub(crate) as_of: Option<i64>,
    pub(crate) version: WireVersion,
}

impl InfoMessage {
    pub(crate) fn new(info: TableInfo) -> Result<Self> {
        Ok(Self {
            id: info.id,
            name: info.name,
            schema: rows::encode_schema(&info.schema)?,
            rules: info.rules.into(),
            rows: info.rows,
            bytes: info.bytes,
            segments: info.segments as u64,
            logged_rows: info.logged_rows,
            damage: info.damage,
            coverage: info.coverage,
            as_of: info.freshness.map(|freshness| nanoseconds_of(freshness.as_of)),
            version: info.version.into(),
        })
    }

    pub(crate) fn into_info(self) -> Result<TableInfo> {
        Ok(TableInfo {
            id: self.id,
            name: self.name,
            schema: rows::decode_schema(&self.schema)?,
            rules: self.rules.into(),
            rows: self.rows,
            bytes: self.bytes,
            segments: usize::try_from(self.segments).unwrap_or(usize::MAX),
            logged_rows: self.logged_rows,
            damage: self.damage,
            coverage: self.coverage,
            freshness: freshness_at(self.as_of),
            version: self.version.into(),
        })
    }
}

/// The rules of a table; the message that contains them has their fields among its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RulesMessage {
    primary_key: Vec<String>,
    sort_by: Vec<String>,
    #[serde(default)]
    write_policy: WritePolicyMessage,
    #[serde(default)]
    retention: Option<RetentionMessage>,
    /// Nanoseconds.
    #[serde(default)]
    max_staleness: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    working_set: Option<WorkingSetMessage>,
}

/// See [`WorkingSet`].
#[derive(Clone, Debug, Serialize, Deserialize)]
struct WorkingSetMessage {
    condition: String,
    on_miss: OnMissMessage,
    /// The source answers what is not held; `on_miss` says what clients see that do not know the field.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    delegates: bool,
}

/// See [`OnMiss`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum OnMissMessage {
    Error,
    Local,
}

/// See [`WritePolicy`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
enum WritePolicyMessage {
    #[default]
    Anyone,
    AppendOnly,
    Source(String),
}

/// See [`Retention`].
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RetentionMessage {
    column: String,
    /// Nanoseconds.
    age: u64,
}

impl From<TableRules> for RulesMessage {
    fn from(rules: TableRules) -> Self {
        let TableRules { primary_key, sort_by, write_policy, retention, max_staleness, working_set } = rules;
        let write_policy = match write_policy {
            WritePolicy::Anyone => WritePolicyMessage::Anyone,
            WritePolicy::AppendOnly => WritePolicyMessage::AppendOnly,
            WritePolicy::Source(name) => WritePolicyMessage::Source(name),
        };
        let retention = retention.map(|Retention { column, age }| {
            let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
            RetentionMessage { column, age }
        });
        let max_staleness = max_staleness.map(|bound| u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX));
        let working_set = working_set.map(|WorkingSet { condition, on_miss }| {
            let (on_miss, delegates) = match on_miss {
                OnMiss::Error => (OnMissMessage::Error, false),
                OnMiss::Local => (OnMissMessage::Local, false),
                OnMiss::Delegate => (OnMissMessage::Error, true),
            };
            WorkingSetMessage { condition, on_miss, delegates }
        });
        Self { primary_key, sort_by, write_policy, retention, max_staleness, working_set }
    }
}

impl From<RulesMessage> for TableRules {
    fn from(message: RulesMessage) -> Self {
        let RulesMessage { primary_key, sort_by, write_policy, retention, max_staleness, working_set } =
            message;
        let write_policy = match write_policy {
            WritePolicyMessage::Anyone => WritePolicy::Anyone,
            WritePolicyMessage::AppendOnly => WritePolicy::AppendOnly,
            WritePolicyMessage::Source(name) => WritePolicy::Source(name),
        };
        let retention = retention.map(|it| Retention::new(it.column, Duration::from_nanos(it.age)));
        let max_staleness = max_staleness.map(Duration::from_nanos);
        let working_set = working_set.map(|WorkingSetMessage { condition, on_miss, delegates }| {
            WorkingSet::new(condition).on_miss(match on_miss {
                _ if delegates => OnMiss::Delegate,
                OnMissMessage::Error => OnMiss::Error,
                OnMissMessage::Local => OnMiss::Local,
            })
        });
        Self { primary_key, sort_by, write_policy, retention, max_staleness, working_set }
    }
}

/// The state of a cache as a whole.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StatusReply {
    pub(crate) dir: String,
    pub(crate) version: WireVersion,
    pub(crate) tables: Vec<InfoMessage>,
    pub(crate) damage: Option<String>,
    pub(crate) poisoned: Option<String>,
}

/// Changes of one commit, in their order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Commit {
    /// When the client began to fetch the rows, in nanoseconds since 1970.
    pub(crate) as_of: i64,
    pub(crate) changes: Vec<ChangeMessage>,
}

/// A change. Rows are batches, each as an Arrow IPC stream; there is at least one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ChangeMessage {
    /// Adds rows.
    Append { table: u64, rows: Vec<ByteBuf> },
    /// Rows that replace those with the same keys.
    Upsert { table: u64, rows: Vec<ByteBuf> },
    /// Rows that replace all rows.
    Replace { table: u64, rows: Vec<ByteBuf> },
    /// Removes the rows with some keys.
    Delete { table: u64, keys: Vec<Key> },
    /// Removes the rows with some keys from the cache; their source keeps them.
    Invalidate { table: u64, keys: Vec<Key> },
    /// Removes all rows.
    Truncate { table: u64 },
    /// The changes are everything from a source up to a position.
    Position {
        source: String,
        #[serde(with = "serde_bytes")]
        position: Vec<u8>,
    },
}

impl ChangeMessage {
    /// Rows in a mode.
    pub(crate) fn rows(table: u64, mode: WriteMode, rows: Vec<ByteBuf>) -> Self {
        match mode {
            WriteMode::Append => Self::Append { table, rows },
            WriteMode::Upsert => Self::Upsert { table, rows },
            WriteMode::Replace => Self::Replace { table, rows },
        }
    }
}

/// A source by its name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) source: String,
}

/// The position up to which the cache has everything from a source.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PositionReply {
    pub(crate) position: Option<ByteBuf>,
}

/// An error on the wire: its stable number and its message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorMessage {
    pub(crate) code: u16,
    pub(crate) message: String,
}

impl ErrorMessage {
    pub(crate) fn new(error: &Error) -> Self {
        Self { code: error.code().number(), message: format!("{error:#}") }
    }

    pub(crate) fn into_error(self) -> Error {
        match ErrorCode::from_number(self.code) {
            Some(code) => Error::new(code, self.message),
            None => Error::new(
                ErrorCode::Internal,
                format!("{} (error {} of a newer sidecar)", self.message, self.code),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::error::ErrorKind;

    /// The protocol is what its document says: nobody changes one without changing the other.
    #[test]
    fn the_document_lists_every_call_and_every_error() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
        let document = std::fs::read_to_string(path).unwrap();
        for &call in Call::ALL {
            let line = format!("| {} | {call:?} |", call as u16);
            assert!(document.contains(&line), "docs/protocol.md lacks `{line}`");
            assert_eq!(Call::from_number(call as u16), Some(call));
        }
        for &code in ErrorCode::ALL {
            let kind = match code.kind() {
                ErrorKind::Retry => "retry",
                ErrorKind::Request => "request",
                ErrorKind::Source => "source",
                ErrorKind::OutcomeUnknown => "outcome unknown",
                ErrorKind::Reopen => "reopen",
                ErrorKind::Report => "report",
            };
            let line = format!("| {} | {code:?} | {kind} |", code.number());
            assert!(document.contains(&line), "docs/protocol.md lacks `{line}`");
        }
    }
}
