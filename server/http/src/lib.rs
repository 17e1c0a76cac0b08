//! The HTTP door: SQL, rows by key, uploads and changes for any client of HTTP/1.1.
//!
//! [`HttpServer::start`] serves a cache on a socket of its own, on a runtime of its own with few threads, so that it cannot
//! delay others in the process. Everything goes through the public interface of the cache. docs/http.md says what clients see.

mod answer;
mod call;
mod door;
mod guard;
mod options;
mod problem;
mod request;
mod routes;
mod server;
mod socket;

pub use options::HttpOptions;
pub use pillion_door::{DoorError as HttpError, Listen, TlsFiles, Users};
pub use routes::ROUTES;
pub use server::HttpServer;
