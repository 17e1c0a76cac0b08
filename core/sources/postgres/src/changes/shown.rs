//! Messages as texts, for tests and fuzzing.

use super::message::{Commit, Message};
use super::relation::Identity;
use super::row::OldRow;
use super::tuple::{Cell, Tuple};

/// Everything that a message says.
pub(crate) fn shown(message: &Message<'_>) -> String {
    match message {
        Message::Begin { transaction, commit, time } => format!("begin {transaction} {commit} {time}"),
        Message::Commit(end) => commit(end),
        Message::Origin { commit, name } => format!("origin {commit} {name:?}"),
        Message::Table { subtransaction, table } => {
            let identity = match table.identity {
                Identity::Default => 'd',
                Identity::Nothing => 'n',
                Identity::Full => 'f',
                Identity::Index => 'i',
            };
            let columns = table.columns.iter().map(|column| {
                let key = if column.is_identity { "*" } else { "" };
                format!("{key}{:?} {} {}", column.name, column.type_oid, column.modifier)
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            format!(
                "{}table {} {:?}.{:?} {identity} ({columns})",
                within(*subtransaction),
                table.oid,
                table.schema,
                table.name
            )
        }
        Message::Type { subtransaction, oid, schema, name } => {
            format!("{}type {oid} {schema:?}.{name:?}", within(*subtransaction))
        }
        Message::Insert { subtransaction, table, new } => {
            format!("{}insert {table} {}", within(*subtransaction), row(new))
        }
        Message::Update { subtransaction, table, old, new } => {
            let old = old.as_ref().map(|old| format!("{} -> ", old_row(old))).unwrap_or_default();
            format!("{}update {table} {old}{}", within(*subtransaction), row(new))
        }
        Message::Delete { subtransaction, table, old } => {
            format!("{}delete {table} {}", within(*subtransaction), old_row(old))
        }
        Message::Truncate { subtransaction, tables, cascades, restarts_sequences } => format!(
            "{}truncate {:?} {}",
            within(*subtransaction),
            tables.iter().collect::<Vec<_>>(),
            u8::from(*cascades) | u8::from(*restarts_sequences) << 1
        ),
        Message::Note { subtransaction, is_transactional, at, prefix, content } => format!(
            "{}note {} {at} {prefix:?} {}",
            within(*subtransaction),
            u8::from(*is_transactional),
            content.escape_ascii()
        ),
        Message::StreamStart { transaction, is_first } => format!("start {transaction} {is_first}"),
        Message::StreamStop => "stop".to_owned(),
        Message::StreamCommit { transaction, commit: end } => {
            format!("streamed {transaction} {}", commit(end))
        }
        Message::StreamAbort { transaction, subtransaction } => {
            format!("abort {transaction} {subtransaction}")
        }
    }
}

fn within(subtransaction: Option<u32>) -> String {
    subtransaction.map(|subtransaction| format!("{subtransaction}: ")).unwrap_or_default()
}

fn commit(commit: &Commit) -> String {
    format!("commit {} {} {}", commit.at, commit.end, commit.time)
}

fn old_row(old: &OldRow<'_>) -> String {
    let kind = match old {
        OldRow::Key(_) => 'K',
        OldRow::Full(_) => 'O',
    };
    format!("{kind}{}", row(&old.tuple()))
}

fn row(tuple: &Tuple<'_>) -> String {
    let cells = tuple.cells().map(|cell| match cell {
        Cell::Null => "null".to_owned(),
        Cell::Unchanged => "unchanged".to_owned(),
        Cell::Text(text) => format!("'{}'", text.escape_ascii()),
        Cell::Binary(bytes) => format!("b'{}'", bytes.escape_ascii()),
    });
    format!("({})", cells.collect::<Vec<_>>().join(", "))
}
