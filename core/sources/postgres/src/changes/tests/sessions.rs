//! What is read from recordings of a real server.

use std::fmt::Write;

use super::super::Decoder;
use super::super::frame::{Frame, StatusUpdate};
use super::super::lsn::Lsn;
use super::super::message::Message;
use super::super::shown::shown;
use super::{SESSIONS, contents, messages};

/// What the recordings say, read by a person once.
const TEXTS: [&str; 3] = [
    include_str!("../sessions/text.txt"),
    include_str!("../sessions/binary.txt"),
    include_str!("../sessions/streamed.txt"),
];

#[test]
fn recordings_are_read_as_before() {
    for ((name, session), expected) in SESSIONS.into_iter().zip(TEXTS) {
        let (mut decoder, mut text, mut alike) = (Decoder::new(), String::new(), 0);
        for message in messages(session) {
            let message = decoder.message(message).unwrap();
            let is_insert = matches!(message, Message::Insert { .. });
            // Of very many inserts the first ones are shown.
            alike = if is_insert { alike + 1 } else { 0 };
            if alike < 20 || alike % 100 == 0 {
                writeln!(text, "{}", shown(&message)).unwrap();
            }
        }
        if let Some(dir) = std::env::var_os("PILLION_RECORD_SESSIONS") {
            let mut file =
                std::fs::File::create(std::path::Path::new(&dir).join(format!("{name}.txt"))).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            continue;
        }
        for (number, (line, expected)) in text.lines().zip(expected.lines()).enumerate() {
            assert_eq!(line, expected, "{name}, line {}", number + 1);
        }
        assert_eq!(text.lines().count(), expected.lines().count(), "{name}");
    }
}

#[test]
fn keepalives_go_on_where_nothing_is_sent() {
    let mut ends = Vec::new();
    for content in contents(SESSIONS[0].1) {
        if let Frame::Keepalive { end, .. } = Frame::decode(content).unwrap() {
            ends.push(end);
        }
    }
    assert!(!ends.is_empty() && ends.is_sorted() && ends[0] > Lsn(0));
}

#[test]
fn status_updates_have_their_form() {
    let update = StatusUpdate { received: Lsn(1), durable: Lsn(2), clock: 3, wants_reply: true };
    let bytes = update.encode();
    assert_eq!(bytes[0], b'r');
    let numbers: Vec<u64> =
        bytes[1..33].as_chunks::<8>().0.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
    assert_eq!((numbers, bytes[33]), (vec![1, 2, 2, 3], 1));
}
