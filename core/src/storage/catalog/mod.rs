//! What is committed: records of changes, checkpoints of all of it, and the states that follow from them.

pub(crate) mod edit;
pub(crate) mod files;
pub(crate) mod limits;
pub(crate) mod manifest;
pub(crate) mod position;
pub(crate) mod recovery;
pub(crate) mod state;
