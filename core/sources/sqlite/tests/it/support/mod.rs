//! What the tests stand on.

pub(crate) mod database;
#[path = "../../../../../tests/it/support/random.rs"]
pub(crate) mod random;
#[path = "../../../../../tests/it/support/report.rs"]
pub(crate) mod report;
#[path = "../../../../tests/rows.rs"]
pub(crate) mod rows;
