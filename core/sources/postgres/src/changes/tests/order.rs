//! Messages that may not follow each other, written by hand.

use super::super::Decoder;
use super::super::lsn::Lsn;

const TABLE: u32 = 16_384;

fn begin(commit: u64) -> Vec<u8> {
    [&b"B"[..], &commit.to_be_bytes(), &[0; 8], &7_u32.to_be_bytes()].concat()
}

fn commit(at: u64, end: u64) -> Vec<u8> {
    [&b"C\0"[..], &at.to_be_bytes(), &end.to_be_bytes(), &[0; 8]].concat()
}

/// A table `t` with the columns `id`, its identity, and `v`.
fn announcement(oid: u32) -> Vec<u8> {
    let columns = b"\x01id\0\0\0\0\x17\xff\xff\xff\xff\0v\0\0\0\0\x19\xff\xff\xff\xff";
    [&b"R"[..], &oid.to_be_bytes(), b"public\0t\0d\0\x02", columns].concat()
}

fn insert(oid: u32, cells: &[u8]) -> Vec<u8> {
    [&b"I"[..], &oid.to_be_bytes(), b"N", cells].concat()
}

fn start(transaction: u32, is_first: u8) -> Vec<u8> {
    [&b"S"[..], &transaction.to_be_bytes(), &[is_first]].concat()
}

fn streamed(commit: &[u8], transaction: u32) -> Vec<u8> {
    [&b"c"[..], &transaction.to_be_bytes(), &commit[1..]].concat()
}

fn abort(transaction: u32, subtransaction: u32) -> Vec<u8> {
    [&b"A"[..], &transaction.to_be_bytes(), &subtransaction.to_be_bytes()].concat()
}

/// In a block, the number of the transaction follows the kind.
fn within(transaction: u32, message: &[u8]) -> Vec<u8> {
    [&message[..1], &transaction.to_be_bytes(), &message[1..]].concat()
}

const ROW: &[u8] = b"\0\x02t\0\0\0\x011n";

/// Reads all but the last, which must be refused, and says why it is.
fn refusal(messages: &[Vec<u8>]) -> String {
    let (last, before) = messages.split_last().unwrap();
    let mut decoder = Decoder::new();
    for message in before {
        decoder.message(message).unwrap();
    }
    decoder.message(last).unwrap_err().to_string()
}

#[test]
fn messages_come_in_their_order() {
    let announced = || vec![begin(10), announcement(TABLE)];
    let then = |before: Vec<Vec<u8>>, last: Vec<u8>| [before, vec![last]].concat();
    for (messages, why) in [
        (vec![commit(1, 2)], "a commit stands outside of a transaction"),
        (vec![insert(TABLE, ROW)], "an insert stands outside of a transaction"),
        (vec![announcement(TABLE)], "an announcement of columns stands outside of a transaction"),
        (vec![b"E".to_vec()], "the end of a block stands outside of a transaction"),
        (vec![begin(10), begin(11)], "a begin stands inside of a transaction"),
        (vec![begin(10), commit(11, 12)], "with its commit at 0/A is committed at 0/B"),
        (vec![begin(10), commit(10, 9)], "a commit at 0/A ends before, at 0/9"),
        (vec![begin(10), start(7, 1)], "the start of a block stands inside of a transaction"),
        (vec![begin(10), abort(7, 7)], "the abort of a streamed transaction stands inside of a transaction"),
        (vec![begin(10), insert(TABLE, ROW)], "table 16384 was not announced"),
        (then(announced(), insert(TABLE, b"\0\x01n")), "a row of table \"t\" has 1 values for 2 columns"),
        (
            then(announced(), [&b"D"[..], &TABLE.to_be_bytes(), b"K\0\x02un"].concat()),
            "lacks column \"id\" of its identity",
        ),
        (then(announced(), b"T\0\0\0\x01\0\0\0\0\x05".to_vec()), "table 5 was not announced"),
        (then(announced(), b"T\0\0\0\x01\x04\0\0\x40\0".to_vec()), "the flags are 0x4"),
        (then(announced(), b"T\x7f\xff\xff\xff\0\0\0\x40\0".to_vec()), "no message names so many tables"),
        (then(announced(), insert(TABLE, b"\xff\xff")), "the number of values is -1"),
        (then(announced(), insert(TABLE, b"\0\x02t\xff\xff\xff\xffn")), "the length of a value is -1"),
        (vec![start(7, 0)], "the streamed transaction 7 goes on without having begun"),
        (vec![start(7, 1), b"E".to_vec(), start(7, 1)], "the streamed transaction 7 begins twice"),
        (vec![streamed(&commit(1, 2), 7)], "transaction 7 is committed, and none of it was streamed"),
        (
            vec![start(7, 1), b"E".to_vec(), abort(7, 7), streamed(&commit(1, 2), 7)],
            "transaction 7 is committed, and none of it was streamed",
        ),
        (vec![start(7, 1), begin(10)], "a begin stands inside of a transaction"),
        (vec![start(7, 1), streamed(&commit(1, 2), 7)], "stands inside of a transaction"),
        (vec![b"z".to_vec()], "no message is of kind 0x7a"),
        (vec![Vec::new()], "the message ends in its kind"),
    ] {
        let said = refusal(&messages);
        assert!(said.contains(why), "{said} instead of {why}");
    }
}

#[test]
fn an_orderly_stream_is_read() {
    let mut decoder = Decoder::new();
    let in_block = |message: Vec<u8>| within(8, &message);
    for message in [
        begin(10),
        announcement(TABLE),
        insert(TABLE, ROW),
        commit(10, 12),
        start(7, 1),
        in_block(insert(TABLE, ROW)),
        in_block(announcement(5)),
        b"E".to_vec(),
        start(9, 1),
        b"E".to_vec(),
        abort(7, 8),
        start(7, 0),
        b"E".to_vec(),
        begin(20),
        insert(5, ROW),
        commit(20, 21),
        streamed(&commit(30, 31), 7),
        abort(9, 9),
        abort(9, 9),
        start(7, 1),
    ] {
        decoder.message(&message).unwrap();
    }
    assert_eq!(decoder.table(5).unwrap().columns.len(), 2);
    assert!(decoder.table(6).is_none());
    assert_eq!(Lsn(10).to_string(), "0/A");
}

#[test]
fn tables_beyond_all_measure_are_refused() {
    let mut decoder = Decoder::new();
    decoder.message(&begin(10)).unwrap();
    let refused = (0..=1 << 16).find_map(|oid| decoder.message(&announcement(oid)).err());
    assert!(refused.unwrap().to_string().contains("65536 tables are announced"));
    decoder.message(&announcement(3)).unwrap();
}
