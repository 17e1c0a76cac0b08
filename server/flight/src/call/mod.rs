//! Calls: how they come, who makes them, and what is told of them.

pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod guard;
pub(crate) mod login;
