//! The bodies of requests, as far and as fast as they may go.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::problem::Problem;

/// Fewer bytes are no progress.
const PROGRESS_LEN: u64 = 1024;

/// A body that is read part by part.
pub(crate) struct Parts {
    body: Body,
    left: u64,
    max: u64,
    patience: Duration,
    /// How long the client has been waited for since it made progress, and what came meanwhile.
    waited: Duration,
    came: u64,
}

impl Parts {
    /// Reads at most `max` bytes, and waits for the client no longer than `patience` for each KiB.
    pub(crate) fn new(body: Body, max: u64, patience: Duration) -> Self {
        Self { body, left: max, max, patience, waited: Duration::ZERO, came: 0 }
    }

    /// The next part; `None` at the end of a body that came whole.
    ///
    /// # Errors
    /// 413 beyond the limit, 408 for a client that is too slow, 400 for a body that breaks off.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let begun = Instant::now();
            let left = self.patience.saturating_sub(self.waited);
            let frame = tokio::time::timeout(left, self.body.frame()).await.map_err(|_| {
                let message = format!("less than a KiB of the body came within {:?}", self.patience);
                Problem::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message)
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| {
                Problem::bad_request("BrokenBody", format!("the body broke off: {error}"))
            })?;
            self.waited += begun.elapsed();
            let Ok(part) = frame.into_data() else { continue };
            let len = part.len() as u64;
            self.left = self.left.checked_sub(len).ok_or_else(|| too_large(self.max))?;
            self.came += len;
            if self.came >= PROGRESS_LEN {
                (self.waited, self.came) = (Duration::ZERO, 0);
            }
            return Ok(Some(part));
        }
    }
}

/// A whole body of at most `max` bytes, which must have come after `patience`.
///
/// # Errors
/// As [`Parts::next`].
pub(crate) async fn whole(body: Body, max: u64, patience: Duration) -> Result<Bytes, Problem> {
    let read = async {
        let (mut parts, mut all) = (Parts::new(body, max, patience), BytesMut::new());
        while let Some(part) = parts.next().await? {
            all.extend_from_slice(&part);
        }
        Ok(all.freeze())
    };
    tokio::time::timeout(patience, read).await.unwrap_or_else(|_| {
        let message = format!("the body had not come after {patience:?}");
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message))
    })
}

/// Refuses a body that says in its headers that it is too long, or compressed.
///
/// # Errors
/// 413 and 415.
pub(crate) fn check_headers(headers: &HeaderMap, max: u64) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::CONTENT_LENGTH).and_then(|len| len.parse().ok()).is_some_and(|len: u64| len > max) {
        return Err(too_large(max));
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if encoding.as_bytes() != b"identity" => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedEncoding",
            "bodies are taken as they are: send this one without `Content-Encoding`",
        )),
        _ => Ok(()),
    }
}

/// The media type of a body in lower case, without what follows it; empty without one.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn too_large(max: u64) -> Problem {
    let message = format!("the body has more than {max} bytes, which is the limit here");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message).hint(
        "send less at a time; `request_size` and `upload_size` of the sidecar's configuration are the limits",
    )
}
