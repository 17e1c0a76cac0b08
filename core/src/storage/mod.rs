//! Files, commits and reads. Knows Arrow; knows neither DataFusion nor tokio.

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

pub(crate) use batch::batch_len;
#[cfg(feature = "sidecar")]
pub(crate) use batch::compact_views;
#[cfg(feature = "sidecar")]
pub(crate) use batch::row_lens::{fixed_len, rows_within, value_len};
pub(crate) use catalog::files::Files;
pub(crate) use catalog::state::State;
#[cfg(feature = "sidecar")]
pub(crate) use format::{u32_at, u64_at};
pub(crate) use live::follower::Follower;
#[cfg(feature = "sql")]
pub(crate) use load::sort::ORDER;
#[cfg(feature = "sidecar")]
pub(crate) use mapped::assemble::{Node, Parts, assemble, can_assemble, has_offsets};
#[cfg(feature = "sidecar")]
pub(crate) use mapped::maps::{FileId, MappedFile, Maps};
#[cfg(feature = "sidecar")]
pub(crate) use mapped::region::Region;
pub(crate) use segment::SegmentHandle;
#[cfg(feature = "sql")]
pub(crate) use segment::{Segment, ZoneMaps};
pub(crate) use store::{Change, Store, Sync};
#[cfg(feature = "sql")]
pub(crate) use table::Part;
pub(crate) use table::expiry::{is_older, oldest};
pub(crate) use table::history::History;
pub(crate) use table::{Found, PREFETCHED_KEYS, Pieces, Prefetch, TableShape, TableState, freshness};
pub(crate) use tail::KeyColumn;
#[cfg(test)]
pub(crate) use vfs::faulty::FaultyVfs;
pub(crate) use vfs::machine::Clock;
#[cfg(test)]
pub(crate) use vfs::machine::{OsMachine, Randomness};
