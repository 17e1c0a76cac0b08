//! SQL: the only place that names DataFusion.

mod account;
mod below;
mod catalog;
mod condition;
mod contain;
mod delegated;
mod depth;
#[cfg(test)]
mod differential;
mod engine;
mod error;
mod filters;
#[cfg(feature = "datafusion")]
mod foreign;
mod functions;
mod guard;
mod inverses;
mod joins;
mod key_filter;
mod last_rule;
mod limits;
mod long_rows;
mod lookup;
mod memory;
mod modify;
mod monotone;
mod narrow;
mod narrowing;
mod paced;
mod parse;
mod point;
mod provider;
mod pruning;
mod results;
mod scan;
mod size;
mod sorted;
mod stack;
mod stop;
mod stream;
mod threads;
mod tokens;
mod values;
mod watch;
mod zeros;

pub(crate) use condition::Condition;
pub(crate) use engine::{Engine, PreparedPlan};
#[cfg(feature = "datafusion")]
pub(crate) use foreign::Pinned;
#[cfg(feature = "datafusion")]
pub use foreign::{CacheCatalog, with_rules};
pub(crate) use memory::HeldMemory;
pub(crate) use modify::{Modification, ModifyingStatement};
