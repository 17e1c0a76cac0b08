//! The tables in DataFusion contexts of the program itself.

mod catalog;
mod pins;
mod rules;

pub use self::catalog::CacheCatalog;
pub(crate) use self::pins::{Pinned, Pins};
pub use self::rules::with_rules;
