//! Recordings of a real server, and what damage does to them. `fuzz/` has another decoder beside this one.

mod damage;
mod order;
mod sessions;

use super::frame::Frame;

/// Recorded by `tests/it/recorder.rs` from PostgreSQL 15.
const SESSIONS: [(&str, &[u8]); 3] = [
    ("text", include_bytes!("../sessions/text.session")),
    ("binary", include_bytes!("../sessions/binary.session")),
    ("streamed", include_bytes!("../sessions/streamed.session")),
];

/// The contents of `CopyData` of a recording.
fn contents(session: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = session;
    std::iter::from_fn(move || {
        let (len, tail) = rest.split_first_chunk::<4>()?;
        let (content, tail) = tail.split_at(u32::from_be_bytes(*len) as usize);
        rest = tail;
        Some(content)
    })
}

/// The messages of `pgoutput` in a recording.
fn messages(session: &[u8]) -> impl Iterator<Item = &[u8]> {
    contents(session).filter_map(|content| match Frame::decode(content).unwrap() {
        Frame::Data { message, .. } => Some(message),
        Frame::Keepalive { .. } => None,
    })
}
