//! What a server sends of changes: the replication stream, and the messages of `pgoutput` in it. Nothing here reads or writes: bytes
//! come in, changes go out.

#![expect(clippy::big_endian_bytes, reason = "the server sends numbers so")]

mod bytes;
mod decoder;
mod frame;
mod lsn;
mod message;
mod relation;
mod row;
#[cfg(any(test, fuzzing))]
pub(crate) mod shown;
#[cfg(test)]
mod tests;
mod tuple;

pub(crate) use self::decoder::Decoder;
pub(crate) use self::frame::{Frame, StatusUpdate};
pub(crate) use self::lsn::Lsn;
pub(crate) use self::message::{Commit, Message};
pub(crate) use self::relation::{AnnouncedColumn, AnnouncedTable, Identity};
pub(crate) use self::tuple::{Cell, Tuple};
