//! What cannot be followed is refused at the start, with its name.

use pillion::ErrorCode;
use pillion::source::Call;

use super::*;

fn refusal(source: &Postgres, follow: &Follow) -> pillion::Error {
    source.snapshot(follow, &patient()).unwrap_err()
}

#[test]
fn relations_that_cannot_be_followed_are_named() {
    let Some(server) = shop() else { return };
    server.psql(
        "CREATE VIEW shown AS SELECT * FROM orders; CREATE TABLE keyless (id int); CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY); \
         CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parts DEFAULT; \
         CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent); \
         CREATE TABLE computed (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED); \
         CREATE TABLE loose (id int PRIMARY KEY, n numeric, ip inet); \
         CREATE TABLE late (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);",
    );
    let source = server.source();
    for (relation, code, why) in [
        (Relation::statement("SELECT 1 AS id"), ErrorCode::Unsupported, "a statement cannot be followed"),
        (Relation::table("shown"), ErrorCode::Unsupported, "is not a table"),
        (Relation::table("keyless"), ErrorCode::Unsupported, "REPLICA IDENTITY"),
        // The server checks its key at the end of a transaction only, and would refuse to change its rows.
        (Relation::table("late"), ErrorCode::Unsupported, "REPLICA IDENTITY"),
        (Relation::table("unlogged"), ErrorCode::Unsupported, "is not logged"),
        (Relation::table("parts"), ErrorCode::Unsupported, "follow its partitions"),
        (Relation::table("parent"), ErrorCode::Unsupported, "has children"),
        (Relation::table("nothing"), ErrorCode::SourceNotFound, "there is no table `nothing`"),
        (
            Relation::table("computed"),
            ErrorCode::UnsupportedType,
            "column `twice` of `computed` is generated",
        ),
        (Relation::table("loose"), ErrorCode::UnsupportedType, "column `n`"),
        (
            Relation::table("loose").leave_out(["ip"]).as_text(["n"]),
            ErrorCode::UnsupportedType,
            "not be followed as text",
        ),
        (Relation::table("orders").leave_out(["nothing"]), ErrorCode::ColumnNotFound, "`nothing`"),
        (Relation::table("orders").option("x", "y"), ErrorCode::InvalidArgument, "`x`"),
        (Relation::table("lines"), ErrorCode::InvalidArgument, "to be followed twice"),
    ] {
        let error = refusal(&source, &Follow::new("s", [Relation::table("lines"), relation.clone()]));
        assert_eq!(error.code(), code, "{relation:?}: {error}");
        assert!(error.message().contains(why), "{relation:?}: {error}");
    }
    for follow in [Follow::new("Not a slot", [Relation::table("orders")]), Follow::new("s", [])] {
        assert_eq!(refusal(&source, &follow).code(), ErrorCode::InvalidArgument, "{follow:?}");
    }
    // A partition and what is left of a table can be followed.
    let follow =
        Follow::new("s", [Relation::table("part"), Relation::table("computed").leave_out(["twice"])]);
    let mut follower = Follower::copy(&source, follow).unwrap();
    let mut feed = follower.feed(&source);
    server.psql("INSERT INTO parts VALUES (1); INSERT INTO computed VALUES (2)");
    follower.transactions(&mut *feed, 2);
    follower.assert_same(&source);
    // Nothing was made for what was refused.
    assert_eq!(server.psql("SELECT count(*) FROM pg_replication_slots"), "1");
}

#[test]
fn a_given_publication_must_have_everything() {
    let Some(server) = shop() else { return };
    server.psql(
        "CREATE ROLE reader LOGIN REPLICATION PASSWORD 'known'; GRANT SELECT ON orders, lines TO reader; \
         CREATE PUBLICATION partly FOR TABLE orders; CREATE PUBLICATION inserts FOR TABLE orders, lines WITH (publish = 'insert'); \
         CREATE PUBLICATION rich FOR TABLE orders WHERE (total > 5), lines; CREATE PUBLICATION narrow FOR TABLE orders (id), lines; \
         CREATE PUBLICATION \"Every One's\" FOR ALL TABLES;",
    );
    let url = format!("postgresql://reader:known@127.0.0.1:{}/postgres", server.port());
    let reader = Postgres::from_url(&url).unwrap();
    for (publication, code, why) in [
        ("nobody's", ErrorCode::SourceNotFound, "there is no publication `nobody's`"),
        ("partly", ErrorCode::InvalidArgument, "lacks \"public\".\"lines\""),
        ("inserts", ErrorCode::InvalidArgument, "lacks a kind of change"),
        ("rich", ErrorCode::InvalidArgument, "has only rows of \"public\".\"orders\" with (total > "),
        ("narrow", ErrorCode::InvalidArgument, "lacks column `item`"),
        ("", ErrorCode::InvalidArgument, "cannot be the name of a publication"),
    ] {
        let error = refusal(&reader, &follow().publication(publication));
        assert_eq!(error.code(), code, "{publication}: {error}");
        assert!(error.message().contains(why), "{publication}: {error}");
    }
    // Whoever owns no table makes no publication.
    let error = refusal(&reader, &follow());
    assert!(
        error.message().contains("cannot be made") && error.message().contains("its name is given"),
        "{error}"
    );
    let given = follow().publication("Every One's");
    let mut follower = Follower::copy(&reader, given.clone()).unwrap();
    let mut feed = follower.feed(&reader);
    server.psql("INSERT INTO orders VALUES (1, 'seen')");
    follower.transactions(&mut *feed, 1);
    follower.assert_same(&reader);
    drop(feed);
    server.wait_for("SELECT active FROM pg_replication_slots", "f");
    reader.forget(&given, &patient()).unwrap();
    assert_eq!(server.psql("SELECT count(*) FROM pg_publication"), "5", "a given one stays");
    let error = Postgres::from_url(&url).unwrap().snapshot(&given, &Call::within(std::time::Duration::ZERO));
    assert_eq!(error.unwrap_err().code(), ErrorCode::Timeout);
}
