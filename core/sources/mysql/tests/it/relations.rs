//! What can be named, and which of its rows are fetched.

use pillion::ErrorCode;
use pillion::source::{After, Fetch, Relation, Source};
use pillion_mysql::MySql;

use crate::support::rows::{all, lines, patient, sorted, statement, table};
use crate::support::server::{SECRET_IN_URL, Server};

const SHOP: &str = r"
    CREATE DATABASE other; CREATE DATABASE `Odd Database`;
    CREATE TABLE orders (id int PRIMARY KEY, item varchar(20) NOT NULL, price decimal(8,2));
    INSERT INTO orders VALUES (1, 'pen', 1.20), (2, 'ink', 3.40), (3, 'cap', NULL);
    CREATE TABLE other.orders (id int); INSERT INTO other.orders VALUES (9);
    CREATE TABLE `Odd Database`.`Order ``Lines``.x` (`Key Word` int NOT NULL, `select` text);
    INSERT INTO `Odd Database`.`Order ``Lines``.x` VALUES (5, 'from');
    CREATE VIEW cheap AS SELECT id, item FROM orders WHERE price < 2;
    CREATE TABLE events (at date NOT NULL, what text) PARTITION BY RANGE (YEAR(at))
        (PARTITION a VALUES LESS THAN (2024), PARTITION b VALUES LESS THAN (2025));
    INSERT INTO events VALUES ('2023-05-01', 'a'), ('2024-05-01', 'b');
    CREATE TABLE old (id int NOT NULL) ENGINE=MyISAM; INSERT INTO old VALUES (1), (2);
    CREATE TABLE history (id int NOT NULL) WITH SYSTEM VERSIONING; INSERT INTO history VALUES (1); UPDATE history SET id = 2;
    CREATE TABLE hidden (id int, secret int INVISIBLE); INSERT INTO hidden (id, secret) VALUES (1, 2);
    CREATE TABLE empty (id int, words text);
";

fn shop() -> Option<Server> {
    let server = Server::start()?;
    server.sql(SHOP);
    Some(server)
}

fn without_database(server: &Server) -> MySql {
    let url = format!("mariadb://reader:{SECRET_IN_URL}@127.0.0.1:{}?ssl-mode=disable", server.port());
    MySql::from_url(&url).unwrap()
}

#[test]
fn everything_with_rows_has_a_name() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let rows = |name: &str| sorted(&all(&source, &table(name)).unwrap());
    assert_eq!(rows("shop.orders"), ["1|pen|1.20", "2|ink|3.40", "3|cap|null"]);
    assert_eq!(rows("orders"), rows(" shop . `orders`"));
    assert_eq!(rows("other.orders"), ["9"]);
    assert_eq!(rows("`Odd Database`.`Order ``Lines``.x`"), ["5|from"]);
    assert_eq!(rows("cheap"), ["1|pen"]);
    assert_eq!(rows("events"), ["2023-05-01|a", "2024-05-01|b"]);
    assert_eq!(rows("old"), ["1", "2"]);
    assert_eq!(rows("history"), ["2"]);
    assert_eq!(rows("hidden"), ["1"]);
    assert_eq!(lines(&all(&source, &statement("SELECT secret FROM hidden")).unwrap()), ["2"]);

    let names = source.relations(&patient()).unwrap();
    let here = ["cheap", "empty", "events", "hidden", "history", "old", "orders"];
    assert_eq!(names, here.map(|name| format!("shop.{name}")));
    let everywhere = without_database(&server);
    let all_names = everywhere.relations(&patient()).unwrap();
    assert_eq!(all_names.len(), names.len() + 2);
    for name in &all_names {
        assert!(everywhere.describe(&Relation::table(name), &patient()).is_ok(), "{name}");
    }
    assert!(all_names.contains(&"`Odd Database`.`Order ``Lines``.x`".to_owned()), "{all_names:?}");
}

#[test]
fn nothing_is_fetched_of_nothing() {
    let Some(server) = shop() else { return };
    let source = server.source();
    assert_eq!(source.fetch(&table("empty"), &patient()).unwrap().count(), 0);
    let none = all(&source, &table("orders").columns::<&str>([])).unwrap();
    assert_eq!((none.num_columns(), none.num_rows()), (0, 3));
    server.wait_until_left_alone();
}

#[test]
fn a_column_is_not_nullable_if_the_table_says_so() {
    let Some(server) = shop() else { return };
    let source = server.source();
    for (name, nullable) in
        [("orders", "nny"), ("events", "ny"), ("old", "n"), ("history", "n"), ("cheap", "yy")]
    {
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
    server.sql("ANALYZE TABLE orders, events;");
    let rows = |name| source.describe(&Relation::table(name), &patient()).unwrap().expected_rows();
    assert_eq!((rows("orders"), rows("old"), rows("cheap")), (Some(3), Some(2), None));
    let described = source.describe(&Relation::table("orders"), &patient()).unwrap();
    assert!(described.expected_bytes().unwrap() >= 4096 && described.change_mark().is_none());
}

#[test]
fn what_is_missing_is_named_with_the_nearest() {
    let Some(server) = shop() else { return };
    let source = server.source();
    for (name, code, why) in [
        ("shop.ordrs", ErrorCode::SourceNotFound, "did you mean `shop.orders`?"),
        ("ordrs", ErrorCode::SourceNotFound, "did you mean `orders`?"),
        ("nowhere.orders", ErrorCode::SourceNotFound, "there is no table `nowhere.orders`"),
        ("Orders", ErrorCode::SourceNotFound, "did you mean `orders`?"),
        ("", ErrorCode::InvalidArgument, "invalid name"),
        ("a b", ErrorCode::InvalidArgument, "invalid name"),
        ("orders; DROP TABLE orders", ErrorCode::InvalidArgument, "invalid name"),
        ("a\0b", ErrorCode::InvalidArgument, "zero byte"),
    ] {
        let error = source.describe(&Relation::table(name), &patient()).unwrap_err();
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(error.message().contains(why), "{error}");
    }
    let error = without_database(&server).describe(&Relation::table("orders"), &patient()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
    assert!(error.message().contains("No database selected"), "{error}");
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
    assert_eq!(all(&source, &table("orders").parts(["a"])).unwrap_err().code(), ErrorCode::Unsupported);
    // A table that goes away between two fetches.
    assert_eq!(all(&source, &table("empty")).unwrap().num_rows(), 0);
    server.sql("DROP TABLE empty; CREATE VIEW broken AS SELECT * FROM orders; RENAME TABLE orders TO moved;");
    let error = all(&source, &table("empty")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceNotFound, "{error}");
    let error = all(&source, &table("broken")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceInvalid, "{error}");
}

#[test]
fn only_wanted_columns_and_rows_are_fetched() {
    let Some(server) = shop() else { return };
    let source = server.source();
    let fetch = table("orders").columns(["price", "id"]).condition("item LIKE 'p%' OR id = 2 -- cheap ones");
    assert_eq!(sorted(&all(&source, &fetch).unwrap()), ["1.20|1", "3.40|2"]);
    // A condition binds tighter than what stands beside it.
    let after = After { column: "id".into(), value: 2.into() };
    let fetch = table("orders").condition("id = 1 OR id = 2 # both").after(after).columns(["id"]);
    assert_eq!(lines(&all(&source, &fetch).unwrap()), ["2"]);
    let odd = table("`Odd Database`.`Order ``Lines``.x`").condition("`select` = 'from'");
    assert_eq!(lines(&all(&source, &odd.columns(["select"])).unwrap()), ["from"]);
    let text = table("orders").condition("item <> ':pen' AND item = \"pen\" /* :ink */ AND (@x := 1)");
    assert_eq!(lines(&all(&source, &text.columns(["id"])).unwrap()), ["1"]);
    for condition in [
        "price >",
        "pric > 1",
        "true) OR (true",
        "true) INTO OUTFILE '/tmp/x' --",
        "id = ?",
        "id = :id",
        "item = -':pen'",
        "count(*) > 1",
        "true; DROP TABLE orders",
        "(true",
        "/* ",
        "1 THEN 1 END FROM orders /*",
        "1 THEN 1 WHEN 1",
        "'",
        "id = 1\0",
        "",
    ] {
        let error = all(&source, &table("orders").condition(condition)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{condition}: {error}");
        assert!(error.message().contains("condition") || condition.contains("/*"), "{error}");
    }
    // One that fails on a row is a failure of the rows.
    let error = all(&source, &table("orders").condition("exp(id * 300) > 0")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceInvalid, "{error}");
    assert!(error.message().contains("out of range"), "{error}");
    assert_eq!(server.sql("SELECT count(*) FROM orders"), "3");
}

#[test]
fn a_statement_is_a_query_and_nothing_else() {
    let Some(server) = shop() else { return };
    let source = server.source();
    for (text, rows) in [
        (
            "SELECT item, sum(price) FROM orders GROUP BY item ORDER BY item LIMIT 10;\n",
            vec!["cap|null", "ink|3.40", "pen|1.20"],
        ),
        ("VALUES (1, 'a'), (2, 'b')", vec!["1|a", "2|b"]),
        ("SELECT * FROM other.orders -- all of it", vec!["9"]),
        ("WITH o AS (SELECT 1 AS one) SELECT * FROM o", vec!["1"]),
        ("SELECT 1 AS a UNION ALL SELECT 2", vec!["1", "2"]),
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
        "INSERT INTO orders VALUES (4, 'x', 1) RETURNING id",
        "SELECT 1 AS a, 2 AS a",
        "SELECT ?",
        "SELECT 1) AS x --",
        "SELECT 1 /* ",
        "SET time_zone = '+00:00'",
        "SHOW TABLES",
        "CALL nothing()",
        "DO 1",
        "SELECT 'a\0'",
        "SELECT 5 -':abc' AS a",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "SELECT 1 INTO @x",
    ] {
        let described = source.describe(&Relation::statement(text), &patient()).unwrap_err();
        assert_eq!(described.code(), ErrorCode::InvalidArgument, "{text}: {described}");
        assert_eq!(all(&source, &statement(text)).unwrap_err().code(), ErrorCode::InvalidArgument, "{text}");
    }
    let error = all(&source, &statement("SELECT * FROM missing")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceNotFound);
    assert_eq!(server.sql("SELECT count(*) FROM orders"), "3");
}

/// Functions are not stopped from writing by their text. The user of the tests may write.
#[test]
fn nothing_is_written() {
    let Some(server) = shop() else { return };
    server.sql(
        "CREATE FUNCTION sneak() RETURNS int MODIFIES SQL DATA BEGIN INSERT INTO shop.orders VALUES (77, 'x', 1); RETURN 1; END //"
            .replace("CREATE", "DELIMITER //\nCREATE")
            .as_str(),
    );
    let error = all(&server.source(), &statement("SELECT sneak()")).unwrap_err();
    assert!(error.message().contains("READ ONLY transaction"), "{error}");
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert_eq!(server.sql("SELECT count(*) FROM orders"), "3");
}
