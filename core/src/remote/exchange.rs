//! Requests and answers on a connection that stands.

use std::time::Instant;

use pillion_ipc::{CallError, Client, Flags, Frame};
use serde::Serialize;

use crate::types::error::{Error, ErrorCode, Result};
use crate::wire::{Call, Cancel, ErrorMessage, MESSAGE_LEN_MAX, decode, encode};

/// Tells the sidecar that nobody waits for the answer to a request; otherwise it would hold for ever what the answer
/// gives.
pub(super) fn cancel(client: &Client, request: u64) {
    tell(client, Call::Cancel, &Cancel { request });
}

/// Sends a call that gets no answer. If the connection breaks, the sidecar releases by itself what it holds for it.
pub(super) fn tell(client: &Client, call: Call, request: &impl Serialize) {
    if let (Ok(body), Ok(pending)) = (encode(request), client.begin()) {
        drop(pending.send(call as u16, Flags::QUIET, &body));
    }
}

/// Sends a request. The inner error says that it is too long for a frame.
pub(super) fn send(pending: &pillion_ipc::Call, call: Call, body: &[u8]) -> Result<Result<()>, CallError> {
    if body.len() > pillion_ipc::FRAME_BODY_MAX {
        let message = format!(
            "the request has {} bytes, and may have at most {}",
            body.len(),
            pillion_ipc::FRAME_BODY_MAX
        );
        return Ok(Err(Error::new(ErrorCode::TooLarge, message)));
    }
    pending.send(call as u16, Flags::default(), body).map(Ok)
}

/// Receives an answer, which may come in several frames.
pub(super) fn receive(pending: &pillion_ipc::Call, deadline: Instant) -> Result<Result<Vec<u8>>, CallError> {
    let Frame { mut flags, mut body, .. } = pending.receive(Some(deadline))?;
    while flags.contains(Flags::MORE) {
        let next = pending.receive(Some(deadline))?;
        if body.len() + next.body.len() > MESSAGE_LEN_MAX {
            return Ok(Err(Error::new(
                ErrorCode::TooLarge,
                format!("the answer has more than {MESSAGE_LEN_MAX} bytes"),
            )));
        }
        flags = next.flags;
        body.extend_from_slice(&next.body);
    }
    if flags.contains(Flags::ERROR) {
        return Ok(Err(decode::<ErrorMessage>(&body).map_or_else(|error| error, ErrorMessage::into_error)));
    }
    Ok(Ok(body))
}
