//! Rows told by where their buffers stand: in the message itself, in leased memory, or in files of the cache.
//!
//! The idea is that of Arrow's Dissociated IPC: the numbers of a record batch travel, its bytes need not. A layout holds
//! no column names or types: its reader knows them. All numbers are little-endian; the parts follow one another:
//!
//! | part | content |
//! | --- | --- |
//! | header | 4: version, 1 · 4: batches · 4: nodes · 4: buffers · 4: files · 4: zero · 8: number of the lease, 0 for none · 8: its offset · 8: its length · 8: length of the body |
//! | files | each 8: table · 8: segment |
//! | batches | each 8: rows |
//! | nodes | each 8: values · 8: nulls · 4: data buffers of views · 1: first bit · 1: first bit of the validity · 2: zero |
//! | buffers | each 4: place · 4: zero · 8: offset · 8: length |
//! | body | copied bytes, if there is no lease |
//!
//! Nodes are arrays, depth first as in Arrow IPC. A node with nulls has a validity bitmap before its other buffers; one
//! without has none. A place is 0 for an empty buffer, 1 for copied bytes, by their offset in the lease or the body, and
//! 2 + n for the n-th file, by the offset in that.

mod describe;
mod rebuild;

pub(crate) use describe::Description;
pub(crate) use rebuild::{Memory, rebuild};

/// Version of the layout.
const LAYOUT_VERSION: u32 = 1;
/// Bytes of the header.
const HEADER_LEN: usize = 56;
/// Bytes of a file.
const FILE_LEN: usize = 16;
/// Bytes of a batch.
const BATCH_LEN: usize = 8;
/// Bytes of a node.
const NODE_LEN: usize = 24;
/// Bytes of a buffer.
const BUFFER_LEN: usize = 24;
/// Alignment of copied buffers.
const ALIGNMENT: usize = 64;

/// The place of an empty buffer.
const PLACE_NONE: u32 = 0;
/// The place of copied bytes.
const PLACE_COPIED: u32 = 1;
/// The place of the first file.
const PLACE_FILES: u32 = 2;

#[cfg(test)]
mod tests;
