//! The directory of a segment: where its buffers and sections stand.

use serde::{Deserialize, Serialize};

/// Positions of everything in a segment file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Directory {
    /// Rows of all batches.
    pub(crate) rows: u64,
    /// The batches in order.
    pub(crate) batches: Vec<BatchPositions>,
    /// The key index; `None` without a primary key.
    pub(crate) index: Option<Section>,
    /// Zone maps.
    pub(crate) zones: Section,
    /// Page checksums; they cover every byte before them.
    pub(crate) checksums: Section,
    /// Checksum of the page checksums.
    pub(crate) checksums_checksum: u64,
}

/// A range of bytes of the file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Section {
    /// First byte.
    pub(crate) offset: u64,
    /// Number of bytes.
    pub(crate) len: u64,
}

/// Positions of one batch, in the depth-first order of Arrow IPC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BatchPositions {
    /// Rows.
    pub(crate) rows: u64,
    /// Length and null count of every array.
    pub(crate) nodes: Vec<(u64, u64)>,
    /// Every buffer; offsets from the start of the file.
    pub(crate) buffers: Vec<Section>,
    /// Number of data buffers of every view array.
    pub(crate) variadic: Vec<u32>,
}
