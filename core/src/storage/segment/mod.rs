//! Segments: immutable files of rows that any Arrow tool can open and that we read in place.
//!
//! ```text
//! Arrow IPC file header and schema
//! record batches, uncompressed, every buffer 64-byte aligned
//! key index          buckets of 64 bytes                          (tables with a primary key)
//! zone maps          Arrow IPC stream: min, max, nulls per column and batch
//! page checksums     XXH3-64 of every 64 KiB from the start of the file to here
//! directory          MessagePack: where all of this stands        (its checksum is in the catalog)
//! end of stream, Arrow IPC footer
//! ```
//!
//! We find everything through the directory and never parse Arrow metadata of a file; other tools use the
//! footer and skip our sections.

mod arrays;
mod directory;
mod handle;
pub(crate) mod key_index;
mod pages;
mod prefetch;
mod reader;
mod writer;
mod zones;

pub(crate) use arrays::check_storable;
pub(crate) use arrays::map_columns;
pub(crate) use directory::BatchPositions;
#[cfg(fuzzing)]
pub(crate) use directory::Directory;
pub(crate) use handle::SegmentHandle;
pub(crate) use reader::Segment;
pub(crate) use writer::{SegmentWriter, positions};
#[cfg(feature = "sql")]
pub(crate) use zones::ZoneMaps;
