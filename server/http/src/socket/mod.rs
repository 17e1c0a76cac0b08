//! Connections: where they come from, how they are encrypted, and when a slow one is cut.

mod connection;
mod listener;
mod paced;
mod tls;

pub(crate) use connection::serve;
pub(crate) use listener::{Bound, Listener};
pub(crate) use tls::Tls;
