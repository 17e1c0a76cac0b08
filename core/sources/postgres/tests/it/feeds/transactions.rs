//! Copies that follow.

use std::time::{Duration, SystemTime};

use pillion::ErrorCode;
use pillion::source::{Call, FeedEvent, RowOperation};

use super::*;

#[test]
fn every_kind_of_change_is_followed() {
    let Some(server) = shop() else { return };
    server.psql(
        "INSERT INTO orders VALUES (1, 'pen', 1.5, repeat('n', 9000), '2024-01-01'), (2, NULL, NULL, NULL, NULL); \
         INSERT INTO lines VALUES (1, 1, 'a'), (1, 2, 'b');",
    );
    let source = server.source();
    let mut follower = Follower::copy(&source, follow()).unwrap();
    follower.assert_same(&source);
    let mut feed = follower.feed(&source);
    for (script, transactions) in [
        ("INSERT INTO orders VALUES (3, 'ink', 2, repeat('m', 9000), now()), (4, '', -0.01, '', 'epoch')", 1),
        ("UPDATE orders SET item = 'quill' WHERE id = 1", 1), // its note is not sent
        ("UPDATE orders SET id = 10, item = 'moved' WHERE id = 3", 1), // neither is this one's
        ("UPDATE orders SET id = id + 100", 1),
        ("DELETE FROM orders WHERE id = 102; DELETE FROM lines WHERE part = 2", 2),
        (
            "BEGIN; UPDATE lines SET part = 3; SAVEPOINT a; DELETE FROM lines; ROLLBACK TO a; INSERT INTO orders VALUES (5); COMMIT",
            1,
        ),
        (
            "BEGIN; DELETE FROM orders; ROLLBACK; INSERT INTO other VALUES (1); INSERT INTO lines VALUES (2, 2, 'c')",
            1,
        ),
        ("UPDATE orders SET id = 6 WHERE id = 5; INSERT INTO orders VALUES (5)", 2),
        ("BEGIN; TRUNCATE orders, other, lines; INSERT INTO lines VALUES (1, 1, 'new'); COMMIT", 1),
        ("BEGIN; INSERT INTO orders VALUES (1); TRUNCATE orders; COMMIT", 1),
    ] {
        server.psql(script);
        follower.transactions(&mut *feed, transactions);
        follower.assert_same(&source);
    }
    follower.catch_up(&mut *feed, &server).unwrap();
    follower.assert_same(&source);
}

#[test]
fn a_transaction_is_whole_across_tables_and_says_when_it_was() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let mut follower = Follower::copy(&source, follow()).unwrap();
    let mut feed = follower.feed(&source);
    let before = SystemTime::now();
    server.psql("BEGIN; INSERT INTO orders VALUES (1); INSERT INTO lines VALUES (1, 1, 'a'), (1, 2, 'b'); UPDATE orders SET item = 'x'; UPDATE orders SET id = 2; COMMIT");
    let mut seen = Vec::new();
    loop {
        match follower.step(&mut *feed, &patient()).unwrap() {
            FeedEvent::Rows(changes) => seen.push((changes.relation(), changes.operations().to_vec())),
            FeedEvent::Committed { at, .. } => {
                assert!(before <= at && at <= SystemTime::now());
                break;
            }
            _ => {}
        }
    }
    use RowOperation::{Before, Insert, Update};
    let expected = [(0, vec![Insert]), (1, vec![Insert, Insert]), (0, vec![Update, Before, Update])];
    assert_eq!(seen, expected);
}

#[test]
fn a_copy_and_its_changes_have_no_gap_and_no_overlap() {
    let Some(server) = shop() else { return };
    server.psql("INSERT INTO orders SELECT n, 'first' FROM generate_series(1, 20000) n");
    let source = server.source();
    // A writer beside, from before the copy until after it.
    let script = "DO $$ BEGIN FOR n IN 1..3000 LOOP INSERT INTO orders VALUES (100000 + n, 'beside'); \
        UPDATE orders SET total = n WHERE id = n; DELETE FROM orders WHERE id = 20000 - n; COMMIT; END LOOP; END $$";
    let mut writer = server.psql_beside(script);
    server.wait_for("SELECT count(*) > 100 FROM orders WHERE id > 100000", "t");
    let mut follower = Follower::copy(&source, follow()).unwrap();
    let mut feed = follower.feed(&source);
    assert!(writer.wait().unwrap().success());
    follower.catch_up(&mut *feed, &server).unwrap();
    follower.assert_same(&source);
    assert!(follower.replica.transactions() < 3001, "some came with the copy");
}

#[test]
fn a_feed_waits_as_long_as_the_call_allows() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let mut follower = Follower::copy(&source, follow()).unwrap();
    let mut feed = follower.feed(&source);
    let waited = std::iter::from_fn(|| Some(feed.next(&Call::within(Duration::from_millis(50)))));
    let ended = waited.into_iter().find_map(Result::err).unwrap();
    assert_eq!(ended.code(), ErrorCode::Timeout);
    let call = Call::new();
    call.cancel();
    assert_eq!(feed.next(&call).unwrap_err().code(), ErrorCode::Cancelled);
    // Nothing was lost by that.
    server.psql("INSERT INTO orders VALUES (1, 'late')");
    follower.transactions(&mut *feed, 1);
    follower.assert_same(&source);
}

#[test]
fn a_large_transaction_comes_in_small_batches() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let mut follower = Follower::copy(&source, follow()).unwrap();
    let mut feed = follower.feed(&source);
    server.psql("INSERT INTO orders SELECT n, repeat('x', 600) FROM generate_series(1, 30000) n");
    let mut rows = 0;
    loop {
        match follower.step(&mut *feed, &patient()).unwrap() {
            FeedEvent::Rows(changes) => {
                let batch = changes.rows();
                assert!(batch.num_rows() <= 8192 && batch.get_array_memory_size() < 16 << 20);
                rows += batch.num_rows();
            }
            FeedEvent::Committed { .. } => break,
            _ => assert_eq!(rows, 0, "nothing else comes inside of a transaction"),
        }
    }
    assert_eq!(rows, 30_000);
    follower.assert_same(&source);
}

#[test]
fn a_whole_row_as_identity_and_an_index() {
    let Some(server) = server_with(&[]) else { return };
    server.psql(
        "CREATE TABLE orders (id int NOT NULL, item text); ALTER TABLE orders REPLICA IDENTITY FULL; \
         CREATE TABLE lines (id int, part int NOT NULL, word text NOT NULL, UNIQUE (word, part)); \
         ALTER TABLE lines REPLICA IDENTITY USING INDEX lines_word_part_key; \
         INSERT INTO orders VALUES (1, 'a'), (2, NULL); INSERT INTO lines VALUES (1, 1, 'a'), (2, 1, 'b');",
    );
    let source = server.source();
    let mut follower = Follower::copy(&source, follow()).unwrap();
    assert_eq!(follower.columns[0].identity(), ["id", "item"]);
    assert_eq!(follower.columns[1].identity(), ["part", "word"]);
    let mut feed = follower.feed(&source);
    for script in [
        "UPDATE orders SET item = 'b'",
        "UPDATE orders SET id = id + 1 WHERE id = 2",
        "DELETE FROM orders WHERE id = 1",
        "UPDATE lines SET id = NULL",
        "UPDATE lines SET word = 'c' WHERE word = 'a'",
        "DELETE FROM lines WHERE word = 'b'",
    ] {
        server.psql(script);
        follower.transactions(&mut *feed, 1);
        follower.assert_same(&source);
    }
}

#[test]
fn values_of_every_type_are_followed() {
    let Some(server) = server_with(&[]) else { return };
    server.psql(
        "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN grade AS numeric(4,1); \
         CREATE TABLE orders (id int PRIMARY KEY, b boolean, i2 smallint, i8 bigint, o oid, f4 real, f8 double precision, \
         n numeric(12,3), big numeric(60,2), t text, v varchar, c char(4), j json, jb jsonb, u uuid, y bytea, d date, tm time, ts timestamp, \
         tz timestamptz, iv interval, m mood, g grade, ia int[], ta text[], ma mood[], gone inet); \
         CREATE TABLE lines (id int, part int, PRIMARY KEY (id, part));",
    );
    let source = server.source();
    let orders = Relation::table("orders").leave_out(["gone"]).as_text(["m", "t", "j"]);
    let follow = Follow::new("pillion_shop", [orders, Relation::table("lines")]);
    let mut follower = Follower::copy(&source, follow).unwrap();
    let mut feed = follower.feed(&source);
    server.psql(
        "INSERT INTO orders VALUES (1, true, -2, 9223372036854775807, 4000000000, 1.5, 'NaN', -123456789.125, 12345678901234567890.01, \
         '\u{1f58b}', '', 'ab', '{\"a\": 1}', '{\"a\": [1, null]}', '00112233-4455-6677-8899-aabbccddeeff', '\\x00ff', '4713-01-01 BC', '23:59:59.999999', \
         '0001-01-01', '2262-04-12', '1 year 2 days 3.5 s', 'happy', 99.9, '{1,NULL,3}', '{a,\"b c\",NULL}', '{sad,happy}', '10.0.0.1'); \
         INSERT INTO orders (id) VALUES (2); UPDATE orders SET i8 = 0, gone = '::1' WHERE id = 1;",
    );
    follower.transactions(&mut *feed, 3);
    follower.assert_same(&source);
    // A value that nothing can hold takes its table out, with the name of its column; the other one goes on.
    server.psql("INSERT INTO orders (id, tz) VALUES (3, 'infinity')");
    let why = loop {
        if let FeedEvent::Reshaped { relation: 0, why } = follower.step(&mut *feed, &patient()).unwrap() {
            break why;
        }
    };
    assert!(why.contains("column `tz` of table \"public\".\"orders\" holds an infinity"), "{why}");
    server.psql("INSERT INTO orders (id) VALUES (4); INSERT INTO lines VALUES (7, 7)");
    while !follower.replica.has(1, &["7", "7"]) {
        follower.step(&mut *feed, &patient()).unwrap();
    }
    assert!(!follower.replica.has(0, &["4"]));
}
