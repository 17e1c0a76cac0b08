//! Tables that fetch their rows from sources, and fetch them again.
//!
//! A refresh fetches rows and commits them together with what it takes to go on after a crash. The scheduler decides when. The old rows
//! are read until the commit, and stay if a refresh fails.

mod append;
mod backoff;
mod budget;
mod chance;
mod changed;
mod check;
mod covering;
mod delegate;
mod due;
mod expired;
mod fetched;
mod follow;
mod gate;
mod missing;
mod owner;
mod parts;
mod places;
mod progress;
#[cfg(feature = "sql")]
mod pushed;
mod quiet;
mod record;
mod run;
mod scheduler;
mod state;
mod wanted;

pub(crate) use check::{check, check_capabilities};
pub(crate) use owner::Owner;
