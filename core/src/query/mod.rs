//! SQL: the only place that names DataFusion.

mod catalog;
mod depth;
#[cfg(test)]
mod differential;
mod engine;
mod error;
mod key_filter;
mod limits;
mod long_rows;
mod lookup;
mod monotone;
mod provider;
mod pruning;
mod scan;
mod sorted;
mod stack;
mod stream;
mod tokens;
mod values;
mod zeros;

pub(crate) use engine::{Engine, PreparedPlan};
