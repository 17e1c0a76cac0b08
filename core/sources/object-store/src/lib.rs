//! Files.

mod adapt;
mod batches;
mod blocks;
mod file;
mod formats;
mod hive;
mod known;
mod location;
mod marks;
mod names;
mod options;
mod pattern;
mod plan;
mod reconcile;
mod runtime;
mod schemes;
mod secret;
mod source;
mod store;
mod types;

pub use self::location::Location;
pub use self::secret::Secret;
pub use self::source::ObjectStoreSource;
