//! What the replication stream carries: log data and keepalives from the server, status updates to it.

use super::bytes::{Malformed, MessageBytes};
use super::lsn::Lsn;

/// One message of the server, without that of `pgoutput` in it being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A message of the plugin.
    Data {
        /// Where in the log that stands. Zero for messages that stand nowhere.
        start: Lsn,
        /// The message of the plugin.
        message: &'a [u8],
    },
    /// A sign of life.
    Keepalive {
        /// Up to where everything that concerns this stream was sent.
        end: Lsn,
        /// Whether the server ends the connection unless a status update comes soon.
        wants_reply: bool,
    },
}

impl<'a> Frame<'a> {
    /// Reads the content of a `CopyData`.
    pub(crate) fn decode(content: &'a [u8]) -> Result<Self, Malformed> {
        let mut bytes = MessageBytes::new(content);
        let start = bytes.clone();
        match bytes.u8("its kind")? {
            b'w' => {
                let at = bytes.lsn("the position of the data")?;
                let (_end_of_log, _clock) = (bytes.lsn("the end of the log")?, bytes.i64("the clock")?);
                Ok(Self::Data { start: at, message: bytes.rest() })
            }
            b'k' => {
                let (end, _clock) = (bytes.lsn("the end of what was sent")?, bytes.i64("the clock")?);
                let wants_reply = bytes.flag("the wish for a reply")?;
                bytes.end()?;
                Ok(Self::Keepalive { end, wants_reply })
            }
            kind => {
                Err(start.malformed(format!("the replication stream has no message of kind {kind:#04x}")))
            }
        }
    }
}

/// What the server is told of how far its changes got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatusUpdate {
    /// Up to where everything came.
    pub(crate) received: Lsn,
    /// Up to where everything is durable here. The server forgets what is before it.
    pub(crate) durable: Lsn,
    /// Microseconds since 2000.
    pub(crate) clock: i64,
    /// Whether the server answers with a keepalive at once.
    pub(crate) wants_reply: bool,
}

impl StatusUpdate {
    /// The content of a `CopyData`.
    pub(crate) fn encode(&self) -> [u8; 34] {
        let mut bytes = [0; 34];
        bytes[0] = b'r';
        bytes[1..9].copy_from_slice(&self.received.0.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.durable.0.to_be_bytes());
        // What is durable is all that is known to be applied.
        bytes[17..25].copy_from_slice(&self.durable.0.to_be_bytes());
        bytes[25..33].copy_from_slice(&self.clock.to_be_bytes());
        bytes[33] = u8::from(self.wants_reply);
        bytes
    }
}
