//! The messages of `pgoutput`, versions 1 and 2 of its protocol.

use std::sync::Arc;

use super::bytes::{Malformed, MessageBytes};
use super::lsn::Lsn;
use super::relation::AnnouncedTable;
use super::row::{self, OldRow, TableNumbers};
use super::tuple::Tuple;

/// A message of the plugin. In a block of a streamed transaction, `subtransaction` says by which transaction or subtransaction a
/// change was made, so that what is rolled back can be dropped; outside of blocks it is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// A transaction that was committed begins.
    Begin {
        transaction: u32,
        /// Where its commit stands.
        commit: Lsn,
        /// Microseconds since 2000.
        time: i64,
    },
    Commit(Commit),
    /// The transaction was replicated to the server from elsewhere.
    Origin {
        commit: Lsn,
        name: &'a str,
    },
    /// What the columns of a table are from now on.
    Table {
        subtransaction: Option<u32>,
        table: Arc<AnnouncedTable>,
    },
    /// What a type is called that is not built in.
    Type {
        subtransaction: Option<u32>,
        oid: u32,
        schema: &'a str,
        name: &'a str,
    },
    Insert {
        subtransaction: Option<u32>,
        table: u32,
        new: Tuple<'a>,
    },
    Update {
        subtransaction: Option<u32>,
        table: u32,
        old: Option<OldRow<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        subtransaction: Option<u32>,
        table: u32,
        old: OldRow<'a>,
    },
    Truncate {
        subtransaction: Option<u32>,
        tables: TableNumbers<'a>,
        /// Tables with foreign keys to these were emptied too. They are among `tables` if they are published.
        cascades: bool,
        restarts_sequences: bool,
    },
    /// What somebody wrote with `pg_logical_emit_message`.
    Note {
        subtransaction: Option<u32>,
        /// Otherwise it is sent whatever becomes of the transaction that wrote it.
        is_transactional: bool,
        at: Lsn,
        prefix: &'a str,
        content: &'a [u8],
    },
    /// A block of a transaction begins that is not committed yet.
    StreamStart {
        transaction: u32,
        is_first: bool,
    },
    /// The block ends.
    StreamStop,
    StreamCommit {
        transaction: u32,
        commit: Commit,
    },
    /// A part of a streamed transaction was rolled back; all of it, if `subtransaction` is the transaction.
    StreamAbort {
        transaction: u32,
        subtransaction: u32,
    },
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Where the commit stands.
    pub(crate) at: Lsn,
    /// The position after it, from where on nothing of the transaction is needed again.
    pub(crate) end: Lsn,
    /// Microseconds since 2000.
    pub(crate) time: i64,
}

impl Commit {
    fn decode(bytes: &mut MessageBytes<'_>) -> Result<Self, Malformed> {
        bytes.no_flags()?;
        let start = bytes.clone();
        let (at, end) = (bytes.lsn("the position of a commit")?, bytes.lsn("the end of a commit")?);
        if end < at {
            return Err(start.malformed(format!("a commit at {at} ends before, at {end}")));
        }
        Ok(Self { at, end, time: bytes.i64("the time of a commit")? })
    }
}

impl<'a> Message<'a> {
    /// Reads a message, which stands in a block of a streamed transaction or not.
    pub(super) fn decode(message: &'a [u8], is_in_block: bool) -> Result<Self, Malformed> {
        let mut bytes = MessageBytes::new(message);
        let decoded = content(&mut bytes, is_in_block)?;
        bytes.end()?;
        Ok(decoded)
    }
}

fn content<'a>(bytes: &mut MessageBytes<'a>, is_in_block: bool) -> Result<Message<'a>, Malformed> {
    let start = bytes.clone();
    let kind = bytes.u8("its kind")?;
    let subtransaction = match kind {
        b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M' if is_in_block => {
            Some(bytes.u32("the number of a transaction")?)
        }
        _ => None,
    };
    Ok(match kind {
        b'B' => Message::Begin {
            commit: bytes.lsn("the position of a commit")?,
            time: bytes.i64("the time of a commit")?,
            transaction: bytes.u32("the number of a transaction")?,
        },
        b'C' => Message::Commit(Commit::decode(bytes)?),
        b'O' => Message::Origin {
            commit: bytes.lsn("the position of a commit elsewhere")?,
            name: bytes.text("the name of an origin")?,
        },
        b'R' => Message::Table { subtransaction, table: Arc::new(AnnouncedTable::decode(bytes)?) },
        b'Y' => Message::Type {
            subtransaction,
            oid: bytes.u32("the number of a type")?,
            schema: bytes.text("the name of a schema")?,
            name: bytes.text("the name of a type")?,
        },
        b'I' => Message::Insert { subtransaction, table: table(bytes)?, new: row::new(bytes)? },
        b'U' => {
            let table = table(bytes)?;
            let (old, new) = row::both(bytes)?;
            Message::Update { subtransaction, table, old, new }
        }
        b'D' => Message::Delete { subtransaction, table: table(bytes)?, old: row::old(bytes)? },
        b'T' => truncate(bytes, subtransaction)?,
        b'M' => Message::Note {
            subtransaction,
            is_transactional: bytes.flag("whether a note is transactional")?,
            at: bytes.lsn("the position of a note")?,
            prefix: bytes.text("the prefix of a note")?,
            content: {
                let len = bytes.count32("the length of a note")?;
                bytes.bytes(len, "a note")?
            },
        },
        b'S' => Message::StreamStart {
            transaction: bytes.u32("the number of a transaction")?,
            is_first: bytes.flag("whether a block is the first")?,
        },
        b'E' => Message::StreamStop,
        b'c' => Message::StreamCommit {
            transaction: bytes.u32("the number of a transaction")?,
            commit: Commit::decode(bytes)?,
        },
        b'A' => Message::StreamAbort {
            transaction: bytes.u32("the number of a transaction")?,
            subtransaction: bytes.u32("the number of a subtransaction")?,
        },
        kind => return Err(start.malformed(format!("no message is of kind {kind:#04x}"))),
    })
}

fn table(bytes: &mut MessageBytes<'_>) -> Result<u32, Malformed> {
    bytes.u32("the number of a table")
}

fn truncate<'a>(bytes: &mut MessageBytes<'a>, subtransaction: Option<u32>) -> Result<Message<'a>, Malformed> {
    let count = bytes.count32("the number of tables")?;
    let start = bytes.clone();
    let flags = bytes.u8("flags")?;
    if flags & !3 != 0 {
        return Err(start.malformed(format!("the flags are {flags:#x}, which nobody knows")));
    }
    Ok(Message::Truncate {
        subtransaction,
        tables: TableNumbers::decode(bytes, count)?,
        cascades: flags & 1 != 0,
        restarts_sequences: flags & 2 != 0,
    })
}
