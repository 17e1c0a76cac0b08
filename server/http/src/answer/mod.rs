//! What clients get: what an answer says of itself, and its rows in the format that a client accepts.

pub(crate) mod encoder;
pub(crate) mod format;
mod moments;
pub(crate) mod stream;
