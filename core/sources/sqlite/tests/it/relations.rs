//! What can be named, and which of its rows are fetched.

use pillion::ErrorCode;
use pillion::source::{After, Fetch, Relation, Source};

use crate::support::database::Database;
use crate::support::rows::{all, columns, lines, patient, sorted, statement, table};

const SHOP: &str = r#"
    CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL, price DECIMAL(8,2));
    INSERT INTO orders VALUES (1, 'pen', 1.20), (2, 'ink', 3.40), (3, 'cap', NULL);
    CREATE TABLE "Order ""Lines"".x" ("Key Word" INT NOT NULL, "select" TEXT);
    INSERT INTO "Order ""Lines"".x" VALUES (5, 'from');
    CREATE VIEW cheap AS SELECT id, item FROM orders WHERE price < 2;
    CREATE VIEW totals AS SELECT count(*) AS orders, sum(price) AS total FROM orders;
    CREATE VIEW sloppy AS SELECT id, item = "pen" AS is_pen FROM orders;
    CREATE TABLE strict (id INTEGER PRIMARY KEY, t TEXT, r REAL, b BLOB, i INT) STRICT;
    INSERT INTO strict VALUES (1, 'a', 1.5, x'ff', 7);
    CREATE TABLE pairs (a TEXT, b INTEGER, c TEXT, PRIMARY KEY (b, a)) WITHOUT ROWID;
    INSERT INTO pairs VALUES ('x', 2, 'one'), ('y', 1, 'two');
    CREATE TABLE computed (n INTEGER, twice INTEGER GENERATED ALWAYS AS (n * 2) VIRTUAL,
        word TEXT AS ('w' || n) STORED);
    INSERT INTO computed VALUES (4);
    CREATE TABLE shadowed (rowid TEXT, _rowid_ INTEGER); INSERT INTO shadowed VALUES ('r', 8);
    CREATE TABLE keyed (code TEXT PRIMARY KEY, n INTEGER); INSERT INTO keyed VALUES (NULL, 1), (NULL, 2);
    CREATE TABLE backwards (id INTEGER PRIMARY KEY DESC, v TEXT); INSERT INTO backwards VALUES (NULL, 'v');
    CREATE VIRTUAL TABLE notes USING fts5(title, body);
    INSERT INTO notes VALUES ('first', 'some words'), ('second', 'other words');
    CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1); INSERT INTO boxes VALUES (1, 0.5, 2);
    CREATE TABLE empty (id INTEGER); CREATE TABLE bare (a, b); INSERT INTO bare VALUES (1, 'x'), (2, NULL);
"#;

#[test]
fn everything_with_rows_has_a_name() {
    let shop = Database::with(SHOP);
    let source = shop.source();
    let rows = |name: &str| sorted(&all(&source, &table(name)).unwrap());
    assert_eq!(rows("orders"), ["1|pen|1.20", "2|ink|3.40", "3|cap|null"]);
    for name in ["ORDERS", "main.orders", " Main . \"orders\"", "[orders]", "`orders`"] {
        assert_eq!(rows(name), rows("orders"), "{name}");
    }
    assert_eq!(rows(r#"Order "Lines".x"#), ["5|from"]);
    assert_eq!(rows(r#"main."Order ""Lines"".x""#), ["5|from"]);
    assert_eq!(rows("cheap"), ["1|pen"]);
    assert_eq!(rows("strict"), ["1|a|1.5|ff|7"]);
    assert_eq!(rows("pairs"), ["x|2|one", "y|1|two"]);
    assert_eq!(rows("computed"), ["4|8|w4"]);
    assert_eq!(rows("shadowed"), ["r|8"]);
    assert_eq!(rows("keyed"), ["null|1", "null|2"]);
    assert_eq!(rows("backwards"), ["null|v"]);
    let typed = |name: &str, types: &str| {
        let fetch = Fetch::of(Relation::table(name).option("types", types));
        sorted(&all(&source, &fetch).unwrap())
    };
    assert_eq!(typed("totals", "orders=INTEGER,total=DECIMAL(10,2)"), ["3|4.60"]);
    assert_eq!(typed("sloppy", "is_pen=BOOLEAN"), ["1|true", "2|false", "3|false"]);
    assert_eq!(typed("notes", "title=TEXT,body=TEXT"), ["first|some words", "second|other words"]);
    assert_eq!(typed("boxes", "id=INTEGER,x0=REAL,x1=REAL"), ["1|0.5|2.0"]);

    let names = source.relations(&patient()).unwrap();
    assert_eq!(
        names,
        [
            r#"Order "Lines".x"#,
            "backwards",
            "bare",
            "boxes",
            "cheap",
            "computed",
            "empty",
            "keyed",
            "notes",
            "orders",
            "pairs",
            "shadowed",
            "sloppy",
            "strict",
            "totals",
        ]
    );
    for name in &names {
        let relation = Relation::table(name);
        match source.describe(&relation, &patient()) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.code(), ErrorCode::UnsupportedType, "{name}: {error}"),
        }
    }
    shop.wait_until_left_alone();
}

#[test]
fn nothing_is_fetched_of_nothing() {
    let shop = Database::with(SHOP);
    let source = shop.source();
    assert_eq!(source.fetch(&table("empty"), &patient()).unwrap().count(), 0);
    for name in ["orders", "pairs", "totals"] {
        let none = all(&source, &table(name).columns::<&str>([])).unwrap();
        assert_eq!(none.num_columns(), 0);
        assert_eq!(
            none.num_rows(),
            match name {
                "orders" => 3,
                "pairs" => 2,
                _ => 1,
            }
        );
    }
}

#[test]
fn a_column_is_not_nullable_if_no_row_can_have_a_null() {
    let shop = Database::with(SHOP);
    let source = shop.source();
    for (name, shown) in [
        ("orders", "id Int64, item Utf8, price Decimal128(8, 2)?"),
        ("strict", "id Int64, t Utf8?, r Float64?, b Binary?, i Int64?"),
        ("pairs", "a Utf8, b Int64, c Utf8?"),
        ("keyed", "code Utf8?, n Int64?"),
        ("backwards", "id Int64?, v Utf8?"),
        ("cheap", "id Int64?, item Utf8?"),
        ("computed", "n Int64?, twice Int64?, word Utf8?"),
    ] {
        let described = source.describe(&Relation::table(name), &patient()).unwrap();
        assert_eq!(columns(described.schema()), shown, "{name}");
    }
}

#[test]
fn a_table_has_about_so_many_rows_once_it_was_analysed() {
    let shop = Database::with(SHOP);
    let source = shop.source();
    let rows = |name| source.describe(&Relation::table(name), &patient()).unwrap().expected_rows();
    assert_eq!((rows("orders"), rows("pairs")), (None, None));
    shop.execute(
        "CREATE INDEX items ON orders (item); CREATE INDEX some ON orders (price) WHERE price > 2; ANALYZE;",
    );
    assert_eq!((rows("orders"), rows("pairs"), rows("cheap")), (Some(3), Some(2), None));
}

#[test]
fn what_is_missing_is_named_with_the_nearest() {
    let shop = Database::with(SHOP);
    let source = shop.source();
    for (name, why) in [
        ("ordrs", "did you mean `orders`?"),
        ("temp.orders", "has no table `temp.orders`"),
        ("items", "has no table"),
        ("", "has no table ``"),
        ("orders; DROP TABLE orders", "has no table"),
        ("a\0b", "has no table"),
    ] {
        let error = source.describe(&Relation::table(name), &patient()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceNotFound, "{name}: {error}");
        assert!(error.message().contains(why) && error.message().contains("shop.db"), "{error}");
    }
    let orders = || Relation::table("orders");
    for (relation, code, why) in [
        (orders().leave_out(["pric"]), ErrorCode::ColumnNotFound, "did you mean `price`?"),
        (orders().as_text(["itm"]), ErrorCode::ColumnNotFound, "did you mean `item`?"),
        (orders().option("types", "ID=INTEGER"), ErrorCode::ColumnNotFound, "`ID`"),
        (orders().option("typs", "id=INTEGER"), ErrorCode::InvalidArgument, "did you mean `types`?"),
        (orders().option("rowid", "Item"), ErrorCode::InvalidArgument, "another name"),
        (Relation::table("pairs").option("rowid", "n"), ErrorCode::InvalidArgument, "no rowid"),
        (Relation::table("cheap").option("rowid", "n"), ErrorCode::InvalidArgument, "no rowid"),
        (Relation::statement("SELECT 1").option("rowid", "n"), ErrorCode::InvalidArgument, "no rowid"),
        (Relation::table("bare"), ErrorCode::UnsupportedType, "`a=INTEGER`"),
        (
            Relation::table("totals"),
            ErrorCode::UnsupportedType,
            "`orders` of view `totals` has no declared type",
        ),
    ] {
        let error = source.describe(&relation, &patient()).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(why), "{error}");
        assert_eq!(all(&source, &Fetch::of(relation)).unwrap_err().code(), code);
    }
    let error = all(&source, &Fetch::of(orders().leave_out(["price"])).columns(["price"])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ColumnNotFound);
    assert_eq!(all(&source, &table("orders").parts(["a"])).unwrap_err().code(), ErrorCode::Unsupported);
}

#[test]
fn the_rowid_is_a_column_under_a_name_of_its_own() {
    let shop = Database::with(SHOP);
    shop.execute("DELETE FROM bare WHERE a = 1; INSERT INTO bare VALUES (3, 'z');");
    let bare = Relation::table("bare").option("types", "a=INTEGER,b=TEXT").option("rowid", "number");
    let after = After { column: "number".into(), value: 3.into() };
    let source = shop.source();
    assert_eq!(lines(&all(&source, &Fetch::of(bare.clone())).unwrap()), ["2|2|null", "3|3|z"]);
    let schema = source.describe(&bare, &patient()).unwrap().schema().clone();
    assert_eq!(columns(&schema), "number Int64, a Int64?, b Utf8?");
    assert_eq!(lines(&all(&source, &Fetch::of(bare).after(after).columns(["b"])).unwrap()), ["z"]);
    // Of a table whose columns have most of the names of the rowid.
    let shadowed = Relation::table("shadowed").option("rowid", "n");
    assert_eq!(lines(&all(&source, &Fetch::of(shadowed)).unwrap()), ["1|r|8"]);
}

#[test]
fn only_wanted_columns_and_rows_are_fetched() {
    let shop = Database::with(SHOP);
    let source = shop.source();
    let fetch = table("orders").columns(["price", "id"]).condition("item LIKE 'p%' OR id = 2 -- cheap ones");
    assert_eq!(sorted(&all(&source, &fetch).unwrap()), ["1.20|1", "3.40|2"]);
    // A condition binds tighter than what stands beside it.
    let after = After { column: "id".into(), value: 2.into() };
    let fetch = table("orders").condition("id = 1 OR id = 2").after(after).columns(["id"]);
    assert_eq!(lines(&all(&source, &fetch).unwrap()), ["2"]);
    let odd = table(r#"Order "Lines".x"#).condition(r#""select" = 'from'"#);
    assert_eq!(lines(&all(&source, &odd.columns(["select"])).unwrap()), ["from"]);
    let inside = table("orders").condition("id IN (SELECT id FROM cheap)").columns(["item"]);
    assert_eq!(lines(&all(&source, &inside).unwrap()), ["pen"]);
    for condition in [
        "price >",
        "pric > 1",
        "true) OR (true",
        "id = ?",
        "id = :x",
        "count(*) > 1",
        "true; DROP TABLE orders",
        "(true",
        "/* ",
        "'",
        "id = 1\0",
        "",
        "\"pen\" = item",
        "load_extension('x')",
        "1 THEN 1 END, CASE WHEN 1",
        "id = 1 ORDER BY id",
    ] {
        let error = all(&source, &table("orders").condition(condition)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{condition}: {error}");
        assert!(error.message().contains("condition"), "{error}");
    }
    // One that fails on a row is a failure of the rows.
    let error = all(&source, &table("orders").condition("abs(-9223372036854775808) > id")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceInvalid);
    assert!(error.message().contains("integer overflow"), "{error}");
}

#[test]
fn a_statement_is_a_query_and_nothing_else() {
    let shop = Database::with(SHOP);
    let source = shop.source();
    let of = |text: &str, types: &str| {
        let fetch = Fetch::of(Relation::statement(text).option("types", types));
        lines(&all(&source, &fetch).unwrap())
    };
    assert_eq!(
        of("SELECT item, price FROM orders ORDER BY item;\n", ""),
        ["cap|null", "ink|3.40", "pen|1.20"]
    );
    assert_eq!(of("VALUES (1, 'a'), (2, 'b')", "column1=INTEGER,column2=TEXT"), ["1|a", "2|b"]);
    assert_eq!(of("WITH o AS (SELECT 1 AS one) SELECT * FROM o -- all", "one=INTEGER"), ["1"]);
    assert_eq!(of("SELECT title FROM notes WHERE notes MATCH 'other'", "title=TEXT"), ["second"]);
    assert_eq!(
        of("SELECT id FROM boxes WHERE x0 > 0 AND x1 < 3", "id=INTEGER"),
        ["1"],
        "virtual tables prepare statements that write"
    );
    assert_eq!(of("SELECT name FROM pragma_table_info('orders')", "name=TEXT"), ["id", "item", "price"]);
    let fetch = statement("SELECT id, price FROM orders").condition("id > 1").columns(["id"]);
    assert_eq!(sorted(&all(&source, &fetch).unwrap()), ["2", "3"]);
    for text in [
        "",
        "-- nothing",
        "SELEC 1",
        "SELECT nothing",
        "SELECT 1; SELECT 2",
        "DELETE FROM orders",
        "DELETE FROM orders RETURNING id",
        "INSERT INTO orders VALUES (9, 'x', 1)",
        "CREATE TABLE t (a)",
        "CREATE TEMP TABLE t (a)",
        "SELECT id AS a, item AS A FROM orders",
        "SELECT ?",
        "SELECT 1) UNION SELECT (2",
        "ATTACH '/tmp/other.db' AS other",
        "DETACH main",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA wal_checkpoint",
        "PRAGMA table_info(orders)",
        "VACUUM INTO '/tmp/copy.db'",
        "REINDEX",
        "BEGIN IMMEDIATE",
        "COMMIT",
        "SAVEPOINT a",
        "EXPLAIN SELECT 1",
        "SELECT load_extension('x')",
        "SELECT 'a\0'",
        "SELECT \"pen\" AS a",
    ] {
        let described = source.describe(&Relation::statement(text), &patient()).unwrap_err();
        assert_eq!(described.code(), ErrorCode::InvalidArgument, "{text}: {described}");
        assert_eq!(all(&source, &statement(text)).unwrap_err().code(), ErrorCode::InvalidArgument, "{text}");
    }
    let error = all(&source, &statement("SELECT * FROM missing")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceNotFound);
    assert_eq!(lines(&all(&source, &table("orders")).unwrap()).len(), 3);
    assert_eq!(shop.files(), ["shop.db"]);
}
