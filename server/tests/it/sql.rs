//! Answers are whole and right in every format, for one statement and for several.

use std::fs::File;
use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::ipc::reader::{FileReader, StreamReader};
use pillion::TableDefinition;

use crate::support::{Dir, MANY_ROWS, assert_same_rows, items, many, rows};

const ITEMS: &str = "SELECT * FROM items ORDER BY id";

#[test]
fn a_table_is_aligned_and_says_how_many_rows() {
    let dir = Dir::new();
    let expected = " id | name                     | price | sold
----+--------------------------+-------+-------------------------
  1 | plain                    |   0.5 | 2013-01-01T10:00:00.123
  2 | with \"quotes\", a comma   | -1.25 | null
  3 | null                     |  null | 1970-01-01T00:00:00
  4 | two                      |  1e21 | 1970-01-01T00:00:00.001
    | lines                    |       |
  5 | Größe 漢字 \\u{1b}[31mred |   3.0 | 1970-01-01T00:00:00.002
(5 rows)
";
    assert_eq!(dir.answer(&["sql", ITEMS]), expected);
    assert_eq!(dir.answer(&["sql", "SELECT id FROM items WHERE id = 2"]), " id\n----\n  2\n(1 row)\n");
    assert_eq!(dir.answer(&["sql", "SELECT id FROM items WHERE id > 9"]), " id\n----\n(0 rows)\n");
}

#[test]
fn a_long_table_is_written_whole_and_wide_cells_are_not_cut() {
    let dir = Dir::with_many();
    let wide = "SELECT CASE WHEN id = 1500 THEN repeat('x', 100) ELSE text END AS t FROM many ORDER BY id LIMIT 2000";
    let answer = dir.answer(&["sql", wide]);
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines.len(), 2 + 2000 + 1);
    assert_eq!(lines[2], " row 00000000000000000000000000");
    assert_eq!(lines[2 + 1500], format!(" {}", "x".repeat(100)));
    assert_eq!(lines[2 + 2000], "(2,000 rows)");
}

#[test]
fn csv_has_a_header_and_quotes_what_needs_it() {
    let dir = Dir::new();
    let expected = "\
id,name,price,sold
1,plain,0.5,2013-01-01T10:00:00.123
2,\"with \"\"quotes\"\", a comma\",-1.25,
3,,,1970-01-01T00:00:00
4,\"two
lines\",1e21,1970-01-01T00:00:00.001
5,Größe 漢字 \u{1b}[31mred,3.0,1970-01-01T00:00:00.002
";
    assert_eq!(dir.answer(&["sql", "--format", "csv", ITEMS]), expected);
    assert_eq!(dir.answer(&["sql", "--format", "csv", "SELECT id, name FROM items LIMIT 0"]), "id,name\n");
}

#[test]
fn json_has_one_object_per_row_with_its_nulls() {
    let dir = Dir::new();
    let answer = dir.answer(&["sql", "--format", "json", ITEMS]);
    let rows: Vec<serde_json::Value> = answer.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(rows.len(), 5);
    assert_eq!(
        rows[2],
        serde_json::json!({"id": 3, "name": null, "price": null, "sold": "1970-01-01T00:00:00"})
    );
    assert_eq!(rows[3]["name"], "two\nlines");
    assert_eq!(rows[3]["price"], 1e21);
}

#[test]
fn an_arrow_stream_reads_back_with_its_types() {
    let dir = Dir::with_many();
    let answer = dir.run(&["sql", "--format", "arrow", "SELECT * FROM many ORDER BY id"]);
    assert_eq!((answer.code, answer.errors.as_str()), (0, ""));
    let reader = StreamReader::try_new(Cursor::new(answer.bytes), None).unwrap();
    let schema = reader.schema();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert!(batches.len() > 1, "written as it came, not as one batch");
    assert_same_rows(&concat_batches(&schema, &batches).unwrap(), &many());
}

#[test]
fn a_file_has_the_format_of_its_ending() {
    let dir = Dir::new();
    for name in ["a.csv", "a.json", "a.txt", "a.arrows", "a.arrow", "a.parquet"] {
        assert_eq!(dir.answer(&["sql", "--output", name, ITEMS]), "");
    }
    let direct = |format| dir.answer(&["sql", "--format", format, ITEMS]);
    let written = |name| std::fs::read_to_string(dir.path(name)).unwrap();
    assert_eq!(written("a.csv"), direct("csv"));
    assert_eq!(written("a.json"), direct("json"));
    assert_eq!(written("a.txt"), direct("table"));

    let stream = StreamReader::try_new(File::open(dir.path("a.arrows")).unwrap(), None).unwrap();
    let file = FileReader::try_new(File::open(dir.path("a.arrow")).unwrap(), None).unwrap();
    for batch in [stream.map(Result::unwrap).next(), file.map(Result::unwrap).next()] {
        assert_same_rows(&batch.unwrap(), &items());
    }
    let parquet = dir.path("a.parquet").to_str().unwrap().to_owned();
    let cache = dir.open();
    cache.define_table("again", TableDefinition::parquet(parquet)).unwrap();
    assert_same_rows(&rows(&cache, "again"), &items());
    assert_eq!(dir.files(), ["a.arrow", "a.arrows", "a.csv", "a.json", "a.parquet", "a.txt"]);
}

#[test]
fn several_statements_answer_one_after_another() {
    let dir = Dir::new();
    let twice = ["SELECT 1 AS a; SELECT 2 AS b", "SELECT 3 AS c;"];
    let run = |format| dir.answer(&["sql", "--format", format, twice[0], twice[1]]);
    assert_eq!(run("csv"), "a\n1\n\nb\n2\n\nc\n3\n");
    assert_eq!(run("json"), "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n");
    assert_eq!(run("table"), " a\n---\n 1\n(1 row)\n b\n---\n 2\n(1 row)\n c\n---\n 3\n(1 row)\n");

    let streams = dir.run(&["sql", "--format", "arrow", twice[0]]).bytes;
    let mut input = Cursor::new(streams);
    for (name, value) in [("a", 1), ("b", 2)] {
        let batches: Vec<RecordBatch> =
            StreamReader::try_new(&mut input, None).unwrap().map(Result::unwrap).collect();
        let expected: arrow::array::ArrayRef =
            std::sync::Arc::new(arrow::array::Int64Array::from(vec![value]));
        assert_eq!(batches, [RecordBatch::try_from_iter([(name, expected)]).unwrap()]);
    }
}

#[test]
fn a_format_that_holds_one_answer_takes_one_statement() {
    let dir = Dir::new();
    for format in ["feather", "parquet"] {
        let arguments = ["sql", "--format", format, "--output", "two"];
        let two = [&arguments[..], &["SELECT 1; SELECT 2"]].concat();
        dir.run(&two).fails(2, &["holds one answer", "hint: "]);
        dir.pipe(&arguments, "SELECT 1; SELECT 2").fails(2, &["holds one answer"]);
    }
    assert_eq!(dir.files(), [""; 0], "nothing was written");
}

#[test]
fn parameters_have_the_type_that_the_statement_needs() {
    let dir = Dir::new();
    let ask = |condition: &str, parameters: &[&str]| {
        let statement = format!("SELECT id FROM items WHERE {condition} ORDER BY id");
        let mut arguments = vec!["sql", "--format", "json"];
        for parameter in parameters {
            arguments.extend(["--param", parameter]);
        }
        arguments.push(&statement);
        dir.answer(&arguments)
    };
    assert_eq!(ask("id = $1", &["2"]), "{\"id\":2}\n");
    assert_eq!(ask("price = $1", &["-1.25"]), "{\"id\":2}\n");
    assert_eq!(ask("price = $1", &["3"]), "{\"id\":5}\n", "an integer where a number is expected");
    assert_eq!(ask("sold = $1", &["2013-01-01T10:00:00.123"]), "{\"id\":1}\n");
    assert_eq!(ask("name = $2 AND id = $1", &["1", "plain"]), "{\"id\":1}\n");
    assert_eq!(ask("name = $1", &["two\nlines"]), "{\"id\":4}\n");
    assert_eq!(ask("name = $1", &["plain' OR 'a' = 'a"]), "", "a value is never SQL");
    assert_eq!(ask("name IS NOT DISTINCT FROM $1", &[r"\N"]), "{\"id\":3}\n", "null");
    assert_eq!(ask("price = $1", &[r"\N"]), "", "nothing equals null");
    assert_eq!(ask("id = coalesce($1, $2)", &[r"\N", "2"]), "{\"id\":2}\n");

    let free = ["--param", "007", "--param", "7", "--param", "-7.5", "--param", "1e3"];
    let arguments =
        [&["sql", "--format", "json"][..], &free, &["SELECT $1 AS a, $2 AS b, $3 AS c, $4 AS d"]].concat();
    assert_eq!(dir.answer(&arguments), "{\"a\":\"007\",\"b\":7,\"c\":-7.5,\"d\":\"1e3\"}\n");
}

#[test]
fn a_text_column_is_compared_with_the_digits_that_were_given() {
    let dir = Dir::empty();
    let cache = dir.open();
    let codes = dir.write("codes.csv", "code,n\na,0\n007,1\n7,2\n1.50,3\n1.5,4\n");
    cache.define_table("codes", TableDefinition::csv(codes.to_str().unwrap())).unwrap();
    cache.close().unwrap();
    for (code, n) in [("007", 1), ("7", 2), ("1.50", 3), ("1.5", 4)] {
        let answer =
            dir.answer(&["sql", "--format", "csv", "--param", code, "SELECT n FROM codes WHERE code = $1"]);
        assert_eq!(answer, format!("n\n{n}\n"), "{code}");
    }
}

#[test]
fn a_file_is_replaced_only_by_a_whole_answer() {
    let dir = Dir::with_many();
    let output = |statement| dir.run(&["sql", "--output", "a.csv", statement]);
    assert_eq!(output("SELECT 1 AS a").code, 0);
    // Fails on the last of many rows, after others were written.
    let fails =
        format!("SELECT CASE WHEN id < {} THEN 1 ELSE CAST(text AS INT) END FROM many", MANY_ROWS - 1);
    output(&fails).fails(1, &[]);
    assert_eq!(std::fs::read_to_string(dir.path("a.csv")).unwrap(), "a\n1\n");
    assert_eq!(dir.files(), ["a.csv"]);
    assert_eq!(output("SELECT 2 AS a").code, 0);
    assert_eq!(std::fs::read_to_string(dir.path("a.csv")).unwrap(), "a\n2\n");
}

#[test]
fn what_a_format_cannot_hold_is_said() {
    let dir = Dir::new();
    dir.run(&["sql", "--format", "csv", "SELECT array_agg(id) AS list FROM items"])
        .fails(1, &["cannot be written", "CSV", "hint: "]);
}

#[test]
fn statements_change_tables() {
    let dir = Dir::new();
    let create = "CREATE TABLE notes (id BIGINT PRIMARY KEY, note VARCHAR)";
    let insert = "INSERT INTO notes SELECT id, name FROM items WHERE id < 4";
    let update = "UPDATE notes SET note = note || '!' WHERE id = 2";
    let select = "SELECT id, note LIKE '%!' AS loud FROM notes ORDER BY id";
    let answer = dir.answer(&["sql", "--format", "csv", create, insert, update, select]);
    assert_eq!(answer, "id,loud\n1,false\n2,true\n3,\n");
    // From a pipe, and with nothing but changes.
    let script = "DELETE FROM notes WHERE id = 1;\nDELETE FROM notes WHERE id = 2";
    assert_eq!(dir.pipe(&["sql"], script).answer(), "");
    assert_eq!(dir.answer(&["sql", "--format", "csv", "SELECT id FROM notes"]), "id\n3\n");
    dir.answer(&["sql", "--param", "3", "--param", "changed", "UPDATE notes SET note = $2 WHERE id = $1"]);
    assert_eq!(dir.answer(&["sql", "--format", "csv", "SELECT note FROM notes"]), "note\nchanged\n");
    dir.run(&["sql", "--output", "notes.csv", "DROP TABLE notes"]).fails(2, &["no answer for a file"]);
    dir.run(&["sql", "INSERT INTO notes VALUES (3, 'x')"]).fails(1, &["primary key", "id=3"]);
    assert_eq!(dir.answer(&["sql", "--format", "csv", "SELECT count(*) AS n FROM notes"]), "n\n1\n");
}

#[test]
fn statements_make_a_cache() {
    let dir = Dir::new();
    let url = dir.path("new").to_str().unwrap().to_owned();
    let statements = ["CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1), (2)", "SELECT sum(a) AS s FROM t"];
    let mut arguments = vec!["sql", "--url", &url, "--format", "csv"];
    arguments.extend(statements);
    assert_eq!(dir.answer(&arguments), "s\n3\n");
}
