//! A socket that serves a cache to other processes: connections, what each of them holds, and the answers to its calls.

mod access;
mod calls;
mod commit;
mod connection;
mod cursor;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod held;
mod options;
#[cfg(test)]
mod panics;
mod planted;
mod quota;
mod server;
mod session;
mod sharing;
mod state;
mod stats;
mod upload;

pub use options::ServerOptions;
pub use server::Server;
pub use stats::{ServerMonitor, ServerStats};
