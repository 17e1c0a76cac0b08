//! Connections on which a server streams changes. `tokio-postgres` has none, and `pgwire-replication` verifies less, speaks an older
//! version of the protocol and has no time limits; so the connection is made here, with the parts of `postgres-protocol`.

#![expect(clippy::big_endian_bytes, reason = "the server sends numbers so")]

mod binding;
mod command;
mod connection;
mod dial;
mod login;
mod messages;
mod publication;
mod slot;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use self::connection::Connection;
pub(crate) use self::publication::{PublicationName, SlotName};
pub(crate) use self::stream::{ChangeStream, Received, Started};
