//! Commands on a connection that streams changes, and what the server answers.

use bytes::BytesMut;
use pillion::{Error, Result};
use postgres_protocol::message::frontend;

use super::messages::{Messages, texts};
use crate::failures;

/// Rows of an answer, whose values are texts.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// An error that the server reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerError {
    /// Its code, of five characters.
    pub(super) state: String,
    pub(super) message: String,
    hint: Option<String>,
}

impl ServerError {
    pub(super) fn decode(body: &[u8]) -> Self {
        let mut error = Self::default();
        for field in texts(body) {
            let Some((kind, text)) = field.split_first() else { continue };
            let text = String::from_utf8_lossy(text).into_owned();
            match kind {
                b'C' => error.state = text,
                b'M' => error.message = text,
                b'H' => error.hint = Some(text),
                _ => {}
            }
        }
        error
    }

    pub(super) fn into_error(self, place: &str) -> Error {
        let text = match self.hint {
            Some(hint) => format!("{} ({hint})", self.message),
            None => self.message,
        };
        failures::of_state(place, &self.state, &text)
    }
}

/// Why a command has no answer.
#[derive(Debug)]
pub(super) enum CommandFailure {
    /// The server refuses it, and takes further commands.
    Refused(ServerError),
    /// There is no connection any more.
    Lost(Error),
}

impl CommandFailure {
    pub(super) fn into_error(self, place: &str) -> Error {
        match self {
            Self::Refused(error) => error.into_error(place),
            Self::Lost(error) => error,
        }
    }
}

impl From<Error> for CommandFailure {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

impl Messages {
    /// Asks the server something, and waits until it has answered.
    pub(super) async fn query(&mut self, text: &str) -> std::result::Result<Rows, CommandFailure> {
        self.ask(text).await?;
        let (mut rows, mut refusal) = (Rows::new(), None);
        loop {
            let message = self.next().await?;
            match message.kind {
                b'D' => rows.push(row(&message.body).ok_or_else(|| self.invalid("a row ends too early"))?),
                b'E' => refusal = Some(ServerError::decode(&message.body)),
                b'Z' => return refusal.map_or(Ok(rows), |refusal| Err(CommandFailure::Refused(refusal))),
                // What columns a row has, that a command is complete, and what has nothing to do with it.
                b'T' | b'C' | b'I' | b'N' | b'S' => {}
                _ => return Err(self.unexpected(&message, "as the answer to a command").into()),
            }
        }
    }

    /// Asks the server to stream, and waits until it does.
    pub(super) async fn stream(&mut self, text: &str) -> std::result::Result<(), CommandFailure> {
        self.ask(text).await?;
        let mut refusal = None;
        loop {
            let message = self.next().await?;
            match message.kind {
                b'W' => return Ok(()),
                b'E' => refusal = Some(ServerError::decode(&message.body)),
                b'Z' => {
                    let silent = || self.invalid("the server does not begin to stream, and does not say why");
                    return Err(refusal.map_or_else(|| silent().into(), CommandFailure::Refused));
                }
                b'N' | b'S' => {}
                _ => return Err(self.unexpected(&message, "instead of a stream").into()),
            }
        }
    }

    async fn ask(&mut self, text: &str) -> Result<()> {
        let mut bytes = BytesMut::new();
        frontend::query(text, &mut bytes)
            .map_err(|error| self.invalid("a command contains a zero byte").with_source(error))?;
        self.send(&bytes).await
    }
}

/// The values of a row; `None` if the bytes are none.
fn row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut values = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (len, tail) = rest.split_first_chunk::<4>()?;
        rest = tail;
        let Ok(len) = usize::try_from(i32::from_be_bytes(*len)) else {
            values.push(None);
            continue;
        };
        let (value, tail) = rest.split_at_checked(len)?;
        rest = tail;
        values.push(Some(std::str::from_utf8(value).ok()?.to_owned()));
    }
    rest.is_empty().then_some(values)
}

/// A text as a constant of SQL.
pub(super) fn literal(text: &str) -> String {
    // Backslashes mean themselves only if a setting says so; behind an E they never do.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_server_are_read() {
        let error = ServerError::decode(b"SERROR\0C55000\0Mno more\0Htry this\0\0");
        assert_eq!((&*error.state, &*error.message), ("55000", "no more"));
        assert_eq!(error.into_error("there").message(), "there: no more (try this)");
    }

    #[test]
    fn rows_are_read() {
        assert_eq!(row(b"\0\x02\0\0\0\x01a\xff\xff\xff\xff"), Some(vec![Some("a".to_owned()), None]));
        for damaged in [&b"\0"[..], b"\0\x01", b"\0\x01\0\0\0\x02a", b"\0\0x", b"\0\x01\0\0\0\x01\xff"] {
            assert_eq!(row(damaged), None);
        }
    }

    #[test]
    fn texts_are_constants() {
        assert_eq!(literal(r"it's \ so"), r"E'it''s \\ so'");
    }
}
