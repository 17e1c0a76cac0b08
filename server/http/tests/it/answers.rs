//! Answers are those of the library, in each format, and say what they are.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use pillion::texts::CsvEncoder;
use serde_json::{Value, json};

use crate::support::{MANY_ROWS, Reply, Served, report};

const ARROW: &str = "application/vnd.apache.arrow.stream";

fn decoded(bytes: &[u8]) -> RecordBatch {
    let reader = StreamReader::try_new(bytes, None).unwrap();
    let schema = reader.schema();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn own(served: &Served, statement: &str) -> RecordBatch {
    served.cache.sql(statement, &[]).unwrap().concat().unwrap()
}

#[test]
fn every_format_has_the_rows_of_the_library() {
    let served = Served::open();
    for statement in [
        "SELECT * FROM items ORDER BY id",
        "SELECT * FROM items WHERE id = 2",
        "SELECT * FROM items WHERE id > 99",
        "SELECT count(*) AS n, NULL AS nothing, 'a' || name AS text FROM items GROUP BY name ORDER BY name",
        "EXPLAIN SELECT 1",
    ] {
        let own = own(&served, statement);
        let arrow = served.sql(statement, ARROW);
        assert_eq!(arrow.header("content-type"), ARROW);
        assert_eq!(decoded(&arrow.body), own, "{statement}");
        let csv = served.sql(statement, "text/csv");
        let mut expected = Vec::new();
        let mut encoder = CsvEncoder::new(own.schema_ref(), &mut expected).unwrap();
        encoder.write(&own, &mut expected).unwrap();
        assert_eq!(csv.text().as_bytes(), expected, "{statement}");
        let json = served.sql(statement, "application/json").json();
        let rows = json.as_array().unwrap();
        assert_eq!(rows.len(), own.num_rows(), "{statement}");
        let lines = served.sql(statement, "application/x-ndjson");
        let lines: Vec<Value> =
            lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(&lines, rows, "{statement}");
        let names: Vec<&str> = own.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        for row in rows {
            let members: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
            assert!(names.iter().all(|name| members.contains(name)), "nulls are members too: {members:?}");
        }
    }
    let rows = served.sql("SELECT * FROM items ORDER BY id", "*/*");
    assert_eq!(rows.json()[0]["raw"], "00ff");
    // All digits are there, which a reader that makes floats of numbers loses by itself.
    for digits in ["18446744073709551615", "999999999999999.99", "2013-01-01T10:00:00.123456"] {
        assert!(rows.text().contains(digits), "{}", rows.text());
    }
}

#[test]
fn parameters_are_values_of_their_types() {
    let served = Served::open();
    let query = |statement: &str, params: Value| {
        let body = json!({ "statement": statement, "params": params }).to_string();
        served.send("POST", "/v1/sql", &[("content-type", "application/json")], body)
    };
    let ids = |statement: &str, params: Value| {
        let rows = query(statement, params).json();
        rows.as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("SELECT id FROM items WHERE id = $1", json!([4])), [4]);
    assert_eq!(ids("SELECT id FROM items WHERE name = $1 AND id < $2", json!(["two\nlines", 5])), [4]);
    assert_eq!(ids("SELECT id FROM items WHERE price < $1", json!([0.25])), [2, 5]);
    assert_eq!(ids("SELECT id FROM items WHERE exact = $1", json!([{ "decimal": "1.23" }])), [1]);
    assert_eq!(ids("SELECT id FROM items WHERE large = $1", json!([u64::MAX])), [1]);
    assert_eq!(ids("SELECT id FROM items WHERE day = $1", json!(["2013-01-01"])), [1]);
    assert_eq!(ids("SELECT id FROM items WHERE sold = $1", json!(["2013-01-01T10:00:00.123456"])), [1]);
    assert_eq!(ids("SELECT id FROM items WHERE raw = $1", json!([{ "bytes": "00ff" }])), [1]);
    assert_eq!(ids("SELECT id FROM items WHERE $1", json!([true])).len(), 5);
    assert_eq!(query("SELECT $1 AS nothing", json!([null])).json(), json!([{ "nothing": null }]));
    query("SELECT $1", json!([])).problem(400, "InvalidParameter", "takes 1 parameters");
    query("SELECT 1", json!([1])).problem(400, "InvalidParameter", "takes 0 parameters");
    query("SELECT $1", json!([[1]])).problem(400, "InvalidParameter", "$1");
}

#[test]
fn every_answer_says_what_it_is() {
    let served = Served::open();
    let version = served.cache.version().unwrap().to_string();
    let as_of = served.cache.table("items").unwrap().info().unwrap().freshness.unwrap().as_of;
    let as_of = as_of.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() % 1_000_000;
    let says = |reply: &Reply, is_read: bool| {
        assert_eq!(reply.header("pillion-version"), version, "{reply:?}");
        assert_eq!((reply.header("pillion-tier"), reply.header("pillion-way")), ("local", "embedded"));
        assert_eq!(reply.headers.contains_key("pillion-as-of"), is_read, "{reply:?}");
        assert_eq!(reply.headers.contains_key("pillion-age"), is_read);
        if is_read {
            let age: f64 = reply.header("pillion-age").parse().unwrap();
            assert!(age >= 0.0);
        }
    };
    let row = served.get("/v1/tables/items/1");
    says(&row, true);
    assert!(row.header("pillion-as-of").ends_with(&format!(".{as_of:06}Z")), "{row:?}");
    says(&served.sql("SELECT * FROM items", "text/csv"), true);
    says(&served.sql("SELECT 1", "text/csv"), false);
    says(&served.get("/v1/tables"), true);
    says(&served.get("/v1/tables/items"), true);
    says(&served.get("/v1/tables/items/99"), true);
    says(&served.get("/v1/status"), true);
    says(&served.get("/v1/openapi.json"), false);
    says(&served.get("/v1/nothing"), false);
    says(&served.sql("SELECT nothing FROM items", "*/*"), false);
}

#[test]
fn mistakes_are_told_with_code_and_hint() {
    let served = Served::open();
    let sql = |statement: &str| served.sql(statement, "*/*");
    let problem = sql("SELECT * FROM itms").problem(404, "TableNotFound", "did you mean `items`?");
    assert_eq!((problem["code"].as_u64(), problem["kind"].as_str()), (Some(101), Some("request")));
    assert_eq!(problem["hint"], "GET /v1/tables lists the tables");
    sql("SELECT nme FROM items").problem(400, "ColumnNotFound", "name");
    sql("SELEC 1").problem(400, "InvalidSql", "SELEC");
    sql("").problem(400, "InvalidSql", "");
    sql("SELECT 1; SELECT 2").problem(400, "Unsupported", "");
    sql("DROP TABLE items").problem(400, "Unsupported", "PUT, DELETE");
    sql("SELECT 1 / 0").problem(400, "Execution", "ivide");
    let twice = "SELECT * FROM items a JOIN items b ON a.id = b.id";
    sql(twice).problem(400, "InvalidSql", "two columns are called `id`");
    assert_eq!(served.sql(twice, ARROW).status, 200);
    served.sql("SELECT 1", "text/html").problem(406, "NotAcceptable", "text/csv");
    served.sql("SELECT array_agg(id) FROM items", "text/csv").problem(
        400,
        "UnsupportedType",
        "has no form in CSV",
    );
    let typed = |media_type: &str, body: &str| {
        served.send("POST", "/v1/sql", &[("content-type", media_type)], body.to_owned())
    };
    typed("application/x-www-form-urlencoded", "SELECT 1").problem(415, "UnsupportedMediaType", "text/plain");
    typed("application/json", "SELECT 1").problem(400, "InvalidBody", "statement");
    typed("application/json", "{\"statement\":\"SELECT 1\",\"parameters\":[]}").problem(
        400,
        "InvalidBody",
        "parameters",
    );
    typed("text/plain", "SELECT '\u{0}'").json();
    let compressed = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    served.send("POST", "/v1/sql", &compressed, "x").problem(415, "UnsupportedEncoding", "");
    served.get("/v1/sql").problem(405, "WrongMethod", "GET");
    served.get("/v1/tables/items?x=1").problem(400, "UnknownArgument", "`x`");
    served.get("/").problem(404, "UnknownAddress", "openapi");
}

#[test]
fn long_answers_are_streamed_and_broken_ones_never_look_whole() {
    let served = Served::open();
    served.define_many();
    let count = |reply: &Reply| reply.text().lines().count();
    let whole = served.sql("SELECT * FROM many", "application/x-ndjson");
    assert_eq!((whole.is_whole, count(&whole)), (true, usize::try_from(MANY_ROWS).unwrap()));
    assert!(!whole.headers.contains_key("content-length"));
    let all = decoded(&served.sql("SELECT id FROM many ORDER BY id", ARROW).body);
    assert!(all["id"].as_primitive::<Int64Type>().values().iter().copied().eq(0..MANY_ROWS));
    // The last rows fail, after others were sent.
    let failing = format!("SELECT text, 1 / ({} - id) AS x FROM many", MANY_ROWS - 1);
    for accept in ["application/json", "application/x-ndjson", "text/csv", ARROW] {
        let reply = served.sql(&failing, accept);
        assert!(
            reply.status == 400 || (reply.status == 200 && !reply.is_whole),
            "{accept}: {}",
            reply.status
        );
        if reply.status == 200 {
            assert!(!reply.body.is_empty());
            assert!(serde_json::from_slice::<Value>(&reply.body).is_err());
        }
    }
    let broken = served.sql(&failing, "application/x-ndjson");
    assert_eq!((broken.status, broken.is_whole), (200, false), "at least this one began");
}

/// A Python that has pyarrow.
fn python() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")), PathBuf::from);
    let named = std::env::var_os("PILLION_TEST_PYTHON").map(PathBuf::from);
    let candidates = [named, Some(target.join("oracle-venv/bin/python")), Some(PathBuf::from("python3"))];
    candidates.into_iter().flatten().find(|python| {
        let done = Command::new(python).args(["-c", "import pyarrow.json, pyarrow.csv"]).output();
        done.is_ok_and(|done| done.status.success())
    })
}

/// Reads the three texts of an answer, and says whether their values are those of its Arrow stream.
const COMPARED: &str = r#"
import csv, io, json, sys
import pyarrow.ipc
parts = sys.stdin.buffer.read().split(b"\n--part--\n")
table = pyarrow.ipc.open_stream(parts[0]).read_all()
def shown(value):
    return None if value is None else value.hex() if isinstance(value, bytes) else value
expected = [{name: shown(value) for name, value in row.items()} for row in table.to_pylist()]
def same(found, wanted):
    if found is None or wanted is None:
        return found is wanted
    if hasattr(wanted, "isoformat"):
        return type(wanted).fromisoformat(str(found)) == wanted
    return type(wanted)(str(found)) == wanted if not isinstance(wanted, str) else found == wanted
as_list = json.loads(parts[1], parse_float=str, parse_int=str)
as_lines = [json.loads(line, parse_float=str, parse_int=str) for line in parts[2].decode().splitlines()]
as_csv = list(csv.DictReader(io.StringIO(parts[3].decode(), newline="")))
assert len(expected) == len(as_list) == len(as_lines) == len(as_csv), "rows"
for wanted, one, two, three in zip(expected, as_list, as_lines, as_csv):
    for name, value in wanted.items():
        assert same(one[name], value) and same(two[name], value), (name, value, one[name], two[name])
        # This reader of CSV takes an empty text for a null.
        assert same(three[name], value) if value not in (None, "") else three[name] == "", (name, value, three[name])
print(len(expected) * len(table.column_names))
"#;

#[test]
fn pyarrow_reads_the_same_values_in_every_format() {
    let Some(python) = python() else {
        return report::not_run("no Python with pyarrow to read answers of the HTTP door with");
    };
    let served = Served::open();
    let statement = "SELECT * FROM items ORDER BY id";
    let bodies = [ARROW, "application/json", "application/x-ndjson", "text/csv"]
        .map(|accept| served.sql(statement, accept).body);
    let mut child = Command::new(python)
        .args(["-c", COMPARED])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&bodies.join(&b"\n--part--\n"[..])).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "40");
    report::add(format_args!("values of the HTTP door compared with pyarrow: 120"));
}

#[test]
fn moments_that_no_text_stands_for_are_errors_and_no_text() {
    let served = Served::open();
    for value in [
        "arrow_cast(2147483647, 'Date32')",
        "arrow_cast(9223372036854775807, 'Timestamp(Second, None)')",
        "array_agg(arrow_cast(2147483647, 'Date32'))",
    ] {
        for accept in ["application/json", "application/x-ndjson", "text/csv"] {
            let reply = served.sql(&format!("SELECT {value} AS x"), accept);
            assert_eq!(reply.status, 400, "{value} as {accept}: {}", reply.text());
            assert!(!reply.text().contains("ERROR"), "{}", reply.text());
        }
        let json = served.sql(&format!("SELECT {value} AS x"), "application/json");
        json.problem(400, "Execution", "no text of ISO 8601 stands for");
        let arrow = served.sql(&format!("SELECT {value} AS x"), ARROW);
        assert_eq!(decoded(&arrow.body).num_rows(), 1);
    }
}

#[test]
fn statements_that_change_something_are_refused_before_they_are_planned() {
    let served = Served::open();
    let before = served.cache.version().unwrap();
    for statement in [
        "INSERT INTO items (id) VALUES (99)",
        "-- a comment\n delete from items",
        "/* another */ UPDATE items SET name = 'x'",
        "DROP TABLE items",
        "CREATE TABLE other (id BIGINT)",
        // What is not even planned is not found wrong either.
        "INSERT INTO nothing VALUES (",
    ] {
        let refused = served.sql(statement, "*/*").problem(400, "Unsupported", "statements that read");
        assert!(refused["hint"].as_str().unwrap().contains("PUT, DELETE"), "{refused}");
    }
    assert_eq!(served.cache.version().unwrap(), before);
    assert_eq!(served.cache.tables().unwrap().len(), 2);
}
