//! Tables whose columns change while they are followed.

use pillion::source::FeedEvent;

use super::*;

/// Follows until a table is reported, and says which and why.
fn reported(follower: &mut Follower, feed: &mut dyn ChangeFeed) -> (usize, String) {
    loop {
        if let FeedEvent::Reshaped { relation, why } = follower.step(feed, &patient()).unwrap() {
            return (relation, why);
        }
    }
}

#[test]
fn a_table_of_other_columns_is_reported_and_the_others_are_followed_on() {
    for (script, change, why) in [
        (
            "ALTER TABLE orders ADD added int",
            "INSERT INTO orders (id) VALUES (9)",
            "column `added` was added",
        ),
        ("ALTER TABLE orders DROP item", "INSERT INTO orders (id) VALUES (9)", "column `item` is"),
        ("ALTER TABLE orders RENAME item TO thing", "INSERT INTO orders (id) VALUES (9)", "column `item` is"),
        ("ALTER TABLE orders ALTER total TYPE numeric(12,2)", "DELETE FROM orders", "column `total`"),
        ("ALTER TABLE orders ALTER id TYPE bigint", "DELETE FROM orders", "column `id`"),
        ("ALTER TABLE orders RENAME TO old_orders", "DELETE FROM old_orders", "old_orders"),
        (
            "ALTER TABLE orders REPLICA IDENTITY FULL; ALTER TABLE orders DROP CONSTRAINT orders_pkey, ALTER id DROP NOT NULL",
            "INSERT INTO orders VALUES (NULL, '9')",
            "its replica identity is another one now",
        ),
        // The primary key is still there, and nobody would say so if it went.
        (
            "ALTER TABLE orders REPLICA IDENTITY FULL",
            "INSERT INTO orders (id) VALUES (9)",
            "its replica identity is another one now",
        ),
        (
            "ALTER TABLE orders ALTER item SET DEFAULT 'x', ALTER item SET NOT NULL; CREATE UNIQUE INDEX wider ON orders (id, item); \
             ALTER TABLE orders REPLICA IDENTITY USING INDEX wider",
            "INSERT INTO orders (id) VALUES (9)",
            "its replica identity is another one now",
        ),
    ] {
        let Some(server) = shop() else { return };
        server.psql("INSERT INTO orders VALUES (1, 'pen')");
        let source = server.source();
        let mut follower = Follower::copy(&source, follow()).unwrap();
        let mut feed = follower.feed(&source);
        server.psql(&format!("INSERT INTO orders VALUES (2, 'before'); {script}; {change};"));
        let (relation, said) = reported(&mut follower, &mut *feed);
        assert!(relation == 0 && said.contains(why), "{script}: {said}");
        assert!(follower.replica.has(0, &["2"]), "{script}: what came before is there");
        // The other table goes on, and the first one says nothing more.
        server.psql(&format!("INSERT INTO lines VALUES (5, 5, 'five'); {}", change.replace('9', "10")));
        follower.catch_up(&mut *feed, &server).unwrap();
        assert!(follower.replica.has(1, &["5", "5"]));
        assert!(!follower.replica.has(0, &["10"]) && !follower.replica.has(0, &["9"]));
        drop(feed);
        // Whoever follows again is told at once. A renamed table is gone.
        server.wait_for("SELECT active FROM pg_replication_slots", "f");
        let mut feed = follower.feed(&source);
        let (relation, said) = reported(&mut follower, &mut *feed);
        assert!(
            relation == 0
                && (said.contains(why) || said.contains("there is no table") || said.contains("column")),
            "{script}: {said}"
        );
        drop(feed);
        // A new copy has the new columns, if the table is still there.
        server.wait_for("SELECT active FROM pg_replication_slots", "f");
        if why != "old_orders" {
            let mut again = Follower::copy(&source, follow()).unwrap();
            let mut feed = again.feed(&source);
            server.psql("INSERT INTO orders (id) VALUES (20)");
            again.transactions(&mut *feed, 1);
            again.assert_same(&source);
        }
    }
}

#[test]
fn a_column_that_allows_nulls_now_is_reported() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let mut follower = Follower::copy(&source, follow()).unwrap();
    let mut feed = follower.feed(&source);
    server.psql("ALTER TABLE lines ALTER word DROP NOT NULL; INSERT INTO lines VALUES (1, 1, NULL)");
    let (relation, why) = reported(&mut follower, &mut *feed);
    assert_eq!((relation, why.as_str()), (1, "column `word` allows nulls now"));
}

#[test]
fn a_table_that_is_dropped_and_made_anew_is_reported() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let mut follower = Follower::copy(&source, follow()).unwrap();
    drop(follower.feed(&source));
    server.wait_for("SELECT active FROM pg_replication_slots", "f");
    server.psql("DROP TABLE orders; CREATE TABLE orders (id int PRIMARY KEY, item text, total numeric(10,2), note text, placed timestamptz);");
    // The new table is not the one that the copy is of.
    let mut feed = follower.feed(&source);
    let (relation, why) = reported(&mut follower, &mut *feed);
    assert_eq!((relation, why.as_str()), (0, "it was dropped and made anew"));
    drop(feed);
    server.wait_for("SELECT active FROM pg_replication_slots", "f");
    // So is a table that the publication does not have any more.
    let mut follower = Follower::copy(&source, follow()).unwrap();
    server.psql("ALTER PUBLICATION pillion_shop DROP TABLE lines");
    let mut feed = follower.feed(&source);
    let (relation, why) = reported(&mut follower, &mut *feed);
    assert!(relation == 1 && why.contains("lacks \"public\".\"lines\""), "{why}");
}

#[test]
fn columns_cannot_change_while_they_are_copied() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let snapshot = source.snapshot(&follow(), &patient()).unwrap();
    let mut psql = server.psql_beside("SET lock_timeout = '100ms'; ALTER TABLE orders ADD added int");
    assert!(!psql.wait().unwrap().success(), "the table is locked");
    server.psql("INSERT INTO orders VALUES (1)"); // not for writers
    let mut follower = Follower::of(snapshot, follow()).unwrap();
    let mut feed = follower.feed(&source);
    follower.transactions(&mut *feed, 1);
    follower.assert_same(&source);
}
