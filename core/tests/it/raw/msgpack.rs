//! MessagePack, as much of it as docs/protocol.md needs: written from its specification, so that tests do not speak to the
//! server with its own code.
#![expect(clippy::big_endian_bytes, reason = "the order of the bytes of MessagePack")]

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pack {
    Nil,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Str(String),
    Bin(Vec<u8>),
    Array(Vec<Self>),
    /// In the order of its entries.
    Map(Vec<(Self, Self)>),
}

/// A map by the names of its fields.
macro_rules! map {
    ($($name:expr => $value:expr),* $(,)?) => {
        $crate::raw::msgpack::Pack::Map(vec![
            $(($crate::raw::msgpack::Pack::from($name), $crate::raw::msgpack::Pack::from($value))),*
        ])
    };
}
pub(crate) use map;

impl Pack {
    /// As bytes; every value in its shortest form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_to(&mut out);
        out
    }

    fn encode_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nil => out.push(0xC0),
            Self::Bool(false) => out.push(0xC2),
            Self::Bool(true) => out.push(0xC3),
            Self::Int(v) => match u64::try_from(*v) {
                Ok(v) => Self::Uint(v).encode_to(out),
                Err(_) if *v >= -32 => out.push(v.to_le_bytes()[0]),
                Err(_) => {
                    out.push(0xD3);
                    out.extend(v.to_be_bytes());
                }
            },
            Self::Uint(v) => match *v {
                0..=0x7F => out.push(v.to_le_bytes()[0]),
                0x80..=0xFF => out.extend([0xCC, v.to_le_bytes()[0]]),
                _ => {
                    out.push(0xCF);
                    out.extend(v.to_be_bytes());
                }
            },
            Self::Float(v) => {
                out.push(0xCB);
                out.extend(v.to_be_bytes());
            }
            Self::Str(v) => {
                match u8::try_from(v.len()) {
                    Ok(len @ 0..32) => out.push(0xA0 | len),
                    Ok(len) => out.extend([0xD9, len]),
                    Err(_) => long(0xDB, v.len(), out),
                }
                out.extend(v.as_bytes());
            }
            Self::Bin(v) => {
                match u8::try_from(v.len()) {
                    Ok(len) => out.extend([0xC4, len]),
                    Err(_) => long(0xC6, v.len(), out),
                }
                out.extend(v);
            }
            Self::Array(v) => {
                match u8::try_from(v.len()) {
                    Ok(len @ 0..16) => out.push(0x90 | len),
                    _ => long(0xDD, v.len(), out),
                }
                v.iter().for_each(|item| item.encode_to(out));
            }
            Self::Map(v) => {
                match u8::try_from(v.len()) {
                    Ok(len @ 0..16) => out.push(0x80 | len),
                    _ => long(0xDF, v.len(), out),
                }
                for (key, value) in v {
                    key.encode_to(out);
                    value.encode_to(out);
                }
            }
        }
    }

    /// The value of these bytes; fails if more follow.
    pub(crate) fn decode(mut bytes: &[u8]) -> Self {
        let value = Self::take(&mut bytes);
        assert!(bytes.is_empty(), "{} bytes behind a value", bytes.len());
        value
    }

    fn take(bytes: &mut &[u8]) -> Self {
        let kind = number(bytes, 1);
        let small = |mask: u64| kind & mask;
        match kind {
            0x00..=0x7F => Self::Uint(kind),
            0x80..=0x8F => Self::take_map(bytes, small(0xF)),
            0x90..=0x9F => Self::take_array(bytes, small(0xF)),
            0xA0..=0xBF => Self::take_str(bytes, small(0x1F)),
            0xC0 => Self::Nil,
            0xC2 | 0xC3 => Self::Bool(kind == 0xC3),
            0xC4..=0xC6 => {
                let len = number(bytes, 1 << (kind - 0xC4));
                Self::Bin(part(bytes, len).to_vec())
            }
            0xCB => Self::Float(f64::from_bits(number(bytes, 8))),
            0xCC..=0xCF => Self::Uint(number(bytes, 1 << (kind - 0xCC))),
            0xD0..=0xD3 => {
                let len = 1 << (kind - 0xD0);
                let unused = 64 - 8 * len;
                Self::Int((number(bytes, len) << unused).cast_signed() >> unused)
            }
            0xD9..=0xDB => {
                let len = number(bytes, 1 << (kind - 0xD9));
                Self::take_str(bytes, len)
            }
            0xDC | 0xDD => {
                let len = number(bytes, 2 << (kind - 0xDC));
                Self::take_array(bytes, len)
            }
            0xDE | 0xDF => {
                let len = number(bytes, 2 << (kind - 0xDE));
                Self::take_map(bytes, len)
            }
            0xE0..=0xFF => Self::Int(kind.cast_signed() - 256),
            _ => panic!("the sidecar sent a value of the kind {kind:#X}, which the document does not have"),
        }
    }

    fn take_str(bytes: &mut &[u8], len: u64) -> Self {
        Self::Str(String::from_utf8(part(bytes, len).to_vec()).unwrap())
    }

    fn take_array(bytes: &mut &[u8], len: u64) -> Self {
        Self::Array((0..len).map(|_| Self::take(bytes)).collect())
    }

    fn take_map(bytes: &mut &[u8], len: u64) -> Self {
        Self::Map((0..len).map(|_| (Self::take(bytes), Self::take(bytes))).collect())
    }

    /// A map with one more field.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Self>) -> Self {
        let Self::Map(entries) = &mut self else { panic!("{self:?} is no map") };
        entries.push((Self::from(name), value.into()));
        self
    }

    /// The field of a map; nil if it is missing.
    pub(crate) fn field(&self, name: &str) -> &Self {
        let Self::Map(entries) = self else { panic!("{self:?} is no map") };
        entries.iter().find(|(key, _)| *key == Self::from(name)).map_or(&Self::Nil, |(_, value)| value)
    }

    #[track_caller]
    pub(crate) fn uint(&self) -> u64 {
        match self {
            Self::Uint(v) => *v,
            Self::Int(v) => u64::try_from(*v).unwrap(),
            other => panic!("{other:?} is no number"),
        }
    }

    #[track_caller]
    pub(crate) fn str(&self) -> &str {
        let Self::Str(v) = self else { panic!("{self:?} is no string") };
        v
    }

    /// Binary; empty if it is missing.
    #[track_caller]
    pub(crate) fn bin(&self) -> &[u8] {
        match self {
            Self::Bin(v) => v,
            Self::Nil => &[],
            other => panic!("{other:?} is no binary"),
        }
    }

    #[track_caller]
    pub(crate) fn bool(&self) -> bool {
        let Self::Bool(v) = self else { panic!("{self:?} is no boolean") };
        *v
    }

    #[track_caller]
    pub(crate) fn array(&self) -> &[Self] {
        let Self::Array(v) = self else { panic!("{self:?} is no array") };
        v
    }
}

fn long(kind: u8, len: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend(u32::try_from(len).unwrap().to_be_bytes());
}

fn part<'a>(bytes: &mut &'a [u8], len: u64) -> &'a [u8] {
    let (part, rest) = bytes.split_at(usize::try_from(len).unwrap());
    *bytes = rest;
    part
}

fn number(bytes: &mut &[u8], len: u64) -> u64 {
    part(bytes, len).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl From<&str> for Pack {
    fn from(v: &str) -> Self {
        Self::Str(v.to_owned())
    }
}

impl From<u64> for Pack {
    fn from(v: u64) -> Self {
        Self::Uint(v)
    }
}

impl From<i64> for Pack {
    fn from(v: i64) -> Self {
        Self::Int(v)
    }
}

impl From<f64> for Pack {
    fn from(v: f64) -> Self {
        Self::Float(v)
    }
}

impl From<bool> for Pack {
    fn from(v: bool) -> Self {
        Self::Bool(v)
    }
}

impl From<Vec<u8>> for Pack {
    fn from(v: Vec<u8>) -> Self {
        Self::Bin(v)
    }
}

impl From<Vec<Self>> for Pack {
    fn from(v: Vec<Self>) -> Self {
        Self::Array(v)
    }
}

impl From<Option<u64>> for Pack {
    fn from(v: Option<u64>) -> Self {
        v.map_or(Self::Nil, Self::Uint)
    }
}

#[test]
fn values_come_back() {
    let numbers = [0, 1, 127, 128, 255, 256, 65_535, 65_536, u64::MAX].map(Pack::Uint);
    let signed = [-1, -32, -33, -128, -129, i64::MIN].map(Pack::Int);
    let texts = [0, 31, 32, 255, 256, 70_000].map(|len| Pack::Str("x".repeat(len)));
    let binaries = [0, 255, 256, 70_000].map(|len| Pack::Bin(vec![7; len]));
    let arrays = [0, 15, 16, 70_000].map(|len| Pack::Array(vec![Pack::Nil; len]));
    let all = [Vec::from(numbers), signed.into(), texts.into(), binaries.into(), arrays.into()].concat();
    let map = Pack::Map((0..20_u64).map(|n| (Pack::Uint(n), Pack::Bool(n % 2 > 0))).collect());
    for value in all.into_iter().chain([map, Pack::Float(-0.5)]) {
        assert_eq!(Pack::decode(&value.encode()), value);
    }
    // Other forms of the same number, which other clients may send.
    for bytes in [&[0xD1, 0xFF, 0xFE][..], &[0xD0, 0xFE], &[0xFE], &[0xD2, 0xFF, 0xFF, 0xFF, 0xFE]] {
        assert_eq!(Pack::decode(bytes), Pack::Int(-2));
    }
}
