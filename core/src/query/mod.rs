//! SQL: the only place that names DataFusion.

mod catalog;
mod depth;
mod engine;
mod error;
mod key_filter;
mod limits;
mod lookup;
mod provider;
mod pruning;
mod scan;
mod sorted;
mod stack;
mod stream;
mod tokens;
mod values;

pub(crate) use engine::{Engine, PreparedPlan};
