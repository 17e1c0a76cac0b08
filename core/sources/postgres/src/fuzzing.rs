//! Entry points for fuzzing: each takes bytes as a server could send them and must not panic, whatever they are. Compiled only with
//! `--cfg fuzzing`.

use crate::changes::{Decoder, Frame, shown};

/// A session of a replication stream: the contents of `CopyData`, each with its length before it in four bytes. What is read of each
/// message is handed over as a text, with the message, up to the first that is refused.
pub fn changes(session: &[u8], mut read: impl FnMut(&[u8], &str)) {
    let (mut decoder, mut rest) = (Decoder::new(), session);
    while let Some((&[a, b, c, d], tail)) = rest.split_first_chunk::<4>() {
        let len = usize::from(a) << 24 | usize::from(b) << 16 | usize::from(c) << 8 | usize::from(d);
        let (content, tail) = tail.split_at(len.min(tail.len()));
        rest = tail;
        let Ok(Frame::Data { message, .. }) = Frame::decode(content) else { continue };
        let Ok(decoded) = decoder.message(message) else { return };
        read(message, &shown::shown(&decoded));
    }
}
