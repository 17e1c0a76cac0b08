//! Statements other than queries: those that read are answered, all others are refused and change nothing.

use pillion::{Batches, ErrorCode, TableDefinition};

use crate::model::{assert_names, assert_numbered, assert_rows, numbered, refused, rows_of, vals};
use crate::{Outcome, Session};

/// Statements that would write, each refused as unsupported.
pub fn writing_statements_are_refused(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let cache = session.cache();
    let statements = [
        "INSERT INTO t VALUES (2, 'x')",
        "INSERT INTO t SELECT id + 1, name FROM t",
        "UPDATE t SET name = 'x'",
        "DELETE FROM t",
        "DROP TABLE t",
        "CREATE TABLE u (id BIGINT)",
        "CREATE TABLE u AS SELECT * FROM t",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE SCHEMA s",
        "CREATE EXTERNAL TABLE u STORED AS CSV LOCATION '/etc/passwd'",
        "COPY t TO '/tmp/never-written.csv'",
        "EXPLAIN ANALYZE INSERT INTO t VALUES (2, 'x')",
        "SET datafusion.execution.batch_size = 1",
        "BEGIN",
        "COMMIT",
        "PREPARE p AS SELECT 1",
        "DEALLOCATE p",
    ];
    for text in statements {
        let code = cache.sql(text, &[]).and_then(Batches::collect_all).map_err(|error| error.code());
        assert_eq!(code.map(drop), Err(ErrorCode::Unsupported), "{text}");
    }
    assert!(!std::path::Path::new("/tmp/never-written.csv").exists());
    assert_eq!(cache.tables()?.len(), 1);
    assert_numbered(&session.table("t")?, [1]);
    Ok(())
}

/// A query cannot name a file.
pub fn a_file_is_no_table(session: &mut Session<'_>) -> Outcome {
    let cache = session.cache();
    refused(cache.sql("SELECT * FROM '/etc/passwd'", &[]), ErrorCode::TableNotFound);
    refused(cache.sql("SELECT * FROM \"/etc/passwd\"", &[]), ErrorCode::TableNotFound);
    Ok(())
}

/// One text is one statement.
pub fn several_statements_are_refused(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let cache = session.cache();
    for text in ["SELECT 1; SELECT 2", "SELECT 1; DROP TABLE t"] {
        let error = cache.sql(text, &[]).map(drop).expect_err("two statements");
        assert!(matches!(error.code(), ErrorCode::InvalidSql | ErrorCode::Unsupported), "{error:?}");
    }
    assert_rows(&cache.sql("SELECT 1;", &[])?.concat()?, &[vals![1]]);
    Ok(())
}

/// Statements can list tables and columns.
pub fn tables_and_columns_are_described(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("first", "id", numbered([1]))?;
    session.define("second", TableDefinition::new(numbered([1])))?;
    let text =
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name";
    assert_rows(&session.sql(text, &[])?, &[vals!["first"], vals!["second"]]);
    let text = "SELECT column_name, is_nullable FROM information_schema.columns \
                WHERE table_name = 'first' ORDER BY ordinal_position";
    assert_rows(&session.sql(text, &[])?, &[vals!["id", "NO"], vals!["name", "YES"]]);
    let shown = rows_of(&session.sql("SHOW TABLES", &[])?);
    assert!(
        ["first", "second"].iter().all(|name| shown.iter().any(|row| row.contains(&(*name).into()))),
        "{shown:?}"
    );
    let described = session.sql("DESCRIBE first", &[])?;
    assert_rows(&described, &[vals!["id", "Int64", "NO"], vals!["name", "Utf8", "YES"]]);
    Ok(())
}

/// EXPLAIN shows a plan, which says whether a row is looked up or rows are scanned.
pub fn plans_are_explained(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    let mut explain = |text: &str| -> pillion::Result<String> {
        Ok(format!("{:?}", rows_of(&session.sql(&format!("EXPLAIN {text}"), &[])?)))
    };
    let lookup = explain("SELECT name FROM t WHERE id = 7")?;
    assert!(lookup.contains("PillionLookup: table=t") && lookup.contains("keys=1"), "{lookup}");
    let list = explain("SELECT name FROM t WHERE id IN (7, 8, 99)")?;
    assert!(list.contains("PillionLookup") && list.contains("keys=3"), "{list}");
    let scan = explain("SELECT name FROM t WHERE id > 7")?;
    assert!(scan.contains("PillionScan: table=t") && scan.contains("tier=local"), "{scan}");
    Ok(())
}

/// Batches that cannot hold the requested value are not read, and the plan says so.
pub fn plans_say_what_is_left_out(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    for ids in [10..20, 20..30] {
        session.append("t", numbered(ids))?;
        session.compact()?;
    }
    let plan =
        format!("{:?}", rows_of(&session.sql("EXPLAIN SELECT name FROM t WHERE id > 12 AND id < 18", &[])?));
    assert!(plan.contains("batches=1 of 3"), "{plan}");
    assert_rows(&session.sql("SELECT count(*) FROM t WHERE id > 12 AND id < 18", &[])?, &[vals![5]]);
    Ok(())
}

/// A lookup is not spread over threads, whatever else the query asks of its rows.
pub fn a_lookup_stays_on_one_thread(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    for text in [
        "SELECT name FROM t WHERE id = 7",
        "SELECT name FROM t WHERE id = 7 AND name <> 'x'",
        "SELECT upper(name), id + 1 FROM t WHERE id = 7 AND name LIKE '%7'",
        "SELECT name FROM t WHERE id IN (1, 2, 3)",
        "SELECT id + 1 FROM t WHERE id IN (1, 2, 3) AND length(name) > 2",
        "SELECT name FROM t WHERE id = 7 LIMIT 1",
        "SELECT name FROM t WHERE id IN (1, 2, 3) LIMIT 2",
        "SELECT name FROM t WHERE id IN (1, 2, 3) ORDER BY name",
    ] {
        let plan = format!("{:?}", rows_of(&session.sql(&format!("EXPLAIN {text}"), &[])?));
        assert!(plan.contains("PillionLookup"), "{text}: {plan}");
        for spread in ["RepartitionExec", "CoalescePartitionsExec", "SortPreservingMergeExec"] {
            assert!(!plan.contains(spread), "{text}: {plan}");
        }
    }
    Ok(())
}

/// Statements that are too large to plan are refused with the limit and advice, as text and prepared; large ones below
/// the limit are answered.
pub fn statements_beyond_the_limits_are_refused(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    let list = |count: i64| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let repeated = |what: &str, count: usize| what.repeat(count);
    let doubled: String =
        (1..30).map(|n| format!(", q{n} AS (SELECT a.id FROM q{0} a, q{0} b)", n - 1)).collect();
    let beyond = [
        ("1048576", format!("SELECT '{}'", repeated("x", 1 << 20))),
        ("20000", format!("SELECT 1{}", repeated(" + 1", 20_001))),
        ("1000", format!("SELECT id{} FROM t", repeated(" + 1", 1_001))),
        ("1000", format!("SELECT id FROM t WHERE id = 0{}", repeated(" OR id = 1", 1_001))),
        ("800", repeated("SELECT 1 UNION ALL ", 801) + "SELECT 1"),
        ("100", format!("SELECT 1 FROM t{}", repeated(" JOIN t USING (id)", 101))),
        ("800", format!("WITH q0 AS (SELECT id FROM t){doubled} SELECT id FROM q29")),
        ("10", format!("SELECT {}1{}", repeated("(SELECT ", 11), repeated(")", 11))),
        ("100", format!("SELECT {}1{}", repeated("(", 101), repeated(")", 101))),
        ("100", repeated("EXPLAIN ", 101) + "SELECT 1"),
        ("10", format!("SELECT {}1", repeated("ARRAY[", 48))),
    ];
    for (limit, text) in beyond {
        for result in [session.sql(&text, &[]).map(drop), session.cache().prepare(&text).map(drop)] {
            let error = refused(result, ErrorCode::InvalidSql);
            assert_names(&error, &["at most", limit]);
        }
    }
    let answered = session.sql(&format!("SELECT count(*) FROM t WHERE id IN ({})", list(10_000)), &[])?;
    assert_rows(&answered, &[vals![10]]);
    assert_rows(&session.sql("SELECT count(*) FROM t", &[])?, &[vals![10]]);
    Ok(())
}
