//! What clients and sidecars say to each other: calls, messages and their encoding.
//!
//! A message is the body of one frame, or of several if it is long. Bodies are MessagePack with field names, so that
//! a later version can add fields; batches of rows inside them are Arrow IPC streams. The lookup of a row has a fixed
//! binary layout instead: reading names would take longer than the lookup itself. `docs/protocol.md` describes all of
//! it for authors of clients.

pub(crate) mod cells;
pub(crate) mod encoding;
pub(crate) mod layout;
pub(crate) mod message;
pub(crate) mod refreshes;
pub(crate) mod rows;
pub(crate) mod value;

pub(crate) use self::cells::{FoundRow, encode_get_row};
pub(crate) use self::encoding::{decode, encode};
pub(crate) use self::layout::{Memory, rebuild};
pub(crate) use self::message::{
    Begin, BoundsMessage, COMMIT_LEN_MAX, Call, Cancel, ChangeMessage, Changes, Commit, CursorReply,
    DirIdentity, Empty, ErrorMessage, Execute, Get, GetMany, Hello, HelloReply, InfoMessage, KEYS_LEN_MAX,
    Key, Modify, ModifyReply, Name, Next, NextReply, Pin, PositionReply, Prepare, PrepareReply, Return,
    RowsReply, Scan, Seen, Share, ShareReply, Source, Sql, StatusReply, Table, VersionMessage, Write,
    WriteKind,
};
pub(crate) use self::refreshes::{AuditReply, RefreshesReply, Steer, SteerAction, SteerReply, WaitFor};
pub(crate) use self::rows::{decode_batch, decode_schema, encode_batch, encode_schema};
pub(crate) use self::value::WireValue;

/// Versions of the protocol, each named for what it added.
pub(crate) mod version {
    /// The first version: everything that no later version adds.
    pub(crate) const FIRST: u32 = 1;
    /// The newest version that this code speaks.
    pub(crate) const NEWEST: u32 = FIRST;
}

/// Longest message; longer answers come in portions through a cursor.
pub(crate) const MESSAGE_LEN_MAX: usize = 1 << 30;
