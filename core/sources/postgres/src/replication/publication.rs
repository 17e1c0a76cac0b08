//! Names of slots and publications, and the options with which changes are streamed.

use pillion::{Error, ErrorCode, Result};

use crate::changes::Lsn;
use crate::names::quoted;

/// The longest name of anything on a server.
const NAME_LEN_MAX: usize = 63;

/// A name of a replication slot. It can stand in commands as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotName(String);

impl SlotName {
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for a name that no slot can have.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || name.len() > NAME_LEN_MAX || !name.bytes().all(is_allowed) {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "`{}` cannot be the name of a replication slot: it consists of 1 to {NAME_LEN_MAX} lower-case letters, digits and underscores",
                    name.escape_debug()
                ),
            ));
        }
        Ok(Self(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicationName(String);

impl PublicationName {
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for a name that no publication can have.
    pub(crate) fn new(name: &str) -> Result<Self> {
        if name.is_empty() || name.len() > NAME_LEN_MAX || name.contains('\0') {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "`{}` cannot be the name of a publication: it has 1 to {NAME_LEN_MAX} bytes, and none is zero",
                    name.escape_debug()
                ),
            ));
        }
        Ok(Self(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The command with which a server streams the changes of a publication after a position. Version 1 of the protocol has each transaction
/// as a whole after its commit: the server keeps what is too large for its `logical_decoding_work_mem` on its disk until then.
pub(super) fn start_command(slot: &SlotName, publication: &PublicationName, after: Lsn) -> String {
    // The server reads a list of names here, so the name is quoted as in a list, and the list as a text. Backslashes mean
    // themselves in commands of replication.
    let publications = format!("'{}'", quoted(publication.as_str()).replace('\'', "''"));
    format!(
        "START_REPLICATION SLOT {} LOGICAL {after} (proto_version '1', binary 'true', publication_names {publications})",
        slot.as_str()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(SlotName::new("pillion_1").unwrap().as_str(), "pillion_1");
        for name in ["", "Slot", "a-b", "a b", "a;DROP", "\u{e4}", &"x".repeat(64)] {
            assert_eq!(SlotName::new(name).unwrap_err().code(), ErrorCode::InvalidArgument, "{name}");
        }
        assert!(SlotName::new(&"x".repeat(63)).is_ok());
        for name in ["", "a\0b", &"x".repeat(64)] {
            assert_eq!(PublicationName::new(name).unwrap_err().code(), ErrorCode::InvalidArgument, "{name}");
        }
    }

    #[test]
    fn names_in_commands_mean_themselves() {
        let (slot, publication) = (SlotName::new("s").unwrap(), PublicationName::new("it's \"x\"").unwrap());
        assert_eq!(
            start_command(&slot, &publication, Lsn(0x1_0000_0002)),
            "START_REPLICATION SLOT s LOGICAL 1/2 (proto_version '1', binary 'true', publication_names '\"it''s \"\"x\"\"\"')"
        );
    }
}
