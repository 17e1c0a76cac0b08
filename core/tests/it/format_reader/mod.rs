//! A reader of cache directories that was written from docs/storage-format.md and uses nothing of Pillion. It reads the
//! directories that Pillion leaves, and what it reads is compared with what Pillion reads.

mod index_tests;
mod keys;
mod live;
mod reader;
mod records;
mod rows;
mod segment;
mod session;
mod table;
mod tests;

pub(crate) use self::reader::{Contents, read};
pub(crate) use self::rows::texts;
