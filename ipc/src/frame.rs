//! Frames: a header of 16 bytes and a body that only the two ends understand.

use std::fmt;
use std::ops::Range;

/// Bytes of a frame's header.
pub const FRAME_HEADER_LEN: usize = 16;
/// Largest body; a longer message takes several frames.
pub const FRAME_BODY_MAX: usize = 16 << 20;

/// Flags of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// More frames of the same message follow.
    pub const MORE: Self = Self(1);
    /// The body is an error.
    pub const ERROR: Self = Self(2);
    /// Nobody waits for an answer; the receiver must not send one.
    pub const QUIET: Self = Self(4);
    /// A descriptor travels with the frame.
    pub const DESCRIPTOR: Self = Self(8);

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of a number; unknown ones are kept and ignored.
    pub fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// As a number.
    pub fn bits(self) -> u16 {
        self.0
    }
}

/// Everything in a frame except its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// See [`Frame::call`].
    pub call: u16,
    /// See [`Flags`].
    pub flags: Flags,
    /// See [`Frame::request`].
    pub request: u64,
}

impl Head {
    /// The header of a frame whose body has `body_len` bytes.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] for more than [`FRAME_BODY_MAX`].
    pub fn encode(self, body_len: usize) -> Result<[u8; FRAME_HEADER_LEN], FrameError> {
        let len = u32::try_from(body_len).ok().filter(|_| body_len <= FRAME_BODY_MAX);
        let [l0, l1, l2, l3] = len.ok_or(FrameError::TooLong(body_len as u64))?.to_le_bytes();
        let ([c0, c1], [f0, f1]) = (self.call.to_le_bytes(), self.flags.0.to_le_bytes());
        let [r0, r1, r2, r3, r4, r5, r6, r7] = self.request.to_le_bytes();
        Ok([l0, l1, l2, l3, c0, c1, f0, f1, r0, r1, r2, r3, r4, r5, r6, r7])
    }
}

/// One frame.
///
/// On the socket, little-endian: length of the body 4 · call 2 · flags 2 · request 8 · body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Number of the call; the protocol above this crate assigns them.
    pub call: u16,
    /// See [`Flags`].
    pub flags: Flags,
    /// Number that the client gave the request; its answer carries the same.
    pub request: u64,
    /// The body.
    pub body: Vec<u8>,
}

impl Frame {
    /// Its header.
    pub fn head(&self) -> Head {
        Head { call: self.call, flags: self.flags, request: self.request }
    }

    /// Appends the frame as it goes over the socket.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] for a body of more than [`FRAME_BODY_MAX`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        out.extend_from_slice(&self.head().encode(self.body.len())?);
        out.extend_from_slice(&self.body);
        Ok(())
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The body is longer than [`FRAME_BODY_MAX`]; the number is its length.
    TooLong(u64),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(len) => write!(f, "a frame of {len} bytes is longer than {FRAME_BODY_MAX}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Memory that a decoder keeps between frames.
const KEPT_LEN: usize = 1 << 20;
/// Least room that a decoder has for new bytes.
const SPACE_LEN: usize = 64 << 10;

/// Takes bytes as they come and returns frames; does no I/O.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// Bytes that came and were not returned yet.
    pending: Range<usize>,
}

impl FrameDecoder {
    /// Room for bytes from the socket; the caller then tells [`filled`](Self::filled) how many came.
    pub fn space(&mut self) -> &mut [u8] {
        if self.pending.is_empty() {
            // A long frame must not cost its memory for ever.
            if self.buffer.len() > KEPT_LEN {
                self.buffer = Vec::new();
            }
            if self.buffer.is_empty() {
                self.buffer = vec![0; SPACE_LEN];
            }
            self.pending = 0..0;
        } else if self.buffer.len() - self.pending.end < SPACE_LEN {
            // Drops the bytes that were returned already, so that the buffer holds at most one unfinished frame.
            self.buffer.copy_within(self.pending.clone(), 0);
            self.pending = 0..self.pending.len();
            if self.buffer.len() - self.pending.end < SPACE_LEN {
                self.buffer.resize(self.pending.end + SPACE_LEN, 0);
            }
        }
        &mut self.buffer[self.pending.end..]
    }

    /// The caller put `len` bytes into the [`space`](Self::space).
    pub fn filled(&mut self, len: usize) {
        self.pending.end = (self.pending.end + len).min(self.buffer.len());
    }

    /// Takes bytes from elsewhere than the [`space`](Self::space).
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.space();
            let (part, rest) = bytes.split_at(bytes.len().min(space.len()));
            space[..part.len()].copy_from_slice(part);
            self.filled(part.len());
            bytes = rest;
        }
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// [`FrameError`]; the connection must then be closed, because where the next frame starts is unknown.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let mut frame = Frame::default();
        Ok(self.next_into(&mut frame)?.then_some(frame))
    }

    /// Replaces `frame` by the next whole frame and reuses its memory; `false` if there is none.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame).
    pub fn next_into(&mut self, frame: &mut Frame) -> Result<bool, FrameError> {
        let bytes = &self.buffer[self.pending.clone()];
        let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER_LEN>() else { return Ok(false) };
        let [l0, l1, l2, l3, c0, c1, f0, f1, request @ ..] = *header;
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        let body_len = usize::try_from(len).ok().filter(|len| *len <= FRAME_BODY_MAX);
        let body_len = body_len.ok_or_else(|| FrameError::TooLong(len.into()))?;
        let Some(body) = rest.get(..body_len) else {
            // Room for the whole frame and for what may follow, so that the buffer moves at most once.
            let needed = FRAME_HEADER_LEN + body_len + SPACE_LEN;
            self.buffer.reserve_exact(needed.saturating_sub(self.buffer.len()));
            return Ok(false);
        };
        frame.call = u16::from_le_bytes([c0, c1]);
        frame.flags = Flags(u16::from_le_bytes([f0, f1]));
        frame.request = u64::from_le_bytes(request);
        frame.body.clear();
        frame.body.extend_from_slice(body);
        self.pending.start += FRAME_HEADER_LEN + body_len;
        Ok(true)
    }

    /// Whether bytes of an unfinished frame are waiting.
    pub fn is_mid_frame(&self) -> bool {
        !self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        let body = |len: usize| (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
        vec![
            Frame { call: 1, flags: Flags::default(), request: 7, body: Vec::new() },
            Frame { call: 2, flags: Flags::MORE, request: u64::MAX, body: body(1) },
            Frame { call: u16::MAX, flags: Flags::ERROR, request: 0, body: body(100_000) },
        ]
    }

    #[test]
    fn frames_come_out_whole_however_the_bytes_are_cut() {
        let mut bytes = Vec::new();
        frames().iter().for_each(|frame| frame.encode(&mut bytes).unwrap());
        for cut in [1, 3, 15, 16, 17, 4096, bytes.len()] {
            let mut decoder = FrameDecoder::default();
            let mut found = Vec::new();
            for part in bytes.chunks(cut) {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found, frames(), "cut every {cut} bytes");
            assert!(!decoder.is_mid_frame());
        }
    }

    #[test]
    fn what_was_given_out_is_not_kept() {
        let mut bytes = Vec::new();
        Frame { body: vec![0; 49], ..Frame::default() }.encode(&mut bytes).unwrap();
        let mut decoder = FrameDecoder::default();
        decoder.push(&bytes[..30]);
        for _ in 0..10_000 {
            decoder.push(&bytes[30..]);
            decoder.push(&bytes[..30]);
            assert!(decoder.next_frame().unwrap().is_some());
            assert!(decoder.next_frame().unwrap().is_none());
            assert!(decoder.pending.len() <= bytes.len());
            assert!(decoder.buffer.len() <= 2 * SPACE_LEN);
        }
    }

    /// Released clients speak these bytes: they never change.
    #[test]
    fn the_header_never_changes() {
        let mut bytes = Vec::new();
        Frame { call: 0x0201, flags: Flags::MORE, request: 0x0807_0605_0403_0201, body: vec![9] }
            .encode(&mut bytes)
            .unwrap();
        assert_eq!(bytes, [1, 0, 0, 0, 1, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused_before_its_body_is_read() {
        let mut decoder = FrameDecoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        decoder.push(&[0; 12]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(u32::MAX.into())));
        let too_long = Frame { body: vec![0; FRAME_BODY_MAX + 1], ..Frame::default() };
        assert_eq!(too_long.encode(&mut Vec::new()), Err(FrameError::TooLong(FRAME_BODY_MAX as u64 + 1)));
    }
}
