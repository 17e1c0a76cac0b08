//! The rivals' side of the comparisons: SQLite, and DataFusion as it is.
//!
//! Apart from the harness, so that only who asks for a comparison builds them. A rival is set up as its users would
//! who care for speed; what that is stands at the top of its module. Where it has no such thing as what a row
//! measures, its cells stay empty.

pub mod datafusion;
pub mod sqlite;
