//! The Flight SQL door: statements, parameters, rows and catalogs for any client of Arrow Flight SQL, over HTTP/2.
//!
//! [`FlightServer::start`] serves a cache on a socket of its own, on a runtime of its own with few threads, so that it cannot
//! delay others in the process. Everything goes through the public interface of the cache. docs/flight-sql.md says what clients see.

mod answer;
mod call;
mod catalog;
mod door;
mod options;
mod server;
mod service;
mod statement;
mod status;

pub use door::DOOR;
pub use options::FlightOptions;
pub use pillion_door::{DoorError, Listen, TlsFiles, Users};
pub use server::FlightServer;
