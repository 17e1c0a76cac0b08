//! Behaviours that every way into a Pillion cache must show, written once.
//!
//! A behaviour is a function over a [`Session`]: it writes rows through one handle, reads them through the handle
//! under test and compares what comes back with plain Rust values, never with another path of the product. It uses
//! the public interface of `pillion` only.
//!
//! A way in implements [`Opener`], and its tests say
//!
//! ```ignore
//! pillion_conformance::instantiate!(Embedded);
//! ```
//!
//! which makes one `#[test]` of every behaviour. `behaviours.rs` lists all behaviours. Name classes to leave out what a
//! way in or a build cannot do by its nature: see [`instantiate!`].

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a behaviour says what it expects by failing"
)]

mod arrays;
mod behaviours;
mod list;
mod model;
mod opener;
mod random;
mod samples;
mod session;

pub mod appends;
pub mod casts;
pub mod changes;
pub mod column_queries;
pub mod columns;
pub mod composite_keys;
pub mod concurrency;
pub mod conditions;
pub mod definitions;
pub mod delegation;
pub mod deletes;
pub mod errors;
pub mod extremes;
pub mod filters;
pub mod float_keys;
pub mod handles;
pub mod inverses;
pub mod joins;
pub mod key_queries;
pub mod key_text;
pub mod key_types;
pub mod keys;
pub mod merging;
pub mod modifications;
pub mod names;
pub mod parameters;
pub mod points;
pub mod policies;
pub mod prepared;
pub mod queries;
pub mod reopening;
pub mod replaces;
pub mod retention;
pub mod rows;
pub mod snapshots;
pub mod sorted_ranges;
pub mod sources;
pub mod staleness;
pub mod statements;
pub mod streams;
pub mod tables;
pub mod transactions;
pub mod uneven_rows;
pub mod upserts;
pub mod versions;
pub mod zeros;

pub use list::{Behaviour, all};
pub use opener::{Opened, Opener};
pub use session::Session;

/// What a behaviour returns: an error is a failure.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Runs a behaviour over a fresh cache.
///
/// # Errors
/// Whatever the behaviour did not expect.
pub fn run(opener: &dyn Opener, behaviour: fn(&mut Session<'_>) -> Outcome) -> Outcome {
    behaviour(&mut Session::open(opener))
}
