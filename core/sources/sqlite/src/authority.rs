//! What statements may do: read the tables of their file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization, TransactionOperation};

/// Pragmas that only tell something.
const PRAGMAS: &[&str] = &[
    "data_version",
    "encoding",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Functions whose values change although no row does. Those of dates do if an argument is `now`.
const CHANGING: &[&str] = &[
    "changes",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "julianday",
    "last_insert_rowid",
    "random",
    "randomblob",
    "strftime",
    "time",
    "timediff",
    "total_changes",
    "unixepoch",
];

/// What was seen of statements since it was last asked for. Clones see the same.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    is_changing: Arc<AtomicBool>,
}

impl Seen {
    /// Whether a statement since the last question uses a function whose values change although no row does.
    pub(crate) fn take_changing(&self) -> bool {
        self.is_changing.swap(false, Ordering::Relaxed)
    }

    /// Whether SQLite may do what a statement asks for.
    pub(crate) fn judge(&self, context: &AuthContext<'_>) -> Authorization {
        match context.action {
            AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
            AuthAction::Transaction {
                operation: TransactionOperation::Begin | TransactionOperation::Rollback,
            } => Authorization::Allow,
            AuthAction::Function { function_name } => self.judge_function(function_name),
            AuthAction::Pragma { pragma_name, pragma_value } if is_told(pragma_name, pragma_value) => {
                Authorization::Allow
            }
            _ => Authorization::Deny,
        }
    }

    fn judge_function(&self, name: &str) -> Authorization {
        if name.eq_ignore_ascii_case("load_extension") {
            return Authorization::Deny;
        }
        if CHANGING.iter().any(|changing| name.eq_ignore_ascii_case(changing)) {
            self.is_changing.store(true, Ordering::Relaxed);
        }
        Authorization::Allow
    }
}

fn is_told(name: &str, value: Option<&str>) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match value {
        // Says how far the log is, and moves nothing.
        Some(value) if is("wal_checkpoint") => value.eq_ignore_ascii_case("noop"),
        Some(_) if is("data_version") || is("encoding") => false,
        _ => PRAGMAS.iter().any(|told| is(told)),
    }
}
