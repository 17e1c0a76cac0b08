//! What the tests stand on.

#[path = "../../../../tests/proxy.rs"]
pub(crate) mod proxy;
#[path = "../../../../../tests/it/support/report.rs"]
pub(crate) mod report;
#[path = "../../../../tests/rows.rs"]
pub(crate) mod rows;
pub(crate) mod server;
