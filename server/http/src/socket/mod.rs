//! Connections: where they come from, how they are encrypted, and when a slow one is cut.

mod connection;
mod connections;
mod listener;
mod paced;
mod tls;

pub(crate) use connection::serve;
pub(crate) use connections::{Connections, Entered};
pub(crate) use listener::{Accepted, Bound, Listener, Stream};
pub(crate) use tls::Tls;
