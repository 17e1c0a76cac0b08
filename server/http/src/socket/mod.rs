//! Connections: how they are spoken with, and when a slow one is cut.

mod connection;
mod paced;

pub(crate) use connection::speak;
