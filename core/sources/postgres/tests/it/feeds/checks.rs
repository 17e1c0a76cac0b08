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
    let mut check = source.check(&relation, &columns, &["id".to_owned()], &patient()).unwrap();
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
    server.psql("ALTER TABLE random ALTER na TYPE numeric(5,4)[]");
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
    let check = source.check(&Relation::table("near"), &columns, &["a".to_owned()], &patient()).unwrap();
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
        source.check(&Relation::table("floats"), &columns, &[key.to_owned()], &patient()).map(drop)
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
