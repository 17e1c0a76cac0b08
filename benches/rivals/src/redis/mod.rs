//! Redis: a server of the bench's own on a Unix socket, and a blocking client with one connection.
//!
//! A row is one string of packed bytes under a key such as `points:42`, read with `GET`: a hash of five fields answers
//! `HMGET` with five texts, which are more bytes to send, to parse and to turn into numbers again. Nothing is written
//! to disk: no snapshots and no append-only file.

mod lookup;
mod server;

pub use lookup::{GetAbsent, GetPoint};
pub use server::Server;

/// The name of the contestant.
pub const REDIS: &str = "Redis";
