//! Feeds that end, and what the server keeps for them.

use std::time::Duration;

use pillion::ErrorCode;
use pillion::source::FeedEvent;

use super::*;
use crate::support::proxy::{Fate, Proxy};

const SLOTS: &str = "SELECT count(*) FROM pg_replication_slots";
const INACTIVE: &str = "SELECT active FROM pg_replication_slots";

#[test]
fn a_lost_slot_is_said_and_a_new_copy_replaces_it() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let follower = Follower::copy(&source, follow()).unwrap();
    server.psql("SELECT pg_drop_replication_slot('pillion_shop'); INSERT INTO orders VALUES (1)");
    let Changes::Lost(why) = follower.changes(&source).unwrap() else {
        panic!("a slot that is gone goes on")
    };
    assert!(why.contains("is gone"), "{why}");
    let mut follower = Follower::copy(&source, follow()).unwrap();
    let mut feed = follower.feed(&source);
    server.psql("INSERT INTO orders VALUES (2)");
    follower.transactions(&mut *feed, 1);
    follower.assert_same(&source);
    // While somebody follows, nobody else takes the slot, and it is not dropped.
    assert_eq!(follower.changes(&source).unwrap_err().code(), ErrorCode::SourceUnavailable);
    assert_eq!(source.snapshot(&follow(), &patient()).unwrap_err().code(), ErrorCode::SourceUnavailable);
    assert_eq!(source.forget(&follow(), &patient()).unwrap_err().code(), ErrorCode::SourceUnavailable);
    drop(feed);
    server.wait_for(INACTIVE, "f");
    source.forget(&follow(), &patient()).unwrap();
    source.forget(&follow(), &patient()).unwrap();
    assert_eq!(server.psql(&format!("{SLOTS}; SELECT count(*) FROM pg_publication")), "0\n0");
    server.wait_until_left_alone();
}

#[test]
fn a_dropped_snapshot_leaves_no_session() {
    let Some(server) = shop() else { return };
    drop(server.source().snapshot(&follow(), &patient()).unwrap());
    server.wait_until_left_alone();
}

#[test]
fn an_idle_feed_lets_the_server_forget_its_log() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let mut follower = Follower::copy(&source, follow()).unwrap();
    let mut feed = follower.feed(&source);
    server.psql("INSERT INTO other SELECT generate_series(1, 1000)");
    let written = server.psql("SELECT pg_current_wal_lsn()");
    let confirmed = format!("SELECT confirmed_flush_lsn >= '{written}' FROM pg_replication_slots");
    while server.psql(&confirmed) != "t" {
        match follower.step(&mut *feed, &Call::within(Duration::from_millis(100))) {
            Ok(event) => assert!(matches!(event, FeedEvent::Idle { .. }), "{event:?}"),
            Err(error) => assert_eq!(error.code(), ErrorCode::Timeout),
        }
        feed.acknowledge(&follower.position).unwrap();
    }
    let error = feed.acknowledge(b"something else").unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    let mut beyond = follower.position.clone();
    beyond[14] += 1;
    assert_eq!(feed.acknowledge(&beyond).unwrap_err().code(), ErrorCode::InvalidArgument);
}

#[test]
fn a_feed_that_is_cut_off_goes_on_where_it_was() {
    let Some(server) = shop() else { return };
    let direct = server.source();
    let mut follower = Follower::copy(&direct, follow()).unwrap();
    server.psql("INSERT INTO orders SELECT n, repeat('x', 50) FROM generate_series(1, 1000) n; UPDATE orders SET total = id; DELETE FROM orders WHERE id > 900;");
    let mut cuts = 0;
    for limit in [2_000, 20_000, 60_000, u64::MAX] {
        let proxy = Proxy::start(server.port(), Fate::CutAfter(limit));
        let source = Postgres::from_url(&server.url_at(proxy.port(), "sslmode=disable")).unwrap();
        let Ok(Changes::Feed(mut feed)) = follower.changes(&source) else {
            server.wait_for(INACTIVE, "f");
            continue;
        };
        if limit == u64::MAX {
            follower.catch_up(&mut *feed, &server).unwrap();
            follower.assert_same(&direct);
        } else {
            let error = loop {
                if let Err(error) = follower.step(&mut *feed, &patient()) {
                    break error;
                }
            };
            assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
            cuts += 1;
            follower.replica.roll_back();
        }
        drop((feed, proxy));
        server.wait_for(INACTIVE, "f");
    }
    assert!(cuts > 1, "{cuts} cuts in the middle of changes");
}

#[test]
fn changes_that_were_acknowledged_too_early_are_missed_loudly() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let mut follower = Follower::copy(&source, follow()).unwrap();
    let before = follower.position.clone();
    let mut feed = follower.feed(&source);
    server.psql("INSERT INTO orders VALUES (1)");
    follower.transactions(&mut *feed, 1);
    feed.acknowledge(&follower.position).unwrap();
    let told =
        format!("SELECT confirmed_flush_lsn = '{}' FROM pg_replication_slots", shown(&follower.position));
    server.wait_for(&told, "t");
    drop(feed);
    server.wait_for(INACTIVE, "f");
    // As if a crash had lost what was acknowledged.
    follower.position = before;
    let Changes::Lost(why) = follower.changes(&source).unwrap() else { panic!("a gap is not noticed") };
    assert!(why.contains("changes in between were acknowledged"), "{why}");
}

/// The place in the log that a position names.
fn shown(position: &[u8]) -> String {
    let lsn = position[9..17].iter().rev().fold(0_u64, |lsn, byte| lsn << 8 | u64::from(*byte));
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff)
}
