//! What the tests stand on.

pub(crate) mod certificates;
#[path = "../../../../tests/proxy.rs"]
pub(crate) mod proxy;
#[path = "../../../../../tests/it/support/random.rs"]
pub(crate) mod random;
#[path = "../../../../../tests/it/support/report.rs"]
pub(crate) mod report;
#[path = "../../../../tests/rows.rs"]
pub(crate) mod rows;
pub(crate) mod server;
