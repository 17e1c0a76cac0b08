//! The words of all layers: errors, versions, values, keys, rules and settings.

pub(crate) mod bounds;
pub(crate) mod cell;
pub(crate) mod clock;
pub(crate) mod column;
pub(crate) mod decoded_len;
pub(crate) mod error;
pub(crate) mod key;
pub(crate) mod mode;
pub(crate) mod options;
pub(crate) mod panics;
pub(crate) mod permitted;
pub(crate) mod recorder;
pub(crate) mod rules;
pub(crate) mod statement;
pub(crate) mod units;
pub(crate) mod value;
pub(crate) mod version;
