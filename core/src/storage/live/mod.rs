//! What readers in other processes need to follow the owner without a message: files in `live/` that the owner maps
//! for writing and readers map read-only.
//!
//! They hold 64-bit words, each an atomic, and are written so that an owner that is killed at any instruction leaves
//! them readable. They are rebuilt at every open and never used for recovery: the log tells what was committed.

pub(crate) mod follower;
mod head;
mod index_files;
mod tail_index;
mod words;

pub(crate) use crate::storage::format::{FIRST_CAPACITY, HEAD_WORDS};
pub(crate) use head::{Head, HeadReader, HeadWriter};
pub(crate) use index_files::Indexes;
pub(crate) use tail_index::{Before, TailIndex};
pub(crate) use words::Words;
#[cfg(test)]
pub(crate) use words::stopping::stopped_after;
