//! What a failure of the client or the server means to whoever asked.

use std::error::Error as StdError;
use std::io;

use arrow_flight::error::FlightError;
use pillion::files::missing_codec;
use pillion::{Error, ErrorCode};
use tonic::{Code, Status, TimeoutExpired};

/// The longest text of a server that is shown, in characters.
const TEXT_LEN_MAX: usize = 2000;
/// How the client begins to say that a message is larger than it may be; a test compares the text.
const TOO_LONG: &str = "Error, decoded message length too large";

/// Says what a failed call means. It knows the secrets, which a server may repeat in its errors.
#[derive(Clone)]
pub(crate) struct Failures {
    /// Where the server is, such as `Flight SQL at db:31337`.
    place: String,
    hidden: Vec<String>,
    message_len_max: usize,
}

impl Failures {
    pub(crate) fn new(place: String, hidden: Vec<String>, message_len_max: usize) -> Self {
        let hidden = hidden.into_iter().filter(|text| !text.is_empty()).collect();
        Self { place, hidden, message_len_max }
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Hides one more text.
    pub(crate) fn hide(&mut self, text: String) {
        if !text.is_empty() {
            self.hidden.push(text);
        }
    }

    /// The error of a call. `what` names it, such as `GetTables`. The status itself is not kept: it holds what the server sent
    /// beside its text, and that may be a token.
    pub(crate) fn of_call(&self, what: &str, status: &Status) -> Error {
        if is_of_deadline(status) {
            let message = format!("{}: {what} was not answered in time", self.place);
            return Error::new(ErrorCode::Timeout, message);
        }
        if let Some(why) = cause(status) {
            return self.cut_off(what, &why);
        }
        let (place, text) = (&self.place, self.text_of(status));
        let (code, message) = match status.code() {
            Code::Unauthenticated => (
                ErrorCode::SourceRefused,
                format!("{place}: the server does not accept the credentials ({what}): {text}"),
            ),
            Code::PermissionDenied => {
                (ErrorCode::SourceRefused, format!("{place}: the credentials do not allow {what}: {text}"))
            }
            Code::Unimplemented => {
                (ErrorCode::Unsupported, format!("{place}: the server does not implement {what}: {text}"))
            }
            Code::OutOfRange if text.starts_with(TOO_LONG) => (
                ErrorCode::TooLarge,
                format!(
                    "{place}: the server sends a message of more than {} bytes, which `message_bytes_max` allows: raise it, or \
                     let the server make smaller batches",
                    self.message_len_max
                ),
            ),
            Code::NotFound => (ErrorCode::SourceNotFound, format!("{place}: {what}: {text}")),
            Code::DeadlineExceeded => {
                (ErrorCode::Timeout, format!("{place}: {what} was not answered in time: {text}"))
            }
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::AlreadyExists => {
                (ErrorCode::InvalidArgument, format!("{place}: {what} was refused: {text}"))
            }
            _ => (ErrorCode::SourceUnavailable, format!("{place}: {what} failed: {text}")),
        };
        Error::new(code, message)
    }

    /// The error of a text that the server was to read: many servers call a mistake in it a failure of their own.
    pub(crate) fn of_text(&self, what: &str, status: &Status) -> Error {
        let is_of_server = matches!(status.code(), Code::Internal | Code::Unknown | Code::InvalidArgument);
        if is_of_server && cause(status).is_none() {
            let message = format!("{}: {what} cannot be used: {}", self.place, self.text_of(status));
            return Error::new(ErrorCode::InvalidArgument, message);
        }
        self.of_call(what, status)
    }

    /// The error of a stream of rows.
    pub(crate) fn of_rows(&self, error: FlightError) -> Error {
        match error {
            FlightError::Tonic(status) => self.of_call("the fetch of rows", &status),
            other => match missing_codec(&other.to_string()) {
                Some(codec) => {
                    let message = format!(
                        "{}: the server compresses rows by {codec}, which this build cannot read: let it send them as they are",
                        self.place
                    );
                    Error::new(ErrorCode::Unsupported, message)
                }
                None => {
                    let message =
                        format!("{}: the server sends rows that cannot be read: {other}", self.place);
                    Error::new(ErrorCode::SourceInvalid, message)
                }
            },
        }
    }

    fn cut_off(&self, what: &str, why: &str) -> Error {
        let message = format!("{}: the connection ended during {what}: {why}", self.place);
        Error::new(ErrorCode::SourceUnavailable, message)
    }

    /// What the server says, without secrets.
    fn text_of(&self, status: &Status) -> String {
        let mut text: String = status.message().chars().take(TEXT_LEN_MAX).collect();
        for hidden in &self.hidden {
            text = text.replace(hidden, "…");
        }
        if text.is_empty() { status.code().description().to_owned() } else { text }
    }
}

/// There is no connection.
pub(crate) fn out_of_reach(place: &str, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    let error = error.into();
    let why = innermost(&*error).to_string();
    Error::new(ErrorCode::SourceUnavailable, format!("{place} cannot be reached: {why}")).with_source(error)
}

/// There is a connection, and no encryption.
pub(crate) fn not_encrypted(place: &str, error: io::Error) -> Error {
    let why = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(_)) => {
            "the server does not speak TLS (`grpc://` is without it)".to_owned()
        }
        Some(tls) => tls.to_string(),
        None => error.to_string(),
    };
    let message = format!("{place}: there is no encrypted connection: {why}");
    Error::new(ErrorCode::SourceUnavailable, message).with_source(error)
}

/// Why a call failed on this side, if it did: what a server sends has no cause.
fn cause(status: &Status) -> Option<String> {
    status.source().map(|error| innermost(error).to_string())
}

/// Whether the deadline that was sent along passed on this side.
fn is_of_deadline(status: &Status) -> bool {
    let mut causes =
        std::iter::successors(status.source(), |&error: &&(dyn StdError + 'static)| error.source());
    causes.any(|error| error.is::<TimeoutExpired>())
}

fn innermost<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut error = error;
    loop {
        // An error of input and output hides what it was made of from `source`.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source()) {
            Some(inner) => error = inner,
            None => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures() -> Failures {
        Failures::new("Flight SQL at db:1".to_owned(), vec!["s3cret".to_owned(), String::new()], 100)
    }

    #[test]
    fn statuses_have_codes() {
        for (status, code) in [
            (Status::unauthenticated("no"), ErrorCode::SourceRefused),
            (Status::permission_denied("no"), ErrorCode::SourceRefused),
            (Status::unimplemented("no"), ErrorCode::Unsupported),
            (Status::not_found("no"), ErrorCode::SourceNotFound),
            (Status::deadline_exceeded("no"), ErrorCode::Timeout),
            (Status::invalid_argument("no"), ErrorCode::InvalidArgument),
            (Status::internal("no"), ErrorCode::SourceUnavailable),
            (Status::unavailable("no"), ErrorCode::SourceUnavailable),
        ] {
            let error = failures().of_call("GetTables", &status);
            assert_eq!(error.code(), code, "{error}");
            assert!(error.message().contains("db:1") && error.message().contains("GetTables"), "{error}");
        }
        let error = failures().of_text("the statement", &Status::internal("no such column"));
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        assert!(error.message().contains("no such column"), "{error}");
    }

    #[test]
    fn a_server_that_repeats_a_secret_is_not_quoted() {
        let error = failures().of_call("GetTables", &Status::unauthenticated("bad token s3cret!"));
        assert!(error.message().contains("bad token …!"), "{error}");
        assert!(!format!("{error:?}").contains("s3cret"));
    }
}
