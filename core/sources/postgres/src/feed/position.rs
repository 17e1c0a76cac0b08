//! Positions of a feed as bytes.

use std::sync::Arc;

use pillion::{Error, ErrorCode, Result};

use crate::changes::Lsn;

/// The first byte, which says what follows.
const VERSION: u8 = 1;

/// A place in the log of one server, and which tables are followed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogPosition {
    /// Which server it is.
    pub(super) identifier: u64,
    pub(super) lsn: Lsn,
    /// The numbers of the tables, in the order of the relations. A table that is dropped and made anew has another number.
    pub(super) tables: Arc<[u32]>,
}

impl LogPosition {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.identifier.to_le_bytes());
        bytes.extend_from_slice(&self.lsn.0.to_le_bytes());
        bytes.extend(self.tables.iter().flat_map(|table| table.to_le_bytes()));
        bytes
    }

    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for other bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let read = || {
            let (identifier, rest) = bytes.strip_prefix(&[VERSION])?.split_first_chunk::<8>()?;
            let (lsn, rest) = rest.split_first_chunk::<8>()?;
            let (tables, rest) = rest.as_chunks::<4>();
            let tables = tables.iter().map(|table| u32::from_le_bytes(*table)).collect();
            let (identifier, lsn) = (u64::from_le_bytes(*identifier), Lsn(u64::from_le_bytes(*lsn)));
            rest.is_empty().then_some(Self { identifier, lsn, tables })
        };
        read().ok_or_else(|| {
            Error::new(
                ErrorCode::InvalidArgument,
                format!("{} bytes that are not a position of PostgreSQL", bytes.len()),
            )
        })
    }
}

/// A place in the log, from a position or from what people write for one, and of which server it is if that is said.
///
/// # Errors
/// [`InvalidArgument`](ErrorCode::InvalidArgument) for other bytes.
pub(super) fn read(bytes: &[u8]) -> Result<(Option<u64>, Lsn)> {
    let text = std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok());
    match text {
        Some(lsn) => Ok((None, lsn)),
        None => LogPosition::decode(bytes).map(|position| (Some(position.identifier), position.lsn)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_were_written() {
        let tables = [16_384, u32::MAX].into();
        let position =
            LogPosition { identifier: 7_654_321_000_000_000_001, lsn: Lsn(0x16_B374_D848), tables };
        let bytes = position.encode();
        assert_eq!(read(&bytes).unwrap(), (Some(position.identifier), position.lsn));
        assert_eq!(read(b"16/B374D848").unwrap(), (None, position.lsn));
        assert_eq!(LogPosition::decode(&bytes).unwrap(), position);
        for other in [&bytes[..16], &[&bytes[..], &[0]].concat(), &[&[2], &bytes[1..]].concat(), &[]] {
            assert_eq!(LogPosition::decode(other).unwrap_err().code(), ErrorCode::InvalidArgument);
        }
    }
}
