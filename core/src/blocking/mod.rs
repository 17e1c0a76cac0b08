//! Calls that block, made by async code: the threads that make them, and how they are given up.

pub(crate) mod brief;
pub(crate) mod scope;
pub(crate) mod threads;
