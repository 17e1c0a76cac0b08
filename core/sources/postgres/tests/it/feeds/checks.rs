//! What both sides make of one row: the same number, for every type.

use pillion::Value;
use pillion::source::{Fetch, KeyRange, RowSum};

use super::*;
use crate::support::rows::{all, lines};
use crate::types::{COLUMNS, KINDS};

/// Compares all rows of a table with a whole number `id` as key, one by one, and together.
#[track_caller]
fn assert_alike(source: &Postgres, table: &str) {
    let relation = Relation::table(table);
    let rows = all(source, &Fetch::of(relation.clone())).unwrap();
    let columns: Vec<String> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut check = source.check(&relation, &columns, &["id".to_owned()], None, &patient()).unwrap();
    let ids = rows.project(&[rows.schema().index_of("id").unwrap()]).unwrap();
    let mut of_ids: Vec<(i64, i64)> =
        lines(&ids).iter().map(|id| id.parse().unwrap()).zip(check.digests(&rows).unwrap()).collect();
    of_ids.sort_unstable();
    let bounds: Vec<Vec<Value>> = of_ids.iter().skip(1).map(|(id, _)| vec![Value::Int(*id)]).collect();
    let sums = check.sums(&KeyRange::default(), &bounds, &patient()).unwrap();
    assert_eq!(sums.len(), of_ids.len());
    for ((id, digest), sum) in of_ids.iter().zip(&sums) {
        let mut alone = RowSum::default();
        alone.add(*digest);
        assert_eq!(*sum, alone, "row {id} of {table}");
    }
    let whole = check.sums(&KeyRange::default(), &[], &patient()).unwrap();
    let mut together = RowSum::default();
    of_ids.iter().for_each(|(_, digest)| together.add(*digest));
    assert_eq!(whole, [together], "{table}");
    // A range is fetched as it is added up.
    let range = KeyRange { from: Some(vec![Value::Int(of_ids[0].0)]), below: bounds.first().cloned() };
    let fetched: Vec<_> = check.fetch(&range, &patient()).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(fetched.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 1);
}

#[test]
fn rows_of_every_type_have_one_digest() {
    let Some(server) = server_with(&[]) else { return };
    let source = server.source();
    server.psql(KINDS);
    // One column at a time, so that a type is named, and all of them.
    for (number, (kind, value, ..)) in COLUMNS.iter().enumerate() {
        server.psql(&format!(
            "CREATE TABLE one{number} (id int PRIMARY KEY, v {kind}); INSERT INTO one{number} VALUES (1, {value}), (2, NULL)"
        ));
        assert_alike(&source, &format!("one{number}"));
    }
    let columns: Vec<_> = COLUMNS.iter().enumerate().map(|(n, (kind, ..))| format!("c{n} {kind}")).collect();
    let values: Vec<_> = COLUMNS.iter().map(|(_, value, ..)| *value).collect();
    server.psql(&format!(
        "CREATE TABLE kinds (id int PRIMARY KEY, {}); INSERT INTO kinds VALUES (1, {}); INSERT INTO kinds (id) VALUES (2);",
        columns.join(","),
        values.join(",")
    ));
    assert_alike(&source, "kinds");
    let wide: Vec<_> = (0..150).map(|n| format!("w{n} int DEFAULT {n}")).collect();
    server.psql(&format!(
        "CREATE TABLE wide (id int PRIMARY KEY, {}); INSERT INTO wide (id) VALUES (1), (2)",
        wide.join(",")
    ));
    assert_alike(&source, "wide");
}

#[test]
fn random_rows_have_one_digest() {
    let Some(server) = server_with(&[]) else { return };
    server.psql(
        "CREATE TABLE random AS SELECT n AS id, \
         (((random() - 0.5) * power(10, 15 * random()))::numeric * power(10::numeric, (20 * random())::int))::numeric(60,20) AS w, \
         ((random() - 0.5) * 1e6)::numeric(12,3) AS d, (random() - 0.5) * power(10, 300 * (random() - 0.5)) AS f, \
         ((random() - 0.5) * power(10, 30 * (random() - 0.5)))::float4 AS g, '2000-01-01'::date + ((random() - 0.5) * 1e6)::int AS day, \
         '2000-01-01'::timestamp + (random() - 0.5) * interval '8000 years' AS t, now() - random() * interval '90 years' AS z, \
         ('00:00'::time + random() * interval '1 day') AS h, (random() - 0.5) * interval '2000 days 5 months' AS i, \
         chr((1 + random() * 50000)::int) || E'|,:-\\n' || md5(n::text) AS s, gen_random_uuid() AS u, decode(md5(n::text), 'hex') AS b, \
         random() < 0.5 AS y, (random() * 30000)::int2 AS i2, (random() * 4e9)::int8::oid AS o, rpad('x', n % 9)::char(9) AS c, \
         ARRAY[n, NULL, -n] AS a, ARRAY['|', NULL, n::text, ','] AS ta, ARRAY[random()::numeric(5,4), NULL] AS na, \
         jsonb_build_object('n', n, 'x', ARRAY[random()]) AS j FROM generate_series(1, 500) n; \
         UPDATE random SET w = NULL, s = NULL, a = '{}' WHERE id % 7 = 0; UPDATE random SET f = '-0', g = 'NaN', d = -0.001 WHERE id % 5 = 0;",
    );
    server.psql("ALTER TABLE random ALTER na TYPE numeric(5,4)[]; ALTER TABLE random ADD PRIMARY KEY (id)");
    assert_alike(&server.source(), "random");
}

#[test]
fn rows_that_differ_in_little_have_other_digests() {
    let Some(server) = server_with(&[]) else { return };
    server.psql(
        "CREATE TABLE near (id int PRIMARY KEY, a text, b text, f float8, c char(4), l int[], n numeric(6,2)); INSERT INTO near VALUES \
         (1, 'a|', '', 0, 'x', '{}', 0), (2, 'a', '|', 0, 'x', '{}', 0), (3, NULL, '-', 0, 'x', '{}', 0), (4, '-', NULL, 0, 'x', '{}', 0), \
         (5, 'a|', '', '-0', 'x', '{}', 0), (6, 'a|', '', 0, 'x', NULL, 0), (7, 'a|', '', 0, 'x', '{NULL}', 0), (8, 'a|', '', 0, 'x', '{}', 0.01), \
         (9, 'a|', '', 0, ' x', '{}', 0), (10, '1:a', '', 0, 'x', '{}', 0), (11, 'a', '1:', 0, 'x', '{1,2}', 0), (12, 'a', '1:', 0, 'x', '{12}', 0);",
    );
    let source = server.source();
    let columns = ["a", "b", "f", "c", "l", "n"].map(str::to_owned);
    let check =
        source.check(&Relation::table("near"), &columns, &["a".to_owned()], None, &patient()).unwrap();
    let fetch = Fetch::of(Relation::table("near")).columns(columns);
    let mut digests = check.digests(&all(&source, &fetch).unwrap()).unwrap();
    let rows = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!((rows, digests.len()), (12, 12));
}

#[test]
fn what_cannot_be_compared_is_said() {
    let Some(server) = server_with(&["max_replication_slots=1"]) else { return };
    server.psql("CREATE TABLE floats (f float8 PRIMARY KEY, v int)");
    let source = server.source();
    let check = |columns: &[&str], key: &str| {
        let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
        source.check(&Relation::table("floats"), &columns, &[key.to_owned()], None, &patient()).map(drop)
    };
    let error = check(&["f", "v"], "f").unwrap_err();
    assert!(
        error.code() == pillion::ErrorCode::Unsupported && error.message().contains("column `f`"),
        "{error}"
    );
    assert_eq!(check(&["v", "gone"], "v").unwrap_err().code(), pillion::ErrorCode::ColumnNotFound);
    // A comparison leaves nothing behind.
    server.wait_for("SELECT count(*) FROM pg_replication_slots", "0");
    check(&["v"], "v").unwrap();
    server.wait_for("SELECT count(*) FROM pg_replication_slots", "0");
    server.psql("SELECT pg_create_physical_replication_slot('other')");
    let error = check(&["v"], "v").unwrap_err();
    assert!(error.to_string().contains("max_replication_slots"), "{error}");
}

/// All rows of `orders`, in one sum.
fn whole(check: &mut dyn pillion::source::FeedCheck) -> Result<u64> {
    check.sums(&KeyRange::default(), &[], &patient()).map(|sums| sums[0].rows)
}

fn check_of_orders(source: &Postgres) -> Result<Box<dyn pillion::source::FeedCheck>> {
    let columns = ["id", "item"].map(str::to_owned);
    source.check(&Relation::table("orders"), &columns, &["id".to_owned()], None, &patient())
}

#[test]
fn rows_that_a_policy_hides_are_refused_and_not_left_out() {
    let Some(server) = shop() else { return };
    server.psql(
        "INSERT INTO orders (id) VALUES (1), (2); CREATE ROLE reader LOGIN REPLICATION PASSWORD 'reads'; GRANT SELECT ON orders, lines TO reader; \
         CREATE PUBLICATION given FOR TABLE orders; ALTER TABLE orders ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY one ON orders USING (id = 1)",
    );
    let url = format!("postgresql://reader:reads@127.0.0.1:{}/postgres?sslmode=disable", server.port());
    let reader = Postgres::from_url(&url).unwrap();
    let follow = Follow::new("pillion_reader", [Relation::table("orders")]).publication("given");
    let copied = Follower::copy(&reader, follow).map(drop).unwrap_err();
    let compared = check_of_orders(&reader).and_then(|mut check| whole(&mut *check)).unwrap_err();
    for error in [copied, compared] {
        assert_eq!(error.code(), pillion::ErrorCode::SourceRefused, "{error:#}");
        assert!(error.to_string().contains("row-level security"), "{error:#}");
    }
    // Whoever fetches the table now and then gets the rows that the user may see.
    assert_eq!(all(&reader, &Fetch::of(Relation::table("orders"))).unwrap().num_rows(), 1);
    server.psql("ALTER ROLE reader BYPASSRLS");
    assert_eq!(whole(&mut *check_of_orders(&reader).unwrap()).unwrap(), 2);
}

#[test]
fn a_table_is_not_emptied_while_it_is_compared() {
    let Some(server) = shop() else { return };
    server.psql("INSERT INTO orders (id) VALUES (1), (2)");
    let source = server.source();
    let mut check = check_of_orders(&source).unwrap();
    let mut other = server.psql_beside("TRUNCATE orders");
    server.wait_for("SELECT count(*) FROM pg_locks WHERE NOT granted", "1");
    assert_eq!(whole(&mut *check).unwrap(), 2);
    drop(check);
    assert!(other.wait().unwrap().success());
    assert_eq!(whole(&mut *check_of_orders(&source).unwrap()).unwrap(), 0);
}

#[test]
fn limits_of_the_user_do_not_end_a_comparison() {
    let Some(server) = shop() else { return };
    server.psql("INSERT INTO orders (id) VALUES (1), (2)");
    let source = server.source();
    server.psql("ALTER ROLE postgres SET idle_in_transaction_session_timeout = '1s'");
    let mut check = check_of_orders(&source).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(whole(&mut *check).unwrap(), 2);
    let rows: Vec<_> = check.fetch(&KeyRange::default(), &patient()).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(rows.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 2);
}

#[test]
fn another_table_of_the_same_name_is_not_compared() {
    let Some(server) = shop() else { return };
    server.psql("INSERT INTO orders (id) VALUES (1), (2)");
    let source = server.source();
    let copied = Follower::copy(&source, follow()).unwrap();
    let (relation, columns) = (Relation::table("orders"), ["id".to_owned()]);
    let check = || source.check(&relation, &columns, &columns, Some((&copied.position[..], 0)), &patient());
    check().unwrap();
    server.psql("CREATE TABLE fresh (LIKE orders INCLUDING ALL); ALTER TABLE orders RENAME TO old; ALTER TABLE fresh RENAME TO orders");
    let error = check().unwrap_err();
    assert!(error.message().contains("another table"), "{error}");
}

#[test]
fn texts_of_other_encodings_are_compared_in_the_order_of_utf8() {
    let Some(server) = server_with(&[]) else { return };
    for encoding in ["WIN1252", "SQL_ASCII"] {
        let name = encoding.to_lowercase();
        server.psql(&format!("CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"));
    }
    // The euro sign is before the letter in this encoding, and behind it in UTF-8.
    let mut psql = server.psql_command();
    psql.args([
        "-d",
        "win1252",
        "-c",
        "CREATE TABLE t (k text PRIMARY KEY); INSERT INTO t VALUES (U&'\\20AC'), (U&'\\00E9'), ('z')",
    ]);
    assert!(psql.status().unwrap().success());
    let mut psql = server.psql_command();
    psql.args(["-d", "sql_ascii", "-c", "CREATE TABLE t (k text PRIMARY KEY)"]);
    assert!(psql.status().unwrap().success());
    let at = |database: &str| {
        let url = server.url_at(server.port(), "sslmode=disable");
        let source = Postgres::from_url(&url.replace("/postgres?", &format!("/{database}?"))).unwrap();
        source.check(&Relation::table("t"), &["k".to_owned()], &["k".to_owned()], None, &patient())
    };
    let mut check = at("win1252").unwrap();
    let bounds = [vec![Value::from("\u{e9}")], vec![Value::from("\u{20ac}")]];
    let sums = check.sums(&KeyRange::default(), &bounds, &patient()).unwrap();
    assert_eq!(sums.iter().map(|sum| sum.rows).collect::<Vec<_>>(), [1, 1, 1]);
    let rows: Vec<_> = check.fetch_keys(&bounds, &patient()).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(rows.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 2);
    let error = at("sql_ascii").unwrap_err();
    assert!(error.message().contains("SQL_ASCII"), "{error}");
}

#[test]
fn a_declared_encoding_of_xml_is_no_difference() {
    let Some(server) = server_with(&[]) else { return };
    server.psql(
        "CREATE TABLE documents (id int PRIMARY KEY, x xml); \
         INSERT INTO documents VALUES (1, '<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>b</a>'), (2, NULL)",
    );
    assert_alike(&server.source(), "documents");
}
