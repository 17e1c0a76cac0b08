//! SQL: the only place that names DataFusion.

mod catalog;
mod engine;
mod error;
mod key_filter;
mod provider;
mod pruning;
mod scan;
mod stream;
mod values;

pub(crate) use engine::{Engine, PreparedPlan};
