//! What readers in other processes need to follow the owner without a message: files in `live/` that the owner maps
//! for writing and readers map read-only.
//!
//! The files hold 64-bit words, each an atomic. An owner that is killed at any instruction leaves them readable. Every
//! open fills them anew, and recovery never uses them: what was committed is in the log.

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
