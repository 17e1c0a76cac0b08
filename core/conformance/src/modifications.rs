//! Statements that change tables.

use std::thread;

use pillion::{Cache, ErrorCode, Executed, TableDefinition, Value, WritePolicy};

use crate::model::{assert_numbered, assert_rows, numbered, refused, vals};
use crate::{Outcome, Session};

/// A table of fruits with their prices, made by statements alone.
fn fruits(session: &mut Session<'_>) -> Outcome {
    let writer = session.writer();
    let create = "CREATE TABLE fruits (id BIGINT, name VARCHAR NOT NULL, price DOUBLE, PRIMARY KEY (id))";
    assert_eq!(writer.execute(create, &[])?.rows, 0);
    let insert = "INSERT INTO fruits VALUES (1, 'apple', 0.5), (2, 'pear', $1), (3, 'plum', NULL)";
    assert_eq!(writer.execute(insert, &[0.75.into()])?.rows, 3);
    Ok(())
}

const ALL: &str = "SELECT id, name, price FROM fruits ORDER BY id";

/// Tables are made with columns, a key and an order, and hold what is inserted.
pub fn tables_are_made_and_filled(session: &mut Session<'_>) -> Outcome {
    fruits(session)?;
    assert_rows(
        &session.sql(ALL, &[])?,
        &[vals![1, "apple", 0.5], vals![2, "pear", 0.75], vals![3, "plum", Value::Null]],
    );
    let info = session.table("fruits")?.info()?;
    assert_eq!(info.rules.primary_key, ["id"]);
    let columns: Vec<_> = info
        .schema
        .fields()
        .iter()
        .map(|field| format!("{} {} {}", field.name(), field.data_type(), field.is_nullable()))
        .collect();
    assert_eq!(columns, ["id Int64 false", "name Utf8 false", "price Float64 true"]);
    let row = session.table("fruits")?.get(2)?.expect("inserted");
    assert_eq!(row.get::<&str>("name")?, "pear");
    let writer = session.writer();
    let made = writer.execute(
        "CREATE TABLE sorted WITH (sort_by = 'price, name') AS SELECT name, price FROM fruits WHERE price < 1",
        &[],
    )?;
    assert_eq!(made.rows, 2);
    let info = session.table("sorted")?.info()?;
    assert_eq!((info.rules.sort_by, info.rows), (vec!["price".to_owned(), "name".to_owned()], 2));
    let made = writer.execute(
        "CREATE TABLE typed (title VARCHAR PRIMARY KEY, cents INT) AS SELECT name, price * 100 FROM fruits",
        &[],
    )?;
    assert_eq!(made.rows, 3);
    assert_rows(
        &session.sql("SELECT title, cents FROM typed ORDER BY title", &[])?,
        &[vals!["apple", 50], vals!["pear", 75], vals!["plum", Value::Null]],
    );
    assert_eq!(writer.execute("DROP TABLE typed", &[])?.rows, 0);
    refused(session.cache().table("typed"), ErrorCode::TableNotFound);
    Ok(())
}

/// What is there already is left alone if a statement says so, and is an error otherwise.
pub fn tables_that_exist(session: &mut Session<'_>) -> Outcome {
    fruits(session)?;
    let writer = session.writer();
    let before = writer.version()?;
    refused(writer.execute("CREATE TABLE fruits (id BIGINT)", &[]), ErrorCode::TableExists);
    let unless = "CREATE TABLE IF NOT EXISTS fruits (other BIGINT)";
    let executed = writer.execute(unless, &[])?;
    assert_eq!((executed.rows, executed.version), (0, before));
    assert_eq!(writer.execute("DROP TABLE IF EXISTS nothing", &[])?.version, before);
    refused(writer.execute("DROP TABLE nothing", &[]), ErrorCode::TableNotFound);
    refused(writer.execute("INSERT INTO nothing VALUES (1)", &[]), ErrorCode::TableNotFound);
    assert_eq!(session.sql(ALL, &[])?.num_rows(), 3);
    Ok(())
}

/// An INSERT adds rows in one commit, or none.
pub fn rows_are_inserted(session: &mut Session<'_>) -> Outcome {
    fruits(session)?;
    let writer = session.writer();
    let insert = |text: &str| writer.execute(text, &[]);
    // Columns that are not named become null, and others find their place.
    assert_eq!(insert("INSERT INTO fruits (name, id) VALUES ('fig', 4)")?.rows, 1);
    assert_eq!(
        insert("INSERT INTO fruits SELECT id + 10, name || '!', price FROM fruits WHERE id < 3")?.rows,
        2
    );
    refused(insert("INSERT INTO fruits VALUES (5, 'kiwi', 1), (1, 'again', 1)"), ErrorCode::DuplicateKey);
    refused(insert("INSERT INTO fruits VALUES (6, 'a', 1), (6, 'b', 1)"), ErrorCode::DuplicateKey);
    let error = insert("INSERT INTO fruits VALUES (4, 'x', 1), (NULL, 'none', 1)").expect_err("no key");
    assert!(error.code() == ErrorCode::SchemaMismatch && error.message().contains("`id`"), "{error:?}");
    refused(insert("INSERT INTO fruits SELECT nullif(id, 1), 'x', 1 FROM fruits"), ErrorCode::NullKey);
    refused(insert("INSERT INTO fruits (id) VALUES (7)"), ErrorCode::SchemaMismatch);
    assert!(insert("INSERT INTO fruits VALUES (8, 'short')").is_err());
    assert!(insert("INSERT INTO fruits VALUES ('eight', 'x', 1)").is_err());
    assert!(insert("INSERT INTO fruits SELECT 9, 'x', 1 / (id - id) FROM fruits").is_err());
    assert!(insert("INSERT INTO fruits (id, weight) VALUES (9, 1)").is_err());
    assert_rows(
        &session.sql(ALL, &[])?,
        &[
            vals![1, "apple", 0.5],
            vals![2, "pear", 0.75],
            vals![3, "plum", Value::Null],
            vals![4, "fig", Value::Null],
            vals![11, "apple!", 0.5],
            vals![12, "pear!", 0.75],
        ],
    );
    assert_eq!(insert("INSERT OVERWRITE fruits VALUES (1, 'only', 1)")?.rows, 1);
    assert_rows(&session.sql(ALL, &[])?, &[vals![1, "only", 1.0]]);
    Ok(())
}

/// VALUES within a query keep their own types; what they give is fitted to the columns of the table afterwards.
pub fn queries_keep_their_types(session: &mut Session<'_>) -> Outcome {
    fruits(session)?;
    let writer = session.writer();
    let insert = |text: &str| writer.execute(text, &[]);
    insert(
        "INSERT INTO fruits (id, name) WITH w (k, f) AS (VALUES (10, 0.5)) \
         SELECT k, CAST(f * 100 AS BIGINT) FROM w",
    )?;
    insert(
        "INSERT INTO fruits (name, id) SELECT b, a FROM (VALUES (11, 'x', 1), (12, 'y', 2)) AS v (a, b, c)",
    )?;
    insert("INSERT INTO fruits (id, name, price) SELECT 13, '9', 9")?;
    assert_rows(
        &session.sql("SELECT id, name, price FROM fruits WHERE id > 9 ORDER BY id", &[])?,
        &[
            vals![10, "50", Value::Null],
            vals![11, "x", Value::Null],
            vals![12, "y", Value::Null],
            vals![13, "9", 9.0],
        ],
    );
    for text in [
        "INSERT INTO fruits SELECT 1, 'two'",
        "INSERT INTO fruits (id, id) SELECT 1, 2",
        "INSERT INTO fruits (id, weight) SELECT 1, 2",
        "INSERT INTO fruits (id, name) SELECT 'x', 'y'",
    ] {
        assert!(insert(text).is_err(), "{text}");
    }
    insert(
        "CREATE TABLE ten (x BIGINT PRIMARY KEY, y BIGINT NOT NULL) AS SELECT a * 10, b FROM (VALUES (1.5, 2)) AS v (a, b)",
    )?;
    assert_rows(&session.sql("SELECT x, y FROM ten", &[])?, &[vals![15, 2]]);
    refused(insert("INSERT INTO ten SELECT 1, nullif(y, 2) FROM ten"), ErrorCode::SchemaMismatch);
    // What a query says of nulls holds for its own rows only.
    insert("CREATE TABLE loose AS SELECT 1 AS a, 'x' AS b")?;
    insert("INSERT INTO loose SELECT NULL AS a, NULL AS b")?;
    assert_rows(&session.sql("SELECT count(*), count(a) FROM loose", &[])?, &[vals![2, 1]]);
    Ok(())
}

/// A statement that changes nothing makes no commit.
pub fn nothing_to_change_is_no_commit(session: &mut Session<'_>) -> Outcome {
    fruits(session)?;
    let writer = session.writer();
    let before = writer.version()?;
    for text in [
        "DELETE FROM fruits WHERE id > 100",
        "UPDATE fruits SET price = 1 WHERE id > 100",
        "INSERT INTO fruits VALUES (1, 'x', 1) ON CONFLICT DO NOTHING",
        "INSERT INTO fruits SELECT * FROM fruits WHERE id > 100",
        "REPLACE INTO fruits SELECT * FROM fruits WHERE id > 100",
    ] {
        let executed = writer.execute(text, &[])?;
        assert_eq!((executed.rows, executed.version), (0, before), "{text}");
    }
    Ok(())
}

/// Rows whose key is there are left out, or replaced, as the statement says.
pub fn keys_that_are_there(session: &mut Session<'_>) -> Outcome {
    fruits(session)?;
    let writer = session.writer();
    let insert = |text: &str| writer.execute(text, &[]);
    let executed = insert(
        "INSERT INTO fruits VALUES (1, 'new', 1), (4, 'fig', 2), (4, 'second', 3) ON CONFLICT DO NOTHING",
    )?;
    assert_eq!(executed.rows, 1);
    let executed = insert(
        "INSERT INTO fruits VALUES (2, 'Pear', 9), (5, 'kiwi', 8) \
         ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, price = excluded.price",
    )?;
    assert_eq!(executed.rows, 2);
    insert("REPLACE INTO fruits VALUES (3, 'Plum', 7)")?;
    assert_rows(
        &session.sql(ALL, &[])?,
        &[
            vals![1, "apple", 0.5],
            vals![2, "Pear", 9.0],
            vals![3, "Plum", 7.0],
            vals![4, "fig", 2.0],
            vals![5, "kiwi", 8.0],
        ],
    );
    let refused_updates = [
        "ON CONFLICT (name) DO NOTHING",
        "ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name",
        "ON CONFLICT (id) DO UPDATE SET name = 'x', price = EXCLUDED.price",
        "ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, price = EXCLUDED.price WHERE fruits.id > 1",
        "ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, price = EXCLUDED.price, weight = EXCLUDED.weight",
    ];
    for clause in refused_updates {
        let text = format!("INSERT INTO fruits VALUES (1, 'never', 0) {clause}");
        assert!(insert(&text).is_err(), "{text}");
    }
    assert_rows(&session.sql("SELECT name FROM fruits WHERE id = 1", &[])?, &[vals!["apple"]]);
    session.define("keyless", TableDefinition::new(numbered([1])))?;
    refused(insert("INSERT INTO keyless VALUES (1, 'x') ON CONFLICT DO NOTHING"), ErrorCode::NoPrimaryKey);
    refused(insert("REPLACE INTO keyless VALUES (1, 'x')"), ErrorCode::NoPrimaryKey);
    Ok(())
}

/// An UPDATE computes new values from the old ones, and leaves keys alone.
pub fn rows_are_updated(session: &mut Session<'_>) -> Outcome {
    fruits(session)?;
    let writer = session.writer();
    let executed = writer.execute(
        "UPDATE fruits SET Price = price * $1, name = upper(name) WHERE price IS NOT NULL",
        &[2.0.into()],
    )?;
    assert_eq!(executed.rows, 2);
    let executed = writer
        .execute("UPDATE fruits AS f SET price = (SELECT max(price) FROM fruits) WHERE f.id = 3", &[])?;
    assert_eq!(executed.rows, 1);
    assert_eq!(writer.execute("UPDATE fruits SET price = 0 WHERE id = 99", &[])?.rows, 0);
    assert_rows(
        &session.sql(ALL, &[])?,
        &[vals![1, "APPLE", 1.0], vals![2, "PEAR", 1.5], vals![3, "plum", 1.5]],
    );
    for (text, code) in [
        ("UPDATE fruits SET id = 9 WHERE id = 1", ErrorCode::Unsupported),
        ("UPDATE fruits SET weight = 9", ErrorCode::ColumnNotFound),
        ("UPDATE fruits SET name = NULL", ErrorCode::SchemaMismatch),
        ("UPDATE fruits SET price = 1, price = 2", ErrorCode::InvalidSql),
    ] {
        refused(writer.execute(text, &[]), code);
    }
    assert_eq!(session.sql("SELECT * FROM fruits WHERE name IS NULL", &[])?.num_rows(), 0);
    session.define("keyless", TableDefinition::new(numbered([1])))?;
    refused(writer.execute("UPDATE keyless SET name = 'x'", &[]), ErrorCode::NoPrimaryKey);
    session.compact()?;
    assert_eq!(writer.execute("UPDATE fruits SET price = 3", &[])?.rows, 3);
    session.reopen();
    assert_rows(&session.sql("SELECT DISTINCT price FROM fruits", &[])?, &[vals![3.0]]);
    Ok(())
}

/// A DELETE removes the rows that its condition names, and all of them without one.
pub fn rows_are_deleted(session: &mut Session<'_>) -> Outcome {
    fruits(session)?;
    let writer = session.writer();
    let deleted = |text: &str| writer.execute(text, &[]).map(|executed| executed.rows);
    assert_eq!(deleted("DELETE FROM fruits WHERE price > 100")?, 0);
    assert_eq!(deleted("DELETE FROM fruits WHERE price < 0.6 OR name = 'plum'")?, 2);
    assert_rows(&session.sql(ALL, &[])?, &[vals![2, "pear", 0.75]]);
    assert!(session.table("fruits")?.get(1)?.is_none());
    assert_eq!(deleted("DELETE FROM fruits AS f WHERE f.id = 2 AND f.name <> 'pear'")?, 0);
    assert_eq!(deleted("INSERT INTO fruits SELECT id + 10, name, price FROM fruits")?, 1);
    let newest = "DELETE FROM fruits f WHERE f.id > (SELECT min(id) FROM fruits WHERE name = f.name)";
    assert_eq!(deleted(newest)?, 1);
    assert_rows(&session.sql(ALL, &[])?, &[vals![2, "pear", 0.75]]);
    assert_eq!(deleted("DELETE FROM fruits AS f LIMIT 0")?, 0);
    assert_eq!(deleted("DELETE FROM fruits AS f")?, 1);
    session.define("keyless", TableDefinition::new(numbered(0..4)))?;
    refused(deleted("DELETE FROM keyless WHERE id = 1"), ErrorCode::NoPrimaryKey);
    assert_numbered(&session.table("keyless")?, 0..4);
    assert_eq!(deleted("TRUNCATE TABLE keyless")?, 4);
    assert_eq!(session.table("keyless")?.info()?.rows, 0);
    session.define("composite", TableDefinition::new(numbered(0..50)).primary_key(["name", "id"]))?;
    assert_eq!(deleted("DELETE FROM composite WHERE id >= 10 AND id < 30")?, 20);
    assert_numbered(&session.table("composite")?, (0..10).chain(30..50));
    Ok(())
}

/// Statements that are not supported say so and change nothing.
pub fn other_statements_are_refused(session: &mut Session<'_>) -> Outcome {
    fruits(session)?;
    let writer = session.writer();
    for text in [
        "SELECT * FROM fruits",
        "EXPLAIN DELETE FROM fruits",
        "ALTER TABLE fruits ADD COLUMN weight DOUBLE",
        "CREATE OR REPLACE TABLE fruits (id BIGINT)",
        "CREATE VIEW v AS SELECT * FROM fruits",
        "CREATE INDEX i ON fruits (name)",
        "CREATE TEMPORARY TABLE u (id BIGINT)",
        "CREATE TABLE u (id BIGINT) WITH (shape = 'round')",
        "CREATE TABLE u (id BIGINT DEFAULT 1)",
        "CREATE TABLE u (id BIGINT UNIQUE)",
        "CREATE TABLE u (id BIGINT GENERATED ALWAYS AS IDENTITY)",
        "CREATE TABLE u (id BIGINT, name VARCHAR COLLATE \"C\")",
        "UPDATE fruits SET other.price = 1",
        "CREATE EXTERNAL TABLE u STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE SCHEMA s",
        "COPY fruits TO '/tmp/never-written.csv'",
        "TRUNCATE TABLE fruits RESTART IDENTITY",
        "DROP TABLE fruits CASCADE",
        "DROP VIEW fruits",
        "DELETE FROM fruits USING fruits AS other WHERE fruits.id = other.id",
        "DELETE FROM fruits AS f USING fruits AS other WHERE f.id = other.id",
        "DELETE FROM fruits AS f (a, b, c) WHERE f.a = 1",
        "DELETE FROM fruits RETURNING id",
        "INSERT INTO fruits VALUES (9, 'x', 1) RETURNING id",
        "UPDATE fruits SET price = 1 FROM fruits AS other WHERE fruits.id = other.id",
        "MERGE INTO fruits USING fruits AS s ON fruits.id = s.id WHEN MATCHED THEN DELETE",
        "BEGIN",
        "SET datafusion.execution.batch_size = 1",
    ] {
        let error = writer.execute(text, &[]).expect_err(text);
        assert!(matches!(error.code(), ErrorCode::Unsupported | ErrorCode::InvalidSql), "{text}: {error:?}");
    }
    refused(writer.execute("DELETE FROM fruits WHERE id = $1", &[]), ErrorCode::InvalidParameter);
    refused(writer.execute("DELETE FROM other.fruits", &[]), ErrorCode::TableNotFound);
    assert_eq!(writer.tables()?.len(), 1);
    assert_eq!(session.sql(ALL, &[])?.num_rows(), 3);
    Ok(())
}

/// Rules about who may write hold for statements.
pub fn rules_hold_for_statements(session: &mut Session<'_>) -> Outcome {
    let definition = TableDefinition::new(numbered(0..3)).primary_key(["id"]);
    session.define("t", definition.write_policy(WritePolicy::AppendOnly))?;
    let writer = session.writer();
    let execute = |text: &str| writer.execute(text, &[]);
    for text in [
        "UPDATE t SET name = 'x'",
        // Refused before anything is computed.
        "UPDATE t SET name = 1 / (id - id)",
        "DELETE FROM t WHERE id = 1",
        "DELETE FROM t",
        "TRUNCATE t",
        "REPLACE INTO t VALUES (1, 'x')",
        "INSERT OVERWRITE t VALUES (1, 'x')",
    ] {
        refused(execute(text), ErrorCode::WriteNotAllowed);
    }
    assert_eq!(execute("INSERT INTO t VALUES (3, 'row 3'), (1, 'x') ON CONFLICT DO NOTHING")?.rows, 1);
    assert_eq!(session.table("t")?.info()?.rows, 4);
    execute("DROP TABLE t")?;
    Ok(())
}

/// Statements that read what they change lose no change that comes in between.
pub fn updates_of_many_threads_all_count(session: &mut Session<'_>) -> Outcome {
    const THREADS: usize = 4;
    const EACH: usize = 12;
    let writer = session.writer();
    writer.execute("CREATE TABLE counters (id BIGINT PRIMARY KEY, n BIGINT)", &[])?;
    writer.execute("INSERT INTO counters VALUES (1, 0), (2, 0), (3, 0)", &[])?;
    let run = |cache: &Cache, text: &str| -> Result<Executed, pillion::Error> { cache.execute(text, &[]) };
    thread::scope(|scope| {
        let adders: Vec<_> = (0..THREADS)
            .map(|thread| {
                let cache = writer.clone();
                scope.spawn(move || {
                    for step in 0..EACH {
                        let added = run(&cache, "UPDATE counters SET n = n + 1")?;
                        assert!(added.rows >= 2);
                        let id = 10 + thread * EACH + step;
                        run(&cache, &format!("INSERT INTO counters VALUES ({id}, 0)"))?;
                        run(&cache, "INSERT INTO counters VALUES (5, 0) ON CONFLICT DO NOTHING")?;
                        let more = "SELECT id, n + 1 FROM counters WHERE id = 3";
                        run(&cache, &format!("REPLACE INTO counters {more}"))?;
                        let clause = "ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n";
                        run(&cache, &format!("INSERT INTO counters {more} {clause}"))?;
                    }
                    Ok::<(), pillion::Error>(())
                })
            })
            .collect();
        adders.into_iter().try_for_each(|adder| adder.join().expect("a thread that adds"))
    })?;
    let all = i64::try_from(THREADS * EACH)?;
    let text = "SELECT n FROM counters WHERE id < 4 ORDER BY id";
    assert_rows(&session.sql(text, &[])?, &[vals![all], vals![all], vals![3 * all]]);
    assert_rows(&session.sql("SELECT count(*) FROM counters", &[])?, &[vals![all + 4]]);
    Ok(())
}

/// Many rows are inserted, updated and deleted as few are.
pub fn many_rows_are_changed(session: &mut Session<'_>) -> Outcome {
    const ROWS: i64 = 120_000;
    let writer = session.writer();
    writer.execute("CREATE TABLE many (id BIGINT PRIMARY KEY, n BIGINT, t VARCHAR)", &[])?;
    session.define("numbers", TableDefinition::new(numbered(1..=ROWS)))?;
    let insert = "INSERT INTO many SELECT id, id % $1, 'row ' || id FROM numbers";
    assert_eq!(writer.execute(insert, &[100.into()])?.rows, ROWS.unsigned_abs());
    let executed = writer.execute("UPDATE many SET n = n + 1000 WHERE id % 2 = 0", &[])?;
    assert_eq!(executed.rows, ROWS.unsigned_abs() / 2);
    let executed = writer.execute("DELETE FROM many WHERE n >= 1050", &[])?;
    assert_eq!(executed.rows, ROWS.unsigned_abs() / 4);
    refused(writer.execute("INSERT INTO many VALUES (1, 0, '')", &[]), ErrorCode::DuplicateKey);
    let text = "SELECT count(*), min(n), max(n), sum(CASE WHEN t = 'row ' || id THEN 1 ELSE 0 END) FROM many";
    let rest = ROWS / 4 * 3;
    assert_rows(&session.sql(text, &[])?, &[vals![rest, 1, 1048, rest]]);
    session.compact()?;
    assert_rows(&session.sql(text, &[])?, &[vals![rest, 1, 1048, rest]]);
    // So many that the other rows are written anew.
    writer.execute("INSERT INTO many SELECT id + 1000000, 0, repeat('long', 10) FROM numbers", &[])?;
    let long = "CREATE TABLE long (id VARCHAR PRIMARY KEY, n BIGINT) AS SELECT repeat('long', 12) || id, n FROM many";
    let made = writer.execute(long, &[])?.rows;
    let executed = writer.execute("DELETE FROM long WHERE n < 1000", &[])?;
    assert_eq!(executed.rows, made - ROWS.unsigned_abs() / 4);
    let text = "SELECT count(*), min(n), max(n) FROM long";
    assert_rows(&session.sql(text, &[])?, &[vals![ROWS / 4, 1000, 1048]]);
    Ok(())
}
