//! Which rows of its source a table holds, and whether they are all that a question needs.
//!
//! A table may be a *working set*: it holds the rows of its source that satisfy a condition. Rows outside it are missing, so the
//! table may answer a question only if no row outside it could be part of the answer. A [`Predicate`] says in SQL's logic which
//! rows are meant, a [`Region`] is the same as plain sets, and [`Region::includes`] proves that one is inside another.
//!
//! # Why a proof can be trusted
//! Everything rests on one order of sets. Let `D` be the rows for which DataFusion finds a filter true, `F` the filter's region,
//! `C` the coverage's region, and `H` the rows that the table holds of its source.
//!
//! 1. `D ⊆ F`: a filter's region is never too small ([`Region::around`]). What is not understood counts as every row.
//! 2. `F ⊆ C`: what [`Region::includes`] shows, by arithmetic of sets that is never in favour of "yes".
//! 3. `C ⊆ H`: a refresh keeps each fetched row that is in the coverage's region, by the very same sets ([`RowFilter`]).
//!
//! So each row that a filter could want is held. None of the steps needs the source, or DataFusion, to agree with how a
//! condition is read here; a disagreement costs an answer that could have been given and never gives a wrong one.
//!
//! Here is nothing of DataFusion and of storage: `query/` converts expressions, and `refresh/` keeps rows. What is not covered may be
//! fetched from the source: [`Upstream`] is who does that, in a layer above.

#[cfg(any(feature = "sql", test))]
mod compare;
mod decode;
mod domain;
mod fetching;
mod held;
#[cfg(any(feature = "sql", test))]
mod normal;
mod planted;
mod point;
#[cfg(any(feature = "sql", test))]
mod predicate;
mod proof;
#[cfg(any(feature = "sql", test))]
mod ranges;
mod record;
mod region;
mod rows;
mod set;
#[cfg(test)]
mod tests;
mod upstream;

#[cfg(feature = "sql")]
pub(crate) use compare::Comparison;
#[cfg(any(feature = "sql", test))]
pub(crate) use domain::Domain;
pub(crate) use fetching::{Feeder, Fetching, is_given_up};
#[cfg(feature = "sql")]
pub(crate) use held::domain_of;
pub(crate) use held::{Held, delegated, held, out_of_reach};
#[cfg(feature = "sql")]
pub(crate) use predicate::Predicate;
pub(crate) use record::CoverageRecord;
pub(crate) use region::Region;
pub(crate) use rows::RowFilter;
pub(crate) use upstream::{KEYS_AT_ONCE, Upstream, UpstreamSlot, Wanted};
