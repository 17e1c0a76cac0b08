//! Changes of rows.

use super::bytes::{Malformed, MessageBytes};
use super::tuple::Tuple;

/// What is sent of a row as it was before a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldRow<'a> {
    /// The columns of its identity; the others are null in it.
    Key(Tuple<'a>),
    /// All columns.
    Full(Tuple<'a>),
}

impl<'a> OldRow<'a> {
    pub(crate) fn tuple(&self) -> Tuple<'a> {
        let (Self::Key(tuple) | Self::Full(tuple)) = self;
        *tuple
    }
}

/// A row, before or after a change.
enum Image<'a> {
    Old(OldRow<'a>),
    New(Tuple<'a>),
}

fn image<'a>(bytes: &mut MessageBytes<'a>) -> Result<Image<'a>, Malformed> {
    let start = bytes.clone();
    match bytes.u8("a row")? {
        b'K' => Ok(Image::Old(OldRow::Key(Tuple::decode(bytes)?))),
        b'O' => Ok(Image::Old(OldRow::Full(Tuple::decode(bytes)?))),
        b'N' => Ok(Image::New(Tuple::decode(bytes)?)),
        other => Err(start.malformed(format!("no row is of kind {other:#04x}"))),
    }
}

pub(super) fn new<'a>(bytes: &mut MessageBytes<'a>) -> Result<Tuple<'a>, Malformed> {
    let start = bytes.clone();
    match image(bytes)? {
        Image::New(new) => Ok(new),
        Image::Old(_) => Err(start.malformed("there is an old row where the new one belongs")),
    }
}

pub(super) fn old<'a>(bytes: &mut MessageBytes<'a>) -> Result<OldRow<'a>, Malformed> {
    let start = bytes.clone();
    match image(bytes)? {
        Image::Old(old) => Ok(old),
        Image::New(_) => Err(start.malformed("there is a new row where the old one belongs")),
    }
}

/// The old row, which is sent if its identity changed or is the whole row, and the new one.
pub(super) fn both<'a>(bytes: &mut MessageBytes<'a>) -> Result<(Option<OldRow<'a>>, Tuple<'a>), Malformed> {
    match image(bytes)? {
        Image::Old(old) => Ok((Some(old), new(bytes)?)),
        Image::New(new) => Ok((None, new)),
    }
}

/// The numbers of tables that are emptied together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableNumbers<'a>(&'a [u8]);

impl<'a> TableNumbers<'a> {
    pub(super) fn decode(bytes: &mut MessageBytes<'a>, count: u32) -> Result<Self, Malformed> {
        let start = bytes.clone();
        let len = count.checked_mul(4).ok_or_else(|| start.malformed("no message names so many tables"))?;
        bytes.bytes(len, "the numbers of tables").map(Self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.0.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}
