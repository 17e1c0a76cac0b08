//! What clients and sidecars say to each other: calls, messages and their encoding.
//!
//! A message is the body of one frame, or of several if it is long. Bodies are MessagePack with field names, so that a
//! later version can add fields; batches of rows inside them are Arrow IPC streams. The lookup of a row is in bytes of a
//! fixed layout: it is over before an encoding with names is read. `docs/protocol.md` describes all of
//! it for those who write a client.

mod access;
mod cells;
mod commit;
mod connection;
mod cursor;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod held;
mod layout;
mod message;
#[cfg(test)]
mod panics;
mod planted;
mod quota;
mod rows;
mod serve;
mod session;
mod sharing;
mod upload;
mod value;

pub(crate) use cells::{Found, encode_get_row};
pub(crate) use commit::{COMMIT_LEN_MAX, ChangeMessage, Commit, PositionReply, Source};
pub(crate) use layout::{Memory, rebuild};
pub(crate) use message::{
    Begin, Call, Cancel, Changes, CursorReply, DirIdentity, Empty, ErrorMessage, Execute, Get, GetMany,
    Hello, HelloReply, InfoMessage, Key, Name, Next, NextReply, Pin, Prepare, PrepareReply, Return,
    RowsReply, Scan, Seen, Share, ShareReply, Sql, StatusReply, Table, VersionMessage, Write, WriteKind,
    freshness, nanoseconds_of,
};
pub(crate) use rows::{decode_batch, decode_schema, encode_batch, encode_schema};
pub use serve::{Server, ServerOptions};
pub(crate) use session::{KEYS_LEN_MAX, decode, encode};
pub(crate) use value::WireValue;

/// Versions of the protocol, each named for what it added.
pub(crate) mod version {
    /// The first: everything that is not named below.
    pub(crate) const FIRST: u32 = 1;
    /// The newest that this code speaks.
    pub(crate) const NEWEST: u32 = FIRST;
}

/// Longest message; longer answers come in parts through a cursor.
pub(crate) const MESSAGE_LEN_MAX: usize = 1 << 30;
