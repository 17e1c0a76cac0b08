//! The stream of changes, and what keeps it alive.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use pillion::{Error, ErrorCode, Result};
use postgres_protocol::message::frontend::CopyData;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::command::{CommandFailure, ServerError};
use super::connection::Connection;
use super::messages::{Messages, ServerMessage};
use super::publication::{PublicationName, SlotName, start_command};
use crate::changes::{Frame, Lsn, StatusUpdate};

/// How often the server is told how far its changes got, when there is no news. A server gives a client up after
/// `wal_sender_timeout`, by default a minute.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// How often at most it is told news.
const NEWS_INTERVAL: Duration = Duration::from_millis(200);
/// After this long without a word the server is asked for one, and after as long again it counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Microseconds from 1970 to 2000, from where the server counts.
const EPOCH: Duration = Duration::from_secs(10_957 * 86_400);

/// What comes on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A message of `pgoutput`.
    Message {
        /// Where in the log that stands; zero if nowhere.
        at: Lsn,
        message: Bytes,
    },
    /// Everything before a position of the log was sent.
    UpTo {
        end: Lsn,
        /// The server waits to hear that this came.
        is_urgent: bool,
    },
}

/// Whether a server goes on after a position.
pub(crate) enum Started {
    Stream(ChangeStream),
    /// Changes are gone for ever, for a reason. A new copy is needed.
    Lost(String),
}

/// Changes as they come. Dropping it ends the connection.
pub(crate) struct ChangeStream {
    messages: Messages,
    status: StatusUpdate,
    /// Whether the server does not know yet what is durable.
    is_news: bool,
    told: Instant,
    heard: Instant,
    is_asked: bool,
    silence_max: Duration,
}

impl Connection {
    /// Streams the changes of a publication after a position that the server `identifier` gave.
    ///
    /// # Errors
    /// [`SourceNotFound`](ErrorCode::SourceNotFound) without the publication,
    /// [`SourceInvalid`](ErrorCode::SourceInvalid) for a slot of another kind.
    pub(crate) async fn start(
        mut self,
        slot: &SlotName,
        publication: &PublicationName,
        identifier: u64,
        after: Lsn,
    ) -> Result<Started> {
        if let Some(why) = self.why_lost(slot, identifier, after).await? {
            return Ok(Started::Lost(why));
        }
        // The server would notice only at the first change, with a code that says the same of a slot.
        if !self.has_publication(publication.as_str()).await? {
            return Err(Error::new(
                ErrorCode::SourceNotFound,
                format!("{}: there is no publication `{}`", self.place(), publication.as_str()),
            ));
        }
        let command = start_command(slot, publication, after);
        match self.messages.stream(&command).await {
            Ok(()) => Ok(Started::Stream(ChangeStream::new(self.messages, after))),
            // Between the first look and the command.
            Err(CommandFailure::Refused(error)) if ["55000", "42704"].contains(&&*error.state) => {
                match self.why_lost(slot, identifier, after).await? {
                    Some(why) => Ok(Started::Lost(why)),
                    None => Err(error.into_error(self.messages.place())),
                }
            }
            Err(failure) => Err(failure.into_error(self.messages.place())),
        }
    }

    /// Why a slot does not have the changes after a position any more, if it does not.
    async fn why_lost(&mut self, slot: &SlotName, identifier: u64, after: Lsn) -> Result<Option<String>> {
        let system = self.system().await?;
        let name = slot.as_str();
        if system.identifier != identifier {
            return Ok(Some(format!(
                "the server is another one: {} instead of {identifier}",
                system.identifier
            )));
        }
        if system.written < after {
            return Ok(Some(format!(
                "the log of the server ends at {}, before {after}: it lost transactions",
                system.written
            )));
        }
        let Some(status) = self.slot(slot).await? else {
            return Ok(Some(format!("the replication slot `{name}` is gone")));
        };
        if status.plugin.as_deref() != Some("pgoutput") || status.database.as_ref() != Some(&system.database)
        {
            let message = format!("the replication slot `{name}` is not one of `pgoutput` in this database");
            return Err(self.messages.invalid(&message));
        }
        if status.is_lost {
            return Ok(Some(format!(
                "the server removed log that the replication slot `{name}` needs (`max_slot_wal_keep_size` sets how much it keeps)"
            )));
        }
        // The server would begin where the slot is, and say nothing.
        Ok(status.confirmed.filter(|confirmed| *confirmed > after).map(|confirmed| {
            format!(
                "the replication slot `{name}` is at {confirmed}, behind {after}: changes in between were acknowledged, here or by somebody else who reads from it"
            )
        }))
    }
}

impl ChangeStream {
    fn new(messages: Messages, after: Lsn) -> Self {
        let status = StatusUpdate { received: after, durable: after, ..StatusUpdate::default() };
        let now = Instant::now();
        Self {
            messages,
            status,
            is_news: false,
            told: now,
            heard: now,
            is_asked: false,
            silence_max: SILENCE_MAX,
        }
    }

    /// Gives up a server that is silent for so long, and as long again after it was asked.
    #[cfg(test)]
    pub(crate) fn silence_max(mut self, limit: Duration) -> Self {
        self.silence_max = limit;
        self
    }

    /// Says that everything before a position is durable here: the server may forget it. It is told soon, by whatever of this stream is
    /// waited for next.
    pub(crate) fn acknowledge(&mut self, durable: Lsn) {
        if durable > self.status.durable {
            self.status.durable = durable;
            self.status.received = self.status.received.max(durable);
            self.is_news = true;
        }
    }

    /// What comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`SourceUnavailable`](ErrorCode::SourceUnavailable) if the connection or the server ends, or the server is silent for too long.
    /// Nothing comes afterwards.
    pub(crate) async fn next(&mut self) -> Result<Received> {
        loop {
            let due = self.due();
            match timeout_at(due, self.messages.next()).await {
                Ok(message) => {
                    if let Some(received) = self.take(&message?)? {
                        return Ok(received);
                    }
                }
                Err(_) => self.attend().await?,
            }
            // Also while there is always something to read.
            if self.due() <= Instant::now() {
                self.attend().await?;
            }
        }
    }

    /// What came already and needs no waiting.
    pub(crate) fn at_once(&mut self) -> Result<Option<Received>> {
        while let Some(message) = self.messages.whole()? {
            if let Some(received) = self.take(&message)? {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    /// Keeps the connection alive without reading from it, until that fails.
    pub(crate) async fn keep_alive(&mut self) -> Error {
        loop {
            // The server may have said much that nobody read: it is not silent.
            self.heard = Instant::now();
            sleep_until(self.due()).await;
            if let Err(error) = self.attend().await {
                return error;
            }
        }
    }

    /// When something must be done.
    fn due(&self) -> Instant {
        let told = self.told + if self.is_news { NEWS_INTERVAL } else { STATUS_INTERVAL };
        let silent = self.heard + if self.is_asked { 2 * self.silence_max } else { self.silence_max };
        told.min(silent)
    }

    async fn attend(&mut self) -> Result<()> {
        let silent = self.heard.elapsed();
        if silent >= 2 * self.silence_max && self.is_asked {
            return Err(Error::new(
                ErrorCode::SourceUnavailable,
                format!(
                    "{}: the server says nothing for {silent:?}, not even when it is asked",
                    self.messages.place()
                ),
            ));
        }
        self.is_asked = self.is_asked || silent >= self.silence_max;
        self.tell(self.is_asked).await
    }

    async fn tell(&mut self, wants_reply: bool) -> Result<()> {
        let status = StatusUpdate { clock: clock(), wants_reply, ..self.status };
        let mut bytes = BytesMut::new();
        CopyData::new(&status.encode()[..])
            .map_err(|error| self.messages.invalid("a status update is too long").with_source(error))?
            .write(&mut bytes);
        (self.told, self.is_news) = (Instant::now(), false);
        self.messages.send(&bytes).await
    }

    fn take(&mut self, message: &ServerMessage) -> Result<Option<Received>> {
        (self.heard, self.is_asked) = (Instant::now(), false);
        match message.kind {
            b'd' => self.content(&message.body).map(Some),
            b'E' => Err(ServerError::decode(&message.body).into_error(self.messages.place())),
            b'N' | b'S' => Ok(None),
            b'c' | b'C' | b'Z' => Err(Error::new(
                ErrorCode::SourceUnavailable,
                format!("{}: the server ends the stream of changes", self.messages.place()),
            )),
            _ => Err(self.messages.unexpected(message, "in a stream of changes")),
        }
    }

    fn content(&mut self, body: &Bytes) -> Result<Received> {
        let frame = Frame::decode(body).map_err(|malformed| {
            self.messages.invalid("the stream of changes is damaged").with_source(malformed)
        })?;
        Ok(match frame {
            Frame::Data { start, message, .. } => {
                self.status.received = self.status.received.max(start);
                Received::Message { at: start, message: body.slice_ref(message) }
            }
            Frame::Keepalive { end, wants_reply, .. } => {
                self.status.received = self.status.received.max(end);
                if wants_reply {
                    // Due at once.
                    self.is_news = true;
                    self.told = self.told.checked_sub(NEWS_INTERVAL).unwrap_or(self.told);
                }
                Received::UpTo { end, is_urgent: wants_reply }
            }
        })
    }
}

/// Now, in microseconds since 2000.
fn clock() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
