//! What the doors of a sidecar share, whatever they speak: sockets, encryption, limits, and what answers say of themselves.
//!
//! A door says how it speaks ([`Protocol`]); [`DoorServer::start`] opens its socket and serves it on a runtime of its own with few
//! threads, so that it cannot delay others in the process.

mod admission;
mod connections;
mod frames;
mod listener;
mod options;
mod parts;
pub mod said;
mod server;
mod tls;

pub use admission::{Admission, Full, Place};
pub use connections::{Busy, Connections, Entered, InProgress, Peer};
pub use frames::check_rows;
pub use listener::Stream;
pub use options::{Listen, SocketOptions, TlsFiles, Users, most_of};
pub use parts::{compact, rows_at_once};
pub use server::{DoorError, DoorServer, Gate, Protocol, Refusal, closed};
