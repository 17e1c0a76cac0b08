//! What can be named, and which of its rows are fetched.

use pillion::ErrorCode;
use pillion::source::{After, Fetch, Relation, Source};

use crate::support::rows::{all, lines, patient, sorted, statement, table};
use crate::support::server::Server;

const SHOP: &str = r#"
    CREATE SCHEMA shop; CREATE SCHEMA "Odd Schema";
    CREATE TABLE public.orders (id int PRIMARY KEY, item text NOT NULL, price numeric(8,2));
    INSERT INTO public.orders VALUES (1, 'pen', 1.20), (2, 'ink', 3.40), (3, 'cap', NULL);
    CREATE TABLE shop.orders (id int); INSERT INTO shop.orders VALUES (9);
    CREATE TABLE "Odd Schema"."Order ""Lines"".x" ("Key Word" int NOT NULL, "select" text);
    INSERT INTO "Odd Schema"."Order ""Lines"".x" VALUES (5, 'from');
    CREATE VIEW cheap AS SELECT id, item FROM public.orders WHERE price < 2;
    CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS orders, sum(price)::numeric(10,2) AS sum FROM public.orders;
    CREATE MATERIALIZED VIEW unread AS SELECT 1 AS one WITH NO DATA;
    CREATE TABLE events (at date NOT NULL, what text) PARTITION BY RANGE (at);
    CREATE TABLE events_23 PARTITION OF events FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
    CREATE TABLE events_24 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    INSERT INTO events VALUES ('2023-05-01', 'a'), ('2024-05-01', 'b');
    CREATE TABLE parent (id int NOT NULL, v int); CREATE TABLE child (extra int) INHERITS (parent);
    INSERT INTO parent VALUES (1, 1); INSERT INTO child VALUES (2, 2, 2);
    CREATE TABLE empty (id int, words text[]); CREATE TABLE bare ();
    INSERT INTO bare DEFAULT VALUES; INSERT INTO bare DEFAULT VALUES;
    CREATE SEQUENCE counter;
    CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
"#;

fn shop() -> Option<Server> {
    let server = Server::start()?;
    server.psql(SHOP);
    let file = server.dir().join("lines.csv");
    std::io::Write::write_all(&mut std::fs::File::create(&file).unwrap(), b"1,one\n2,two\n").unwrap();
    server.psql(&format!(
        "CREATE FOREIGN TABLE outside (id int NOT NULL, word text) SERVER files OPTIONS (filename '{}', format 'csv'); \
         CREATE TABLE mixed (id int NOT NULL, word text) PARTITION BY RANGE (id); \
         CREATE FOREIGN TABLE mixed_1 PARTITION OF mixed FOR VALUES FROM (0) TO (10) SERVER files \
         OPTIONS (filename '{0}', format 'csv');",
        file.display()
    ));
    Some(server)
}

#[test]
fn everything_with_rows_has_a_name() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let rows = |name: &str| sorted(&all(&source, &table(name)).unwrap());
    assert_eq!(rows("public.orders"), ["1|pen|1.20", "2|ink|3.40", "3|cap|null"]);
    assert_eq!(rows("orders"), rows("Public . ORDERS"));
    assert_eq!(rows("shop.orders"), ["9"]);
    assert_eq!(rows(r#""Odd Schema"."Order ""Lines"".x""#), ["5|from"]);
    assert_eq!(rows("cheap"), ["1|pen"]);
    assert_eq!(rows("totals"), ["3|4.60"]);
    assert_eq!(rows("events"), ["2023-05-01|a", "2024-05-01|b"]);
    assert_eq!(rows("events_24"), ["2024-05-01|b"]);
    assert_eq!(rows("parent"), ["1|1", "2|2"]);
    assert_eq!(rows("outside"), ["1|one", "2|two"]);
    assert_eq!(rows("mixed"), ["1|one", "2|two"]);

    let names = source.relations(&patient()).unwrap();
    assert_eq!(
        names,
        [
            r#""Odd Schema"."Order ""Lines"".x""#,
            "public.bare",
            "public.cheap",
            "public.child",
            "public.empty",
            "public.events",
            "public.mixed",
            "public.orders",
            "public.outside",
            "public.parent",
            "public.totals",
            "public.unread",
            "shop.orders",
        ]
    );
    for name in &names {
        assert!(source.describe(&Relation::table(name), &patient()).is_ok(), "{name}");
    }
}

#[test]
fn nothing_is_fetched_of_nothing() {
    let Some(server) = shop() else { return };
    let source = server.source();
    assert_eq!(source.fetch(&table("empty"), &patient()).unwrap().count(), 0);
    let batch = all(&source, &table("bare")).unwrap();
    assert_eq!((batch.num_columns(), batch.num_rows()), (0, 2));
    let none = all(&source, &table("orders").columns::<&str>([])).unwrap();
    assert_eq!((none.num_columns(), none.num_rows()), (0, 3));
    server.wait_until_left_alone();
}

#[test]
fn a_column_is_not_nullable_if_the_table_says_so() {
    let Some(server) = shop() else { return };
    let source = server.source();
    for (name, nullable) in [
        ("orders", "nny"),
        ("events", "ny"),
        ("parent", "ny"),
        // These do not enforce what they declare.
        ("outside", "yy"),
        ("mixed", "yy"),
        ("cheap", "yy"),
    ] {
        let described = source.describe(&Relation::table(name), &patient()).unwrap();
        let found: String = described
            .schema()
            .fields()
            .iter()
            .map(|field| if field.is_nullable() { 'y' } else { 'n' })
            .collect();
        assert_eq!(found, nullable, "{name}");
    }
}

#[test]
fn a_table_has_about_so_many_rows_and_bytes() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let rows = |name| source.describe(&Relation::table(name), &patient()).unwrap().expected_rows();
    assert_eq!((rows("orders"), rows("events"), rows("cheap")), (None, None, None));
    server.psql("ANALYZE;");
    assert_eq!((rows("orders"), rows("events"), rows("cheap")), (Some(3), Some(2), None));
    let described = source.describe(&Relation::table("orders"), &patient()).unwrap();
    assert!(described.expected_bytes().unwrap() >= 8192 && described.change_mark().is_none());
}

#[test]
fn what_is_missing_is_named_with_the_nearest() {
    let Some(server) = shop() else { return };
    let source = server.source();
    for (name, code, why) in [
        ("public.ordrs", ErrorCode::SourceNotFound, "did you mean `public.orders`?"),
        ("ordrs", ErrorCode::SourceNotFound, "did you mean `orders`?"),
        ("nowhere.orders", ErrorCode::SourceNotFound, "there is no table"),
        ("counter", ErrorCode::SourceNotFound, "neither a table nor a view"),
        ("orders_pkey", ErrorCode::SourceNotFound, "neither a table nor a view"),
        ("", ErrorCode::InvalidArgument, "invalid name"),
        ("a b", ErrorCode::InvalidArgument, "invalid name"),
        ("orders; DROP TABLE orders", ErrorCode::InvalidArgument, "invalid name"),
        ("a\0b", ErrorCode::InvalidArgument, "zero byte"),
    ] {
        let error = source.describe(&Relation::table(name), &patient()).unwrap_err();
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(error.message().contains(why), "{error}");
    }
    let orders = || Relation::table("orders");
    for (relation, code, why) in [
        (orders().leave_out(["pric"]), ErrorCode::ColumnNotFound, "did you mean `price`?"),
        (orders().as_text(["itm"]), ErrorCode::ColumnNotFound, "did you mean `item`?"),
        (orders().option("delimiter", ";"), ErrorCode::InvalidArgument, "`delimiter`"),
    ] {
        let error = source.describe(&relation, &patient()).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    let error = all(&source, &Fetch::of(orders().leave_out(["price"])).columns(["price"])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ColumnNotFound);
    assert_eq!(all(&source, &table("unread")).unwrap_err().code(), ErrorCode::SourceUnavailable);
    assert_eq!(all(&source, &table("orders").parts(["a"])).unwrap_err().code(), ErrorCode::Unsupported);
    assert_eq!(server.psql("SELECT count(*) FROM public.orders"), "3");
}

#[test]
fn only_wanted_columns_and_rows_are_fetched() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let fetch = table("orders").columns(["price", "id"]).condition("item LIKE 'p%' OR id = 2 -- cheap ones");
    assert_eq!(sorted(&all(&source, &fetch).unwrap()), ["1.20|1", "3.40|2"]);
    // A condition binds tighter than what stands beside it.
    let after = After { column: "id".into(), value: 2.into() };
    let fetch = table("orders").condition("id = 1 OR id = 2").after(after).columns(["id"]);
    assert_eq!(lines(&all(&source, &fetch).unwrap()), ["2"]);
    let odd = table(r#""Odd Schema"."Order ""Lines"".x""#).condition(r#""select" = 'from'"#);
    assert_eq!(lines(&all(&source, &odd.columns(["select"])).unwrap()), ["from"]);
    for condition in [
        "price >",
        "pric > 1",
        "id",
        "true) OR (true",
        "true) TO PROGRAM 'id' --",
        "id = $1",
        "count(*) > 1",
        "id = 'x'",
        "true; DROP TABLE orders",
        "(true",
        "/* ",
        "'",
        "id = 1\0",
        "",
    ] {
        let error = all(&source, &table("orders").condition(condition)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{condition}: {error}");
        assert!(error.message().contains("condition"), "{error}");
    }
    // One that fails on a row is a failure of the rows.
    let error = all(&source, &table("orders").condition("1 / (id - 2) > 0")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceInvalid);
    assert!(error.message().contains("division by zero"), "{error}");
    assert_eq!(server.psql("SELECT count(*) FROM public.orders"), "3");
}

#[test]
fn a_statement_is_a_query_and_nothing_else() {
    let Some(server) = shop() else { return };
    let source = server.source();
    for (text, rows) in [
        (
            "SELECT item, sum(price)::numeric(9,2) FROM orders GROUP BY item ORDER BY item;\n",
            vec!["cap|null", "ink|3.40", "pen|1.20"],
        ),
        ("VALUES (1, 'a'), (2, 'b')", vec!["1|a", "2|b"]),
        ("TABLE shop.orders -- all of it", vec!["9"]),
        ("WITH o AS (SELECT 1 AS one) SELECT * FROM o", vec!["1"]),
    ] {
        assert_eq!(lines(&all(&source, &statement(text)).unwrap()), rows, "{text}");
    }
    let fetch = statement("SELECT id, price FROM orders").condition("id > 1").columns(["id"]);
    assert_eq!(sorted(&all(&source, &fetch).unwrap()), ["2", "3"]);
    for text in [
        "",
        "SELEC 1",
        "SELECT nothing",
        "SELECT 1; SELECT 2",
        "DELETE FROM orders",
        "DELETE FROM orders RETURNING id",
        "SELECT 1 AS a, 2 AS a",
        "SELECT $1::int",
        "SELECT 1) TO STDOUT --",
        "SET TimeZone = 'UTC'",
        "SELECT 'a\0'",
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
    ] {
        let described = source.describe(&Relation::statement(text), &patient()).unwrap_err();
        assert_eq!(described.code(), ErrorCode::InvalidArgument, "{text}: {described}");
        assert_eq!(all(&source, &statement(text)).unwrap_err().code(), ErrorCode::InvalidArgument, "{text}");
    }
    let error = all(&source, &statement("SELECT * FROM missing")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceNotFound);
    assert_eq!(server.psql("SELECT count(*) FROM public.orders"), "3");
}

/// Functions are not stopped from writing by their text.
#[test]
fn nothing_is_written() {
    let Some(server) = shop() else { return };
    server.psql(
        "CREATE FUNCTION sneak() RETURNS int LANGUAGE sql AS 'INSERT INTO public.orders VALUES (77, $$x$$, 1) RETURNING 1';",
    );
    let error = all(&server.source(), &statement("SELECT sneak()")).unwrap_err();
    assert!(error.message().contains("read-only transaction"), "{error}");
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert_eq!(server.psql("SELECT count(*) FROM public.orders"), "3");
}
