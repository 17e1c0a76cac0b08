//! The columns of a table as the server announces them before it sends rows.

use super::bytes::{Malformed, MessageBytes};

/// A table and its columns, as of the changes that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnnouncedTable {
    /// The number by which changes name it.
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) identity: Identity,
    pub(crate) columns: Vec<AnnouncedColumn>,
}

/// A column that is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnnouncedColumn {
    /// Whether the old row of an update or deletion has it.
    pub(crate) is_identity: bool,
    pub(crate) name: String,
    pub(crate) type_oid: u32,
    pub(crate) modifier: i32,
}

/// Which columns of the old row an update or a deletion sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The primary key.
    Default,
    /// None. Updates and deletions are not sent.
    Nothing,
    /// All.
    Full,
    /// Those of a unique index.
    Index,
}

impl AnnouncedTable {
    pub(super) fn decode(bytes: &mut MessageBytes<'_>) -> Result<Self, Malformed> {
        let oid = bytes.u32("the number of a table")?;
        let schema = match bytes.text("the name of a schema")? {
            "" => "pg_catalog",
            schema => schema,
        };
        let schema = schema.to_owned();
        let name = bytes.text("the name of a table")?.to_owned();
        let start = bytes.clone();
        let identity = match bytes.u8("the identity of rows")? {
            b'd' => Identity::Default,
            b'n' => Identity::Nothing,
            b'f' => Identity::Full,
            b'i' => Identity::Index,
            other => return Err(start.malformed(format!("no identity of rows is {other:#04x}"))),
        };
        let mut columns = Vec::new(); // grows with the bytes that are there, not with the number that is announced
        for _ in 0..bytes.count16("the number of columns")? {
            columns.push(AnnouncedColumn {
                is_identity: bytes.flag("whether a column belongs to the identity")?,
                name: bytes.text("the name of a column")?.to_owned(),
                type_oid: bytes.u32("the type of a column")?,
                modifier: bytes.i32("the modifier of a type")?,
            });
        }
        Ok(Self { oid, schema, name, identity, columns })
    }
}
