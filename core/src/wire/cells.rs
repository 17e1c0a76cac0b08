//! The hottest call in fixed layouts: a key, and the cells of the row that it finds.
//!
//! `docs/protocol.md` describes both. Reading a key allocates nothing, and a row only its message.

use arrow::datatypes::TimeUnit;

use super::value::{ticks, unit_of};
use crate::answer::row::Row;
use crate::types::clock::{freshness_at, nanoseconds_of};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::key::{Key, KeyParts};
use crate::types::value::ValueRef;
use crate::types::version::{Freshness, Tier, Version};

/// Kinds of values; the numbers never change.
mod kind {
    pub(super) const NULL: u8 = 0;
    pub(super) const BOOL: u8 = 1;
    pub(super) const INT: u8 = 2;
    pub(super) const UINT: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DECIMAL: u8 = 5;
    pub(super) const STR: u8 = 6;
    pub(super) const BYTES: u8 = 7;
    pub(super) const DATE: u8 = 8;
    pub(super) const TIME: u8 = 9;
    pub(super) const TIMESTAMP: u8 = 10;
}

/// Stands for the lack of a moment.
const NEVER: i64 = i64::MIN;
/// Bytes of an answer before its cells.
const ANSWER_HEAD_LEN: usize = 25;

/// A lookup of one row.
#[derive(Debug)]
pub(crate) struct GetRow<'a> {
    pub(crate) snapshot: Option<u64>,
    pub(crate) table: u64,
    key: &'a [u8],
}

/// Appends a lookup as it is sent.
///
/// # Errors
/// Those of the key.
pub(crate) fn encode_get_row(
    out: &mut Vec<u8>,
    snapshot: Option<u64>,
    table: u64,
    key: &dyn Key,
) -> Result<()> {
    out.extend_from_slice(&snapshot.unwrap_or_default().to_le_bytes());
    out.extend_from_slice(&table.to_le_bytes());
    key.write_to(&mut EncodeParts(out))
}

impl<'a> GetRow<'a> {
    /// The lookup in the body of a frame.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`]; a malformed key fails only when it is [written](Key::write_to).
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let mut rest = body;
        let (Some(snapshot), Some(table)) = (take(&mut rest), take(&mut rest)) else { return Err(wrong()) };
        let snapshot = u64::from_le_bytes(snapshot);
        Ok(Self {
            snapshot: (snapshot != 0).then_some(snapshot),
            table: u64::from_le_bytes(table),
            key: rest,
        })
    }
}

struct EncodeParts<'a>(&'a mut Vec<u8>);

impl EncodeParts<'_> {
    fn put(&mut self, kind: u8, bytes: &[u8]) {
        self.0.push(kind);
        self.0.extend_from_slice(bytes);
    }

    fn put_text(&mut self, kind: u8, bytes: &[u8]) -> Result<()> {
        let len = u32::try_from(bytes.len());
        let len = len.map_err(|_| Error::new(ErrorCode::InvalidKey, "a part of the key is too long"))?;
        self.put(kind, &len.to_le_bytes());
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl KeyParts for EncodeParts<'_> {
    fn part(&mut self, value: ValueRef<'_>) -> Result<()> {
        match value {
            ValueRef::Null => self.put(kind::NULL, &[]),
            ValueRef::Bool(v) => self.put(kind::BOOL, &[v.into()]),
            ValueRef::Int(v) => self.put(kind::INT, &v.to_le_bytes()),
            ValueRef::UInt(v) => self.put(kind::UINT, &v.to_le_bytes()),
            ValueRef::Float(v) => self.put(kind::FLOAT, &v.to_le_bytes()),
            ValueRef::Decimal { unscaled, scale } => {
                self.put(kind::DECIMAL, &unscaled.to_le_bytes());
                self.0.extend_from_slice(&scale.to_le_bytes());
            }
            ValueRef::Str(v) => self.put_text(kind::STR, v.as_bytes())?,
            ValueRef::Bytes(v) => self.put_text(kind::BYTES, v)?,
            ValueRef::Date(v) => self.put(kind::DATE, &v.to_le_bytes()),
            ValueRef::Time(v) => self.put(kind::TIME, &v.to_le_bytes()),
            ValueRef::Timestamp { value, unit } => {
                self.put(kind::TIMESTAMP, &value.to_le_bytes());
                self.0.extend_from_slice(&ticks(unit).to_le_bytes());
            }
        }
        Ok(())
    }
}

/// The parts are read in place.
impl Key for GetRow<'_> {
    fn write_to(&self, parts: &mut dyn KeyParts) -> Result<()> {
        let mut rest = self.key;
        while !rest.is_empty() {
            parts.part(part(&mut rest).ok_or_else(wrong)?)?;
        }
        Ok(())
    }
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<ValueRef<'a>> {
    let [kind] = take(rest)?;
    Some(match kind {
        kind::NULL => ValueRef::Null,
        kind::BOOL => match take(rest)? {
            [0] => ValueRef::Bool(false),
            [1] => ValueRef::Bool(true),
            _ => return None,
        },
        kind::INT => ValueRef::Int(i64::from_le_bytes(take(rest)?)),
        kind::UINT => ValueRef::UInt(u64::from_le_bytes(take(rest)?)),
        kind::FLOAT => ValueRef::Float(f64::from_le_bytes(take(rest)?)),
        kind::DECIMAL => ValueRef::Decimal {
            unscaled: i128::from_le_bytes(take(rest)?),
            scale: i8::from_le_bytes(take(rest)?),
        },
        kind::STR => ValueRef::Str(std::str::from_utf8(text(rest)?).ok()?),
        kind::BYTES => ValueRef::Bytes(text(rest)?),
        kind::DATE => ValueRef::Date(i32::from_le_bytes(take(rest)?)),
        kind::TIME => ValueRef::Time(i64::from_le_bytes(take(rest)?)),
        kind::TIMESTAMP => {
            let value = i64::from_le_bytes(take(rest)?);
            let unit: TimeUnit = unit_of(u64::from_le_bytes(take(rest)?))?;
            ValueRef::Timestamp { value, unit }
        }
        _ => return None,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*bytes)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
    let (bytes, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(bytes)
}

fn wrong() -> Error {
    Error::new(ErrorCode::InvalidArgument, "the body is not the message of its call")
}

/// Appends the answer to a lookup; calls `version` if no row was found. With `tells_tiers` it says of a row that the source sent it.
///
/// # Errors
/// [`ErrorCode::Unsupported`] for a row with columns that have no cells; those of reading the row, and of `version`.
pub(crate) fn encode_found(
    out: &mut Vec<u8>,
    row: Option<&Row>,
    tells_tiers: bool,
    version: impl FnOnce() -> Result<Version>,
) -> Result<()> {
    let (version, as_of) = match row {
        Some(row) => {
            (row.version(), row.freshness().map_or(NEVER, |freshness| nanoseconds_of(freshness.as_of)))
        }
        None => (version()?, NEVER),
    };
    out.extend_from_slice(&version.incarnation.to_le_bytes());
    out.extend_from_slice(&version.sequence.to_le_bytes());
    out.extend_from_slice(&as_of.to_le_bytes());
    out.push(match row.map(Row::tier) {
        None => 0,
        Some(Tier::Local) => 1,
        Some(_) => {
            if tells_tiers {
                2
            } else {
                1
            }
        }
    });
    row.map_or(Ok(()), |row| row.push_cells(out))
}

/// The answer to a lookup.
#[derive(Debug)]
pub(crate) struct FoundRow {
    pub(crate) version: Version,
    pub(crate) freshness: Option<Freshness>,
    /// Where the cells begin, if there is a row.
    pub(crate) cells: Option<usize>,
    /// Who gave the row.
    pub(crate) tier: Tier,
}

impl FoundRow {
    /// The answer in the body of a frame; `None` if it is malformed.
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let mut rest = body;
        let incarnation = u64::from_le_bytes(take(&mut rest)?);
        let sequence = u64::from_le_bytes(take(&mut rest)?);
        let as_of = i64::from_le_bytes(take(&mut rest)?);
        let (cells, tier) = match take(&mut rest)? {
            [0] => (None, Tier::Local),
            [1] => (Some(ANSWER_HEAD_LEN), Tier::Local),
            [2] => (Some(ANSWER_HEAD_LEN), Tier::Delegated),
            _ => return None,
        };
        let freshness = freshness_at((as_of != NEVER).then_some(as_of));
        Some(Self { version: Version { incarnation, sequence }, freshness, cells, tier })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::value::Value;

    struct Collect(Vec<Value>);

    impl KeyParts for Collect {
        fn part(&mut self, value: ValueRef<'_>) -> Result<()> {
            self.0.push(value.into_owned());
            Ok(())
        }
    }

    fn every_kind() -> Vec<Value> {
        vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(-5),
            Value::UInt(u64::MAX),
            Value::Float(1.5),
            Value::Decimal { unscaled: -99, scale: -1 },
            Value::Str("text".to_owned()),
            Value::Bytes(vec![0, 255]),
            Value::Date(15_706),
            Value::Time(36_000_000_000_000),
            Value::Timestamp { value: 1_357_034_400, unit: TimeUnit::Second },
        ]
    }

    fn parts_of(body: &[u8]) -> Result<Vec<Value>> {
        let mut parts = Collect(Vec::new());
        GetRow::decode(body)?.write_to(&mut parts)?;
        Ok(parts.0)
    }

    #[test]
    fn keys_come_back_and_no_bytes_are_believed() {
        let mut body = Vec::new();
        encode_get_row(&mut body, Some(7), 9, &every_kind()).unwrap();
        let request = GetRow::decode(&body).unwrap();
        assert_eq!((request.snapshot, request.table), (Some(7), 9));
        assert_eq!(parts_of(&body).unwrap(), every_kind());
        for len in 0..body.len() {
            // A cut key is malformed, or has fewer parts.
            assert!(
                parts_of(&body[..len]).is_ok_and(|parts| parts.len() < 11) || parts_of(&body[..len]).is_err()
            );
        }
        for position in 0..body.len() {
            for byte in [0x7F, 0xFF] {
                let mut changed = body.clone();
                changed[position] = byte;
                drop(parts_of(&changed));
                let _ = FoundRow::decode(&changed);
            }
        }
    }
}
