//! Files, commits and reads. Knows Arrow; knows neither DataFusion nor tokio.
#![cfg_attr(
    not(feature = "sql"),
    allow(dead_code, unused_imports, reason = "zone maps and batches of one row are read by SQL only")
)]

mod assemble;
mod batch;
mod bounds;
mod catalog_limits;
#[cfg(test)]
mod crash;
mod deleted;
mod edit;
mod expiry;
mod files;
mod follower;
mod format;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod history;
mod index;
pub(crate) mod key;
mod key_decode;
mod live;
mod load;
mod log;
mod machine;
mod manifest;
mod maps;
mod pace;
mod planted;
mod recovery;
mod region;
mod row_lens;
mod segment;
mod sort;
mod state;
mod store;
mod table;
mod tail;
mod vfs;

#[cfg(feature = "sidecar")]
pub(crate) use assemble::{Node, Parts, assemble, can_assemble, has_offsets};
#[cfg(any(feature = "sidecar", feature = "sql"))]
pub(crate) use batch::batch_len;
#[cfg(feature = "sidecar")]
pub(crate) use batch::compact_views;
pub(crate) use catalog_limits::check_source;
pub(crate) use expiry::is_time;
pub(crate) use files::Files;
pub(crate) use follower::Follower;
#[cfg(feature = "sidecar")]
pub(crate) use format::{u32_at, u64_at};
pub(crate) use history::History;
#[cfg(test)]
pub(crate) use machine::{Clock, OsMachine, Randomness};
#[cfg(feature = "sidecar")]
pub(crate) use maps::{FileId, MappedFile, Maps};
#[cfg(feature = "sidecar")]
pub(crate) use region::Region;
#[cfg(feature = "sidecar")]
pub(crate) use row_lens::{fixed_len, rows_within, value_len};
pub(crate) use segment::{Segment, SegmentHandle, ZoneMaps, check_storable};
pub(crate) use sort::ORDER;
pub(crate) use state::State;
pub(crate) use store::{Change, Incoming, Store, Sync};
pub(crate) use table::{Found, PREFETCHED_KEYS, Part, Pieces, Prefetch, TableShape, TableState};
pub(crate) use tail::KeyColumn;
#[cfg(test)]
pub(crate) use vfs::faulty::FaultyVfs;
