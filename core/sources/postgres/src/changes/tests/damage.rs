//! Recordings that are cut short or changed.

use super::super::Decoder;
use super::super::frame::Frame;
use super::super::message::Message;
use super::{SESSIONS, contents, messages};

/// Pseudo-random numbers (SplitMix64).
pub(super) struct Random(u64);

impl Random {
    /// Starts from `PILLION_TEST_SEED`, and prints from where.
    pub(super) fn seeded() -> Self {
        let given = std::env::var("PILLION_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(20_130_101);
        println!("PILLION_TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// A message with a few bytes changed, most often near its beginning, where its structure is.
pub(super) fn damaged(random: &mut Random, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    for _ in 0..=random.below(3) {
        let within = if random.below(4) == 0 { message.len() } else { message.len().min(40) };
        let at = random.below(within);
        message[at] = match random.below(3) {
            0 => message[at] ^ 1 << random.below(8),
            1 => [0, 1, 0x7f, 0xff][random.below(4)],
            _ => b"BCORYIUDTMSEcAnutbKON"[random.below(21)],
        };
    }
    message
}

#[test]
fn a_message_that_is_cut_short_is_refused_everywhere() {
    for (name, session) in SESSIONS {
        let mut decoder = Decoder::new();
        for (number, message) in messages(session).enumerate() {
            let ends = (0..message.len()).filter(|end| message.len() < 400 || end % 97 == 0);
            for end in ends {
                // A decoder is not changed by what it refuses, so this one goes on.
                let refused = decoder.message(&message[..end]);
                let place = format!("{name}, message {number}, {end} of {} bytes", message.len());
                assert!(
                    refused.as_ref().is_err_and(|refused| refused.position <= end),
                    "{place}: {refused:?}"
                );
            }
            let longer = [message, &[0]].concat();
            assert_eq!(
                decoder.message(&longer).unwrap_err().position,
                message.len(),
                "{name}, message {number}"
            );
            decoder.message(message).unwrap();
        }
    }
}

#[test]
fn a_frame_that_is_cut_short_is_refused() {
    for content in SESSIONS.iter().flat_map(|(_, session)| contents(session)) {
        let whole = Frame::decode(content).unwrap();
        let head = match whole {
            Frame::Data { message, .. } => content.len() - message.len(),
            Frame::Keepalive { .. } => content.len(),
        };
        for end in 0..head {
            assert!(Frame::decode(&content[..end]).is_err_and(|refused| refused.position <= end));
        }
    }
    let keepalive = [&[b'k'][..], &[0; 16], &[2]].concat();
    let refused = Frame::decode(&keepalive).unwrap_err();
    assert_eq!(refused.to_string(), "the wish for a reply is 2 instead of 0 or 1 at byte 17 of a message");
    assert!(Frame::decode(&[&[b'k'][..], &[0; 18]].concat()).is_err(), "a byte too many");
    assert!(Frame::decode(&[b'x'; 30]).is_err());
}

#[test]
fn whatever_is_changed_nothing_panics_or_grows() {
    let mut random = Random::seeded();
    let mut refused = 0;
    for _ in 0..200 {
        for (_, session) in SESSIONS {
            let mut decoder = Decoder::new();
            for message in messages(session) {
                let message =
                    if random.below(10) == 0 { damaged(&mut random, message) } else { message.to_vec() };
                match decoder.message(&message) {
                    Ok(read) => is_within(&read, message.len()),
                    Err(malformed) => {
                        assert!(malformed.position <= message.len());
                        refused += 1;
                        // What was refused changes nothing, so the rest is read on.
                        assert!(malformed.to_string().len() < 2 * message.len() + 300, "{malformed}");
                    }
                }
            }
        }
    }
    assert!(refused > 1000, "{refused} messages refused");
}

/// Nothing has more parts than the message has bytes.
fn is_within(message: &Message<'_>, len: usize) {
    match message {
        Message::Table { table, .. } => {
            assert!(table.columns.len() * 10 <= len && table.columns.capacity() <= len.max(8));
        }
        Message::Insert { new, .. } | Message::Update { new, .. } => {
            assert_eq!(new.cells().count(), usize::from(new.columns()));
            assert!(usize::from(new.columns()) <= len);
        }
        Message::Truncate { tables, .. } => assert!(tables.iter().count() * 4 <= len),
        _ => {}
    }
}
