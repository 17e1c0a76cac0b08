//! Tables of SQLite files as a source.
mod authority;
mod catalog;
mod decode;
mod failures;
mod mark;
mod names;
mod options;
mod plan;
mod position;
mod relation_options;
mod rows;
mod session;
mod source;
mod stamps;
mod types;
mod url;
mod worker;

pub use options::SqliteOptions;
pub use source::Sqlite;
