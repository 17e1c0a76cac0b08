//! Files, commits and reads. Knows Arrow; knows neither DataFusion nor tokio.
#![cfg_attr(
    not(feature = "sql"),
    allow(dead_code, unused_imports, reason = "zone maps and batches of one row are read by SQL only")
)]

mod batch;
mod catalog;
mod format;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
pub(crate) mod key;
mod live;
mod load;
mod log;
mod mapped;
mod planted;
mod segment;
mod store;
mod table;
mod tail;
#[cfg(test)]
mod tests;
mod vfs;

#[cfg(any(feature = "sidecar", feature = "sql"))]
pub(crate) use batch::batch_len;
#[cfg(feature = "sidecar")]
pub(crate) use batch::compact_views;
#[cfg(feature = "sidecar")]
pub(crate) use batch::row_lens::{fixed_len, rows_within, value_len};
pub(crate) use catalog::files::Files;
pub(crate) use catalog::limits::check_source;
pub(crate) use catalog::state::State;
#[cfg(feature = "sidecar")]
pub(crate) use format::{u32_at, u64_at};
pub(crate) use live::follower::Follower;
pub(crate) use load::sort::ORDER;
#[cfg(feature = "sidecar")]
pub(crate) use mapped::assemble::{Node, Parts, assemble, can_assemble, has_offsets};
#[cfg(feature = "sidecar")]
pub(crate) use mapped::maps::{FileId, MappedFile, Maps};
#[cfg(feature = "sidecar")]
pub(crate) use mapped::region::Region;
pub(crate) use segment::{Segment, SegmentHandle, ZoneMaps, check_storable};
pub(crate) use store::{Change, Incoming, Store, Sync};
pub(crate) use table::expiry::is_time;
pub(crate) use table::history::History;
pub(crate) use table::{Found, PREFETCHED_KEYS, Part, Pieces, Prefetch, TableShape, TableState, freshness};
pub(crate) use tail::KeyColumn;
#[cfg(test)]
pub(crate) use vfs::faulty::FaultyVfs;
#[cfg(test)]
pub(crate) use vfs::machine::{Clock, OsMachine, Randomness};
