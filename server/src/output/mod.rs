//! Where answers go and what they look like.

pub(crate) mod csv;
pub(crate) mod format;
pub(crate) mod layout;
pub(crate) mod progress;
pub(crate) mod rows;
pub(crate) mod sink;
pub(crate) mod table;
pub(crate) mod target;
pub(crate) mod units;
