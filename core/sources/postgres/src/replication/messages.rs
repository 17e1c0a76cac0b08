//! Messages between client and server, one by one.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pillion::{Error, ErrorCode, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::failures;

/// Servers make no longer messages: they allocate no more at once.
const MESSAGE_LEN_MAX: usize = 1 << 30;
/// What is read at once.
const READ_LEN: usize = 64 << 10;
/// How long the server may take none of what is sent to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection, encrypted or not.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What the server says.
#[derive(Debug)]
pub(super) struct ServerMessage {
    pub(super) kind: u8,
    pub(super) body: Bytes,
}

/// A connection on which whole messages come and go.
pub(super) struct Messages {
    stream: Box<dyn Duplex>,
    received: BytesMut,
    /// What is still to be written.
    outgoing: BytesMut,
    place: Arc<str>,
}

impl Messages {
    pub(super) fn new(stream: Box<dyn Duplex>, place: Arc<str>) -> Self {
        Self { stream, received: BytesMut::new(), outgoing: BytesMut::new(), place }
    }

    /// Where the server is, for messages to people.
    pub(super) fn place(&self) -> &Arc<str> {
        &self.place
    }

    /// The next message. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`SourceUnavailable`](ErrorCode::SourceUnavailable) if the connection ends, [`SourceInvalid`](ErrorCode::SourceInvalid) for what is
    /// not a message.
    pub(super) async fn next(&mut self) -> Result<ServerMessage> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(message);
            }
            // Memory grows with what comes, not with the length that is announced.
            self.received.reserve(READ_LEN);
            let read = self.stream.read_buf(&mut self.received).await;
            if read.map_err(|error| failures::cut_off(&self.place, error))? == 0 {
                return Err(Error::new(
                    ErrorCode::SourceUnavailable,
                    format!("{}: the server closed the connection", self.place),
                ));
            }
        }
    }

    /// The message that came already, if it is there as a whole.
    pub(super) fn whole(&mut self) -> Result<Option<ServerMessage>> {
        let Some((&[kind, ref len @ ..], _)) = self.received.split_first_chunk::<5>() else {
            return Ok(None);
        };
        let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
        if !(4..=MESSAGE_LEN_MAX).contains(&len) {
            return Err(self.invalid(&format!("a message announces a length of {len} bytes")));
        }
        if self.received.len() <= len {
            return Ok(None);
        }
        let body = self.received.split_to(len + 1).freeze().slice(5..);
        Ok(Some(ServerMessage { kind, body }))
    }

    /// Sends what was encoded. If the future is dropped, the rest goes out before what is sent next.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.outgoing.extend_from_slice(bytes);
        let sending = async {
            while !self.outgoing.is_empty() {
                if self.stream.write_buf(&mut self.outgoing).await? == 0 {
                    return Err(std::io::ErrorKind::WriteZero.into());
                }
            }
            self.stream.flush().await
        };
        match tokio::time::timeout(WRITE_TIMEOUT, sending).await {
            Ok(sent) => sent.map_err(|error| failures::cut_off(&self.place, error)),
            Err(_) => Err(Error::new(
                ErrorCode::SourceUnavailable,
                format!("{}: the server takes nothing for {WRITE_TIMEOUT:?}", self.place),
            )),
        }
    }

    pub(super) fn invalid(&self, what: &str) -> Error {
        Error::new(ErrorCode::SourceInvalid, format!("{}: {what}", self.place))
    }

    pub(super) fn unexpected(&self, message: &ServerMessage, when: &str) -> Error {
        self.invalid(&format!("the server sends a message of kind {:#04x} {when}", message.kind))
    }
}

/// The texts of a body that zero bytes end.
pub(super) fn texts(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split_inclusive(|byte| *byte == 0).filter_map(|text| text.strip_suffix(&[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(bytes: &'static [u8]) -> Messages {
        let (near, mut far) = tokio::io::duplex(16);
        let sending = async move {
            // Whoever reads may stop early.
            let _ = far.write_all(bytes).await;
        };
        tokio::spawn(sending);
        Messages::new(Box::new(near), "t".into())
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    #[test]
    fn messages_come_whole_and_in_order() {
        run(async {
            let mut messages = messages(b"d\0\0\0\x1b0123456789abcdefghijklmZ\0\0\0\x04d\0\0\0\x05");
            let first = messages.next().await.unwrap();
            assert_eq!((first.kind, &first.body[..]), (b'd', &b"0123456789abcdefghijklm"[..]));
            let second = messages.next().await.unwrap();
            assert_eq!((second.kind, second.body.len()), (b'Z', 0));
            assert_eq!(messages.next().await.unwrap_err().code(), ErrorCode::SourceUnavailable);
        });
    }

    #[test]
    fn impossible_lengths_are_refused() {
        run(async {
            for bytes in [&b"d\0\0\0\x03"[..], b"d\x40\0\0\x01", b"d\xff\xff\xff\xff"] {
                let error = messages(bytes).next().await.unwrap_err();
                assert_eq!(error.code(), ErrorCode::SourceInvalid, "{error}");
            }
        });
    }

    #[test]
    fn texts_end_with_zero() {
        assert_eq!(texts(b"a\0\0bc\0d").collect::<Vec<_>>(), [&b"a"[..], b"", b"bc"]);
    }
}
