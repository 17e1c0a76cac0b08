//! Reading a message byte by byte, and what is said of one that cannot be read.

use std::fmt;

use super::lsn::Lsn;

/// Bytes that no server sends: which byte of the message, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Bytes of the message before the fault.
    pub(crate) position: usize,
    what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {} of a message", self.what, self.position)
    }
}

impl std::error::Error for Malformed {}

/// The rest of a message.
#[derive(Clone, Debug)]
pub(super) struct MessageBytes<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> MessageBytes<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message, len: message.len() }
    }

    /// The error for what stands here.
    pub(super) fn malformed(&self, what: impl Into<String>) -> Malformed {
        Malformed { position: self.len - self.rest.len(), what: what.into() }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Malformed> {
        let ended = || self.malformed(format!("the message ends in {what}"));
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or_else(ended)?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(super) fn u8(&mut self, what: &str) -> Result<u8, Malformed> {
        self.array(what).map(|[byte]| byte)
    }

    /// A number of things.
    pub(super) fn count16(&mut self, what: &str) -> Result<u16, Malformed> {
        let before = self.clone();
        let count = i16::from_be_bytes(self.array(what)?);
        u16::try_from(count).map_err(|_| before.malformed(format!("{what} is {count}")))
    }

    /// A number of things.
    pub(super) fn count32(&mut self, what: &str) -> Result<u32, Malformed> {
        let before = self.clone();
        let count = i32::from_be_bytes(self.array(what)?);
        u32::try_from(count).map_err(|_| before.malformed(format!("{what} is {count}")))
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self, what: &str) -> Result<i32, Malformed> {
        self.array(what).map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self, what: &str) -> Result<i64, Malformed> {
        self.array(what).map(i64::from_be_bytes)
    }

    pub(super) fn lsn(&mut self, what: &str) -> Result<Lsn, Malformed> {
        self.array(what).map(|bytes| Lsn(u64::from_be_bytes(bytes)))
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self, what: &str) -> Result<bool, Malformed> {
        let before = self.clone();
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(before.malformed(format!("{what} is {other} instead of 0 or 1"))),
        }
    }

    /// A byte of flags of which none is known to be set.
    pub(super) fn no_flags(&mut self) -> Result<(), Malformed> {
        let before = self.clone();
        match self.u8("flags")? {
            0 => Ok(()),
            flags => Err(before.malformed(format!("the flags are {flags:#x}, which nobody knows"))),
        }
    }

    /// A text that a zero byte ends.
    pub(super) fn text(&mut self, what: &str) -> Result<&'a str, Malformed> {
        let Some(len) = self.rest.iter().position(|byte| *byte == 0) else {
            return Err(self.malformed(format!("the message ends in {what}")));
        };
        let (bytes, end) = self.rest.split_at(len);
        let text = std::str::from_utf8(bytes).map_err(|_| self.malformed(format!("{what} is not UTF-8")))?;
        self.rest = end.get(1..).unwrap_or_default();
        Ok(text)
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, len: u32, what: &str) -> Result<&'a [u8], Malformed> {
        let taken = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (bytes, rest) = taken.ok_or_else(|| self.malformed(format!("the message ends in {what}")))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// What was read since this stood where `start` stands.
    pub(super) fn since(&self, start: &Self) -> &'a [u8] {
        start.rest.get(..start.rest.len() - self.rest.len()).unwrap_or_default()
    }

    /// Succeeds if nothing is left.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.malformed(format!("{left} bytes follow the end of the content"))),
        }
    }
}
