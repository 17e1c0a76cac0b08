//! What the tests stand on.

pub(crate) mod certificates;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod server;
