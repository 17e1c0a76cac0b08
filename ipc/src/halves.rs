//! The two halves of a connection, each used by one thread at a time.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::descriptors;
use crate::frame::{Flags, Frame, FrameDecoder, FrameError, Head};

/// Longer bodies are written by a system call of their own: copying them behind their header costs more.
const COPIED_LEN: usize = 32 << 10;

/// The half that sends.
#[derive(Debug)]
pub struct FrameWriter {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Whether a frame was not sent whole: after half a frame nothing more can be sent.
    is_broken: bool,
}

impl FrameWriter {
    /// Sends on `stream`.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new(), is_broken: false }
    }

    /// Ends the connection in both directions, whoever uses it.
    ///
    /// # Errors
    /// Those of the socket, if it is not connected any more.
    pub fn shut_down(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Both)
    }

    /// Sends a frame; blocks while the other end does not read.
    ///
    /// # Errors
    /// Those of the socket, after which nothing more is sent: the other end finds that the connection ends within a
    /// frame. [`io::ErrorKind::InvalidInput`] for a body that is too long; then nothing was sent, and the next frame
    /// can be.
    pub fn send(&mut self, head: Head, body: &[u8]) -> io::Result<()> {
        let rest = self.fill(head, body)?;
        let sent = self.stream.write_all(&self.buffer).and_then(|()| self.stream.write_all(rest));
        self.break_on_error(sent)
    }

    /// Sends a frame with a descriptor, and sets the flag for it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_with(&mut self, head: Head, body: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let flags = Flags::from_bits(head.flags.bits() | Flags::DESCRIPTOR.bits());
        let rest = self.fill(Head { flags, ..head }, body)?;
        let sent = descriptors::send(&self.stream, &self.buffer, descriptor)
            .and_then(|sent| self.stream.write_all(&self.buffer[sent..]))
            .and_then(|()| self.stream.write_all(rest));
        self.break_on_error(sent)
    }

    fn break_on_error(&mut self, sent: io::Result<()>) -> io::Result<()> {
        if sent.is_err() {
            self.is_broken = true;
            drop(self.stream.shutdown(Shutdown::Write));
        }
        sent
    }

    /// Puts the header and a short body into the buffer; returns a long body, which is still to be written.
    fn fill<'a>(&mut self, head: Head, body: &'a [u8]) -> io::Result<&'a [u8]> {
        if self.is_broken {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "an earlier frame was not sent whole"));
        }
        let header = head.encode(body.len());
        let header = header.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let (copied, rest) = if body.len() > COPIED_LEN { (&[][..], body) } else { (body, &[][..]) };
        self.buffer.clear();
        self.buffer.extend_from_slice(&header);
        self.buffer.extend_from_slice(copied);
        Ok(rest)
    }
}

/// The half that receives.
#[derive(Debug)]
pub struct FrameReader {
    stream: UnixStream,
    decoder: FrameDecoder,
    frame_time_max: Option<Duration>,
    /// The timeout that was set on the socket, if one was; changing it is a system call.
    read_timeout: Option<Option<Duration>>,
    /// Descriptors that came and were not taken yet; `None` if none may come.
    descriptors: Option<VecDeque<OwnedFd>>,
}

/// Why no frame came.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The other end closed the connection.
    Closed,
    /// The deadline passed.
    Timeout,
    /// The other end sent something that is not a frame.
    Frame(FrameError),
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection was closed"),
            Self::Timeout => f.write_str("the deadline passed"),
            Self::Frame(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReceiveError {}

impl FrameReader {
    /// Receives on `stream`.
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            decoder: FrameDecoder::default(),
            frame_time_max: None,
            read_timeout: None,
            descriptors: None,
        }
    }

    /// Ends the connection in both directions, whoever uses it.
    ///
    /// # Errors
    /// Those of the socket, if it is not connected any more.
    pub fn shut_down(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Both)
    }

    /// From now on frames may bring descriptors; before, a frame with one breaks the connection.
    pub fn take_descriptors(&mut self) {
        self.descriptors.get_or_insert_default();
    }

    /// The descriptor that came with the frame that [`receive`](Self::receive) returned last.
    pub fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.as_mut()?.pop_front()
    }

    /// From now on a frame must be complete this long after its first bytes; otherwise [`receive`](Self::receive)
    /// times out.
    pub fn limit_frame_time(&mut self, limit: Duration) {
        self.frame_time_max = Some(limit);
    }

    /// The next frame; blocks until it is there or the deadline has passed.
    ///
    /// # Errors
    /// [`ReceiveError`]. After a timeout the next call goes on where this one stopped.
    pub fn receive(&mut self, deadline: Option<Instant>) -> Result<Frame, ReceiveError> {
        let mut frame = Frame::default();
        self.receive_into(&mut frame, deadline)?;
        Ok(frame)
    }

    /// As [`receive`](Self::receive), but replaces `frame` and reuses its memory.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_into(&mut self, frame: &mut Frame, deadline: Option<Instant>) -> Result<(), ReceiveError> {
        let mut frame_deadline = None;
        loop {
            if self.decoder.next_into(frame).map_err(ReceiveError::Frame)? {
                return Ok(());
            }
            if self.decoder.is_mid_frame() && frame_deadline.is_none() {
                frame_deadline = self.frame_time_max.and_then(|limit| Instant::now().checked_add(limit));
            }
            let timeout = match deadline.into_iter().chain(frame_deadline).min() {
                None => None,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    Some(Some(left).filter(|left| *left > Duration::ZERO).ok_or(ReceiveError::Timeout)?)
                }
            };
            if !self.read_timeout.is_some_and(|set| suits(set, timeout)) {
                self.stream.set_read_timeout(timeout).map_err(ReceiveError::Io)?;
                self.read_timeout = Some(timeout);
            }
            match descriptors::receive(&self.stream, self.decoder.space(), self.descriptors.as_mut()) {
                Ok(0) => return Err(ReceiveError::Closed),
                Ok(read) => self.decoder.filled(read),
                Err(error) => match error.kind() {
                    // The loop checks the deadline above.
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {}
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                        return Err(ReceiveError::Closed);
                    }
                    _ => return Err(ReceiveError::Io(error)),
                },
            }
        }
    }
}

/// Whether a socket with the timeout `set` will do for a wait of `wanted`: it must not wait longer, and not wake too
/// often.
fn suits(set: Option<Duration>, wanted: Option<Duration>) -> bool {
    match (set, wanted) {
        (None, None) => true,
        (Some(set), Some(wanted)) => set <= wanted && (set >= wanted / 2 || set >= Duration::from_secs(1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_behind_half_a_frame() {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut writer = FrameWriter::new(near.try_clone().unwrap());
        let head = |request| Head { request, ..Head::default() };
        writer.send(head(1), &[1]).unwrap();
        // More than a socket takes while nobody reads.
        writer.send(head(2), &vec![2; 8 << 20]).unwrap_err();
        let error = writer.send(head(3), &[3]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let mut reader = FrameReader::new(far);
        assert_eq!(reader.receive(None).unwrap().request, 1);
        assert!(matches!(reader.receive(None), Err(ReceiveError::Closed)), "and no frame of other bytes");
    }

    #[test]
    fn a_body_that_is_too_long_breaks_nothing() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut writer = FrameWriter::new(near);
        let too_long = vec![0; crate::frame::FRAME_BODY_MAX + 1];
        let error = writer.send(Head::default(), &too_long).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        writer.send(Head::default(), &[3]).unwrap();
        assert_eq!(FrameReader::new(far).receive(None).unwrap().body, [3]);
    }
}
