//! What clients send: paths, queries, parameters and bodies, and what is wrong with them.

pub(crate) mod body;
pub(crate) mod frames;
pub(crate) mod key;
pub(crate) mod lines;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod value;
