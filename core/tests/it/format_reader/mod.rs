//! A reader of cache directories that was written from docs/storage-format.md and uses nothing of Pillion. It reads the
//! directories that Pillion leaves, and what it reads is compared with what Pillion reads.

mod keys;
mod reader;
mod records;
mod rows;
mod segment;
mod table;
mod tests;

pub(crate) use self::reader::{Contents, read};
pub(crate) use self::rows::texts;
