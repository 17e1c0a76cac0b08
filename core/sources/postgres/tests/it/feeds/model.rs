//! Random transactions of several writers, while the connection is cut and the server crashes at random: a follower has every change
//! once, and whole transactions only.
//!
//! `PILLION_FEED_ROUNDS` says how many rounds, and `PILLION_TEST_SEED` repeats the random choices.

use super::*;
use crate::support::proxy::{Fate, Proxy};
use crate::support::random::Random;

/// Random statements of one transaction. Each writer has keys of its own; so none waits for another.
pub(super) fn transaction(random: &mut Random, writer: u64) -> String {
    let mut script = "BEGIN;".to_owned();
    let id = |random: &mut Random| writer * 1000 + random.below(30);
    for _ in 0..=random.below(6) {
        let (a, b) = (id(random), id(random));
        script += &match random.below(12) {
            0..=2 => {
                format!("INSERT INTO orders VALUES ({a}, 'w{b}', {b}, NULL, now()) ON CONFLICT DO NOTHING;")
            }
            3 => format!(
                "INSERT INTO orders VALUES ({a}, 'large', 1, repeat('n{b}', 3000)) ON CONFLICT (id) DO UPDATE SET note = EXCLUDED.note;"
            ),
            4 => format!("UPDATE orders SET total = {b} WHERE id = {a};"), // a large note is not sent
            5 => format!(
                "UPDATE orders SET id = {b}, item = 'moved' WHERE id = {a} AND NOT EXISTS (SELECT FROM orders WHERE id = {b});"
            ),
            6 => format!("DELETE FROM orders WHERE id = {a};"),
            7 => format!(
                "INSERT INTO lines SELECT {a}, n, 'p{b}' FROM generate_series(1, 5) n ON CONFLICT DO NOTHING;"
            ),
            8 => format!(
                "UPDATE lines SET part = part + 10, word = 'q{b}' WHERE id = {a} AND NOT EXISTS (SELECT FROM lines WHERE id = {a} AND part > 10);"
            ),
            9 => format!("DELETE FROM lines WHERE id = {a} AND part > {};", random.below(20)),
            10 => format!(
                "SAVEPOINT s; DELETE FROM lines WHERE id = {a}; UPDATE orders SET item = NULL WHERE id = {b}; ROLLBACK TO s;"
            ),
            _ => format!("SAVEPOINT s; INSERT INTO other VALUES ({b}) ON CONFLICT DO NOTHING; RELEASE s;"),
        };
    }
    let book = 100 + writer;
    // The books balance in every committed transaction, and only there.
    script += &format!(
        "UPDATE orders SET total = total + 1 WHERE id = -{book}; UPDATE lines SET part = part - 1 WHERE id = -{book};"
    );
    script + if random.below(8) == 0 { "ROLLBACK;" } else { "COMMIT;" }
}

/// What two tables hold together: it changes in the middle of a transaction only.
fn balance(replica: &Replica) -> i64 {
    let number =
        |line: &String, column: usize| -> f64 { line.split('|').nth(column).unwrap().parse().unwrap() };
    let is_book = |line: &&String| line.starts_with('-');
    let orders: f64 = replica.lines(0).iter().filter(is_book).map(|line| number(line, 2)).sum();
    let lines: f64 = replica.lines(1).iter().filter(is_book).map(|line| number(line, 1)).sum();
    (orders + lines) as i64
}

#[test]
fn a_follower_has_every_change_once_whatever_is_cut() {
    let rounds = std::env::var("PILLION_FEED_ROUNDS").map_or(12, |rounds| rounds.parse().unwrap());
    let mut random = Random::new(20_130_101);
    let Some(mut server) = shop() else { return };
    server.psql("INSERT INTO orders SELECT -n, 'book', 0 FROM generate_series(101, 103) n; INSERT INTO lines SELECT -n, 0, 'book' FROM generate_series(101, 103) n");
    let direct = server.source();
    let mut follower = Follower::copy(&direct, follow()).unwrap();
    let (mut cuts, mut checks, mut crashes) = (0, 0, 0);
    for round in 0..rounds {
        let writers = writers(&server, &mut random, 20);
        // Connections that end at random, until the writers are done.
        let crash = (random.below(3) == 0).then(|| random.below(3));
        for connection in 0..3 {
            let proxy = Proxy::start(server.port(), Fate::CutAfter(2_000 + random.below(40_000)));
            let source = Postgres::from_url(&server.url_at(proxy.port(), "sslmode=disable")).unwrap();
            if let Ok(Changes::Feed(mut feed)) = follower.changes(&source) {
                // Keepalives use the rest of the proxy's bytes only slowly, so it does not wait for that.
                for _ in 0..40 + random.below(100) {
                    let Ok(_) =
                        follower.step(&mut *feed, &Call::within(std::time::Duration::from_millis(200)))
                    else {
                        break;
                    };
                    assert_eq!(balance(&follower.replica), 0, "round {round}: half a transaction is visible");
                    checks += 1;
                    if random.below(4) == 0 {
                        feed.acknowledge(&follower.position).unwrap();
                    }
                }
                cuts += 1;
                if crash == Some(connection) {
                    server.crash();
                    crashes += 1;
                }
            }
            follower.replica.roll_back();
            drop(proxy);
            server.wait_for("SELECT active FROM pg_replication_slots", "f");
        }
        for mut writer in writers {
            // A crash of the server ends its writers in the middle.
            assert!(writer.wait().unwrap().success() || crash.is_some());
        }
        let mut feed = follower.feed(&direct);
        follower.catch_up(&mut *feed, &server).unwrap();
        follower.assert_same(&direct);
        drop(feed);
        server.wait_for("SELECT active FROM pg_replication_slots", "f");
    }
    println!(
        "{rounds} rounds, {cuts} connections cut, {crashes} crashes of the server, {checks} positions checked, {} transactions",
        follower.replica.transactions()
    );
    assert!(cuts >= rounds && checks > 10 * rounds);
}

#[test]
fn a_follower_that_skips_key_changes_is_found_out() {
    let Some(server) = shop() else { return };
    let source = server.source();
    for is_planted in [false, true] {
        server.psql("TRUNCATE orders; INSERT INTO orders VALUES (1)");
        let mut follower = Follower::copy(&source, follow()).unwrap();
        if is_planted {
            follower.replica.skip_key_changes();
        }
        let mut feed = follower.feed(&source);
        server.psql("UPDATE orders SET id = 2");
        let following = std::panic::AssertUnwindSafe(|| follower.transactions(&mut *feed, 1));
        assert_eq!(std::panic::catch_unwind(following).is_err(), is_planted);
        drop(feed);
        server.wait_for("SELECT active FROM pg_replication_slots", "f");
    }
}
