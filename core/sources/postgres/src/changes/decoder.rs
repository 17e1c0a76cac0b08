//! Which messages may follow which, and the tables that they are of.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::bytes::{Malformed, MessageBytes};
use super::lsn::Lsn;
use super::message::Message;
use super::relation::AnnouncedTable;
use super::row::OldRow;
use super::tuple::{Cell, Tuple};

/// Tables that may be announced in one connection, and transactions that may be streamed at once. No server has as many; they bound
/// the memory that bytes can take.
const TABLES_MAX: usize = 1 << 16;
const STREAMED_MAX: usize = 1 << 16;

/// Reads the messages of `pgoutput` of one connection, in their order. After an error it must not be used again.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    place: Place,
    tables: HashMap<u32, Arc<AnnouncedTable>>,
    /// Transactions of which blocks came and no end.
    streamed: HashSet<u32>,
}

/// Where the stream of messages is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Between transactions.
    #[default]
    Outside,
    /// In a transaction that was committed there.
    Transaction(Lsn),
    /// In a block of a streamed transaction.
    Block,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A table that was announced.
    #[cfg(test)]
    pub(crate) fn table(&self, oid: u32) -> Option<&Arc<AnnouncedTable>> {
        self.tables.get(&oid)
    }

    /// Reads the next message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that no server sends there.
    pub(crate) fn message<'a>(&mut self, bytes: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let message = Message::decode(bytes, self.place == Place::Block)?;
        self.follow(&message).map_err(|what| MessageBytes::new(bytes).malformed(what))?;
        Ok(message)
    }

    /// Goes where a message leads, or says why it cannot come here.
    fn follow(&mut self, message: &Message<'_>) -> Result<(), String> {
        match (self.place, message) {
            (Place::Outside, Message::Begin { commit, .. }) => self.place = Place::Transaction(*commit),
            (Place::Transaction(announced), Message::Commit(commit)) => {
                if commit.at != announced {
                    return Err(format!(
                        "a transaction with its commit at {announced} is committed at {}",
                        commit.at
                    ));
                }
                self.place = Place::Outside;
            }
            (Place::Outside, Message::StreamStart { transaction, is_first }) => {
                self.start_block(*transaction, *is_first)?;
            }
            (Place::Block, Message::StreamStop) => self.place = Place::Outside,
            (Place::Outside, Message::StreamCommit { transaction, .. }) => {
                if !self.streamed.remove(transaction) {
                    return Err(format!(
                        "transaction {transaction} is committed, and none of it was streamed"
                    ));
                }
            }
            (Place::Outside, Message::StreamAbort { transaction, subtransaction }) => {
                // Of an unknown transaction too: there is nothing to drop.
                if transaction == subtransaction {
                    self.streamed.remove(transaction);
                }
            }
            // Those that are not part of a transaction come whenever they were written.
            (_, Message::Note { is_transactional: false, .. }) => {}
            (Place::Transaction(_) | Place::Block, _) => return self.change(message),
            (Place::Outside, _) => return Err(format!("{} stands outside of a transaction", kind(message))),
        }
        Ok(())
    }

    fn start_block(&mut self, transaction: u32, is_first: bool) -> Result<(), String> {
        if self.streamed.contains(&transaction) == is_first {
            let what = if is_first { "begins twice" } else { "goes on without having begun" };
            return Err(format!("the streamed transaction {transaction} {what}"));
        }
        if self.streamed.len() == STREAMED_MAX {
            return Err(format!("{STREAMED_MAX} transactions are streamed at once"));
        }
        self.streamed.insert(transaction);
        self.place = Place::Block;
        Ok(())
    }

    /// A message inside of a transaction.
    fn change(&mut self, message: &Message<'_>) -> Result<(), String> {
        match message {
            Message::Table { table, .. } => {
                if self.tables.len() == TABLES_MAX && !self.tables.contains_key(&table.oid) {
                    return Err(format!("{TABLES_MAX} tables are announced"));
                }
                self.tables.insert(table.oid, table.clone());
                Ok(())
            }
            Message::Insert { table, new, .. } => self.new_row(*table, new),
            Message::Update { table, old, new, .. } => {
                old.map_or(Ok(()), |old| self.old_row(*table, &old))?;
                self.new_row(*table, new)
            }
            Message::Delete { table, old, .. } => self.old_row(*table, old),
            Message::Truncate { tables, .. } => {
                tables.iter().try_for_each(|table| self.announced(table).map(drop))
            }
            Message::Origin { .. } | Message::Type { .. } | Message::Note { .. } => Ok(()),
            _ => Err(format!("{} stands inside of a transaction", kind(message))),
        }
    }

    fn announced(&self, table: u32) -> Result<&AnnouncedTable, String> {
        self.tables
            .get(&table)
            .map(|table| &**table)
            .ok_or_else(|| format!("table {table} was not announced"))
    }

    fn new_row(&self, table: u32, row: &Tuple<'_>) -> Result<(), String> {
        self.announced(table).and_then(|table| fits(table, row))
    }

    fn old_row(&self, table: u32, row: &OldRow<'_>) -> Result<(), String> {
        let table = self.announced(table)?;
        fits(table, &row.tuple())?;
        // The server always sends the identity whole: without one of its values nobody knows which row it is.
        let mut cells = table.columns.iter().zip(row.tuple().cells());
        match cells.find(|(column, cell)| column.is_identity && *cell == Cell::Unchanged) {
            Some((column, _)) => Err(format!("the old row lacks column {:?} of its identity", column.name)),
            None => Ok(()),
        }
    }
}

fn fits(table: &AnnouncedTable, row: &Tuple<'_>) -> Result<(), String> {
    if usize::from(row.columns()) == table.columns.len() {
        return Ok(());
    }
    Err(format!(
        "a row of table {:?} has {} values for {} columns",
        table.name,
        row.columns(),
        table.columns.len()
    ))
}

fn kind(message: &Message<'_>) -> &'static str {
    match message {
        Message::Begin { .. } => "a begin",
        Message::Commit(_) => "a commit",
        Message::Origin { .. } => "an origin",
        Message::Table { .. } => "an announcement of columns",
        Message::Type { .. } => "an announcement of a type",
        Message::Insert { .. } => "an insert",
        Message::Update { .. } => "an update",
        Message::Delete { .. } => "a delete",
        Message::Truncate { .. } => "a truncate",
        Message::Note { .. } => "a note",
        Message::StreamStart { .. } => "the start of a block",
        Message::StreamStop => "the end of a block",
        Message::StreamCommit { .. } => "the commit of a streamed transaction",
        Message::StreamAbort { .. } => "the abort of a streamed transaction",
    }
}
