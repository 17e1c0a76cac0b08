//! Tests against a real server, which each test starts for itself on this machine.

mod connections;
mod encryption;
mod ends;
mod positions;
mod relations;
mod support;
mod types;
