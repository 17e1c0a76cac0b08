//! Files go into a table together or not at all.

use std::fs::File;

use arrow::ipc::writer::{FileWriter, StreamWriter};
use pillion::{Cache, ErrorCode};

use crate::support::{Dir, assert_same_rows, items, many, rows, write_parquet};

/// Opens the cache as another process sees it.
fn read(dir: &Dir) -> Cache {
    Cache::open_read_only(dir.cache()).unwrap()
}

#[test]
fn a_table_is_defined_with_its_key_and_order() {
    let dir = Dir::empty();
    write_parquet(&dir.path("items.parquet"), &items());
    assert_eq!(dir.answer(&["load", "items", "items.parquet", "--primary-key", "id"]), "");
    let arguments = ["load", "other", "items.parquet", "--primary-key", "sold,id", "--sort-by", "name"];
    dir.run(&arguments).fails(1, &["row 2 has no value in `sold`"]);
    let arguments = ["load", "other", "items.parquet", "--primary-key", "id", "--sort-by", "name,price"];
    assert_eq!(dir.answer(&arguments), "");
    let cache = read(&dir);
    assert_same_rows(&rows(&cache, "items"), &items());
    let row = cache.table("items").unwrap().get(2).unwrap().unwrap();
    assert_eq!(row.get::<&str>("name").unwrap(), "with \"quotes\", a comma");
    let other = cache.table("other").unwrap().info().unwrap();
    assert_eq!(
        (other.rules.primary_key, other.rules.sort_by),
        (vec!["id".to_owned()], vec!["name".to_owned(), "price".to_owned()])
    );
}

#[test]
fn every_format_gives_the_same_rows() {
    let dir = Dir::empty();
    let batch = items();
    write_parquet(&dir.path("items.parquet"), &batch);
    let mut stream =
        StreamWriter::try_new(File::create(dir.path("items.arrows")).unwrap(), &batch.schema()).unwrap();
    stream.write(&batch).unwrap();
    stream.finish().unwrap();
    let mut file =
        FileWriter::try_new(File::create(dir.path("items.feather")).unwrap(), &batch.schema()).unwrap();
    file.write(&batch).unwrap();
    file.finish().unwrap();
    for (table, file) in [("a", "items.parquet"), ("b", "items.arrows"), ("c", "items.feather")] {
        assert_eq!(dir.answer(&["load", table, file]), "");
        assert_same_rows(&rows(&read(&dir), table), &batch);
    }
    // pillion loads the CSV that it wrote into a table of the same types.
    dir.answer(&["export", "a", "--output", "items.csv"]);
    assert_eq!(dir.answer(&["load", "a", "items.csv", "--replace"]), "");
    assert_same_rows(&rows(&read(&dir), "a"), &batch);
}

#[test]
fn csv_types_are_inferred_and_an_empty_field_is_null() {
    let dir = Dir::empty();
    dir.write("a.csv", "id,price,name,day\n1,1,x,2024-02-29\n2,,,\n3,2.5,z,2024-03-01\n");
    dir.answer(&["load", "a", "a.csv", "--primary-key", "id"]);
    let expected = "\
{\"id\":1,\"price\":1.0,\"name\":\"x\",\"day\":\"2024-02-29\"}
{\"id\":2,\"price\":null,\"name\":null,\"day\":null}
{\"id\":3,\"price\":2.5,\"name\":\"z\",\"day\":\"2024-03-01\"}
";
    assert_eq!(dir.answer(&["sql", "--format", "json", "SELECT * FROM a ORDER BY id"]), expected);
}

#[test]
fn several_files_are_one_commit() {
    let dir = Dir::new();
    let before = read(&dir).version().unwrap().sequence;
    dir.write("1.csv", "id,name\n1,a\n2,b\n");
    dir.write("2.csv", "name,id\nc,3\n");
    dir.write("3.csv", "id,name\n4,007\n");
    assert_eq!(dir.answer(&["load", "letters", "1.csv", "2.csv", "3.csv", "--primary-key", "id"]), "");
    let answer = dir.answer(&["sql", "--format", "csv", "SELECT id, name FROM letters ORDER BY id"]);
    assert_eq!(answer, "id,name\n1,a\n2,b\n3,c\n4,007\n");
    assert_eq!(read(&dir).version().unwrap().sequence, before + 1);
}

#[test]
fn rows_are_appended_and_replaced_with_the_types_of_the_table() {
    let dir = Dir::new();
    // Without the table's types, the price would be an integer, the name a number, and the order wrong.
    dir.write("more.csv", "name,id,sold,price\n123,6,2020-01-01T00:00:00,7\n");
    assert_eq!(dir.answer(&["load", "items", "more.csv", "--append"]), "");
    let ask = "SELECT * FROM items WHERE id = 6";
    let row = "{\"id\":6,\"name\":\"123\",\"price\":7.0,\"sold\":\"2020-01-01T00:00:00\"}\n";
    assert_eq!(dir.answer(&["sql", "--format", "json", ask]), row);
    assert_eq!(rows(&read(&dir), "items").num_rows(), 6);
    assert_eq!(dir.answer(&["load", "items", "more.csv", "--replace"]), "");
    assert_eq!(dir.answer(&["sql", "--format", "json", "SELECT * FROM items"]), row);
}

#[test]
fn a_load_that_fails_changes_nothing() {
    let dir = Dir::new();
    let good = "id,name,price,sold\n6,x,1,2020-01-01T00:00:00\n";
    dir.write("good.csv", good);
    dir.write("again.csv", good.replace('6', "2"));
    dir.write("text.csv", good.replace('6', "six"));
    dir.write("column.csv", good.replace("price", "prise"));
    dir.write("short.csv", "id,name\n6,x\n");
    dir.write("damaged.parquet", "PAR1 but no more than that PAR1");
    dir.write("rows.dat", good);
    dir.write("rows.pqt", good);
    let cases: [(&[&str], i32, &[&str]); 14] = [
        (&["good.csv", "again.csv", "--append"], 1, &["id=2"]),
        (&["good.csv", "good.csv", "--replace"], 1, &["id=6"]),
        (&["good.csv", "text.csv", "--append"], 1, &["`text.csv`, line 2", "column `id`", "`six`"]),
        (&["good.csv", "column.csv", "--append"], 1, &["`column.csv` has other columns", "prise", "price"]),
        (&["short.csv", "--append"], 1, &["`short.csv` has other columns", "`price` is missing"]),
        (&["damaged.parquet", "--append"], 1, &["`damaged.parquet` is damaged"]),
        (&["good.csv", "missing.csv", "--append"], 3, &["`missing.csv`", "No such file"]),
        (&["good.csv", "no-*.csv", "--append"], 3, &["no file matches `no-*.csv`"]),
        (&["rows.dat", "--append"], 2, &["`rows.dat` names no format", "there are arrow"]),
        (&["rows.pqt", "--append"], 2, &["`rows.pqt` names no format; did you mean `pq`?"]),
        (&["good.csv", "--append", "--delimiter", "ab"], 2, &["`delimiter`", "`ab`"]),
        (&["good.csv", "--append", "--type", "id=strnig"], 2, &["`strnig` is not a type", "`id`"]),
        (&["good.csv", "--append", "--type", "di=Int64"], 1, &["`di`", "did you mean `id`?"]),
        (&["good.csv"], 1, &["`items` exists", "--replace", "--append"]),
    ];
    let before = read(&dir).version().unwrap().sequence;
    for (arguments, code, texts) in cases {
        dir.run(&[&["load", "items"], arguments].concat()).fails(code, texts);
    }
    dir.run(&["load", "itms", "good.csv", "--append"]).fails(3, &["did you mean `items`?"]);
    dir.run(&["load", "new", "good.csv", "--primary-key", "di"]).fails(1, &["`di`", "did you mean `id`?"]);
    let cache = read(&dir);
    assert_same_rows(&rows(&cache, "items"), &items());
    assert_eq!(cache.version().unwrap().sequence, before);
    assert_eq!(cache.table("new").unwrap_err().code(), ErrorCode::TableNotFound);
}

#[test]
fn a_pattern_in_quotes_names_files_in_the_order_of_their_names() {
    let dir = Dir::empty();
    for day in ["2", "10", "1"] {
        dir.write(&format!("day-{day}.csv"), format!("day\n{day}\n"));
    }
    dir.write("day-[1].csv", "day\n4\n");
    assert_eq!(dir.answer(&["load", "days", "day-?.csv"]), "");
    assert_eq!(dir.answer(&["load", "days", "day-1*.csv", "day-[1].csv", "--append"]), "");
    let answer = dir.answer(&["sql", "--format", "csv", "SELECT day FROM days ORDER BY day"]);
    assert_eq!(answer, "day\n1\n1\n2\n4\n10\n");
}

#[test]
fn files_are_read_as_the_arguments_say() {
    let dir = Dir::empty();
    dir.write("odd.dat", "007|'a|b'|NA\n8|c|2.50\n");
    let arguments =
        ["load", "odd", "odd.dat", "--format", "csv", "--delimiter", "|", "--no-header", "--null", "NA,-"];
    let more = ["--quote", "'", "--type", "column_3=Decimal(10,2)", "--type", "column_1=Utf8"];
    assert_eq!(dir.answer(&[&arguments[..], &more].concat()), "");
    let answer = dir.answer(&["sql", "--format", "csv", "SELECT * FROM odd ORDER BY column_1"]);
    assert_eq!(answer, "column_1,column_2,column_3\n007,a|b,\n8,c,2.50\n");
    dir.write("rows.ndjson", "{\"id\": 1, \"a\": \"x\"}\n{\"b\": 2.5, \"id\": 2}\n");
    assert_eq!(dir.answer(&["load", "objects", "rows.ndjson"]), "");
    let answer = dir.answer(&["sql", "--format", "csv", "SELECT id, a, b FROM objects ORDER BY id"]);
    assert_eq!(answer, "id,a,b\n1,x,\n2,,2.5\n");
    std::fs::create_dir(dir.path("year=2013")).unwrap();
    dir.write("year=2013/a.tsv", "id\tname\n1\tx\n");
    assert_eq!(dir.answer(&["load", "folders", "*/*.tsv"]), "");
    assert_eq!(dir.answer(&["load", "plain", "*/*.tsv", "--no-hive"]), "");
    assert_eq!(dir.answer(&["sql", "--format", "csv", "SELECT * FROM folders"]), "id,name,year\n1,x,2013\n");
    assert_eq!(dir.answer(&["sql", "--format", "csv", "SELECT * FROM plain"]), "id,name\n1,x\n");
}

#[test]
fn what_is_exported_loads_again() {
    let dir = Dir::with_many();
    for format in ["parquet", "arrow", "arrows", "feather", "csv"] {
        let file = format!("many.{format}");
        dir.answer(&["export", "many", "--output", &file]);
        dir.answer(&["load", format, &file, "--primary-key", "id"]);
        assert_same_rows(&rows(&read(&dir), format), &many());
    }
}

#[test]
fn a_slip_of_the_finger_creates_no_cache() {
    let dir = Dir::empty();
    dir.run(&["load", "items", "missing.parquet"]).fails(3, &["missing.parquet"]);
    dir.write("a.csv", "id\n1\n");
    dir.run(&["load", "items", "a.csv", "missing.csv"]).fails(3, &["missing.csv"]);
    dir.run(&["load", "items", "a.csv", "--append"]).fails(3, &["hint: "]);
    dir.run(&["load", "items", "a.csv", "--replace"]).fails(3, &["hint: "]);
    assert!(!dir.cache().exists());
}
