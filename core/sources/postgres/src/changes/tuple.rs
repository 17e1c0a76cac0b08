//! The values of a row as the server sends them.

use super::bytes::{Malformed, MessageBytes};

/// The values of a row. They were read once already, so taking them cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuple<'a> {
    columns: u16,
    bytes: &'a [u8],
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    /// A null; in an old row of which only the identity is sent, whatever does not belong to it.
    Null,
    /// A value out of line that did not change, and that the server therefore does not send.
    Unchanged,
    /// In the form in which the server shows it.
    Text(&'a [u8]),
    /// In the form of a binary `COPY`.
    Binary(&'a [u8]),
}

impl<'a> Tuple<'a> {
    pub(super) fn decode(bytes: &mut MessageBytes<'a>) -> Result<Self, Malformed> {
        let columns = bytes.count16("the number of values")?;
        let start = bytes.clone();
        for _ in 0..columns {
            cell(bytes)?;
        }
        Ok(Self { columns, bytes: bytes.since(&start) })
    }

    /// How many values it has.
    pub(crate) fn columns(&self) -> u16 {
        self.columns
    }

    /// Its values, in the order of the columns.
    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell<'a>> + use<'a> {
        let mut bytes = MessageBytes::new(self.bytes);
        (0..self.columns).map_while(move |_| cell(&mut bytes).ok())
    }
}

fn cell<'a>(bytes: &mut MessageBytes<'a>) -> Result<Cell<'a>, Malformed> {
    let start = bytes.clone();
    let kind = bytes.u8("a value")?;
    match kind {
        b'n' => Ok(Cell::Null),
        b'u' => Ok(Cell::Unchanged),
        b't' | b'b' => {
            let len = bytes.count32("the length of a value")?;
            let value = bytes.bytes(len, "a value")?;
            Ok(if kind == b't' { Cell::Text(value) } else { Cell::Binary(value) })
        }
        other => Err(start.malformed(format!("no value is of kind {other:#04x}"))),
    }
}
