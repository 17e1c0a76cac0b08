//! Many rows in one commit, and none of a body that does not come whole.

use std::io::Write;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;

use crate::support::{Reply, Served, items, read_all, soon};

const ROWS: &str = "/v1/tables/items/rows";
/// The columns of the table.
const COLUMNS: &str = "id,name,price,exact,large,day,sold,raw\n";
const ARROW: &str = "application/vnd.apache.arrow.stream";

fn post(served: &Served, query: &str, media_type: &str, body: impl Into<bytes::Bytes>) -> Reply {
    served.send("POST", &format!("{ROWS}?{query}"), &[("content-type", media_type)], body)
}

fn encoded(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn rows(served: &Served) -> u64 {
    served.cache.table("items").unwrap().info().unwrap().rows
}

fn name(served: &Served, id: i64) -> String {
    served.cache.table("items").unwrap().get(id).unwrap().unwrap().get::<String>("name").unwrap()
}

#[test]
fn rows_come_in_every_format_and_mode() {
    let served = Served::open();
    let version =
        post(&served, "mode=append", "text/csv", format!("{COLUMNS}6,six,,,,,,\n7,\"se,ven\",,,,,,\n"))
            .json();
    assert_eq!(version["version"], served.cache.version().unwrap().to_string());
    assert_eq!((rows(&served), name(&served, 7)), (7, "se,ven".to_owned()));
    let lines = "{\"id\":8,\"name\":\"eight\"}\n{\"name\":\"SIX\",\"id\":6}\n";
    post(&served, "mode=upsert", "application/x-ndjson", lines).json();
    assert_eq!((rows(&served), name(&served, 6)), (8, "SIX".to_owned()));
    let list = "[\n  {\"id\": 9,\n   \"name\": \"[{nine\\\"}]\"},\n  {\"id\": 10}\n]";
    post(&served, "mode=append", "application/json", list).json();
    assert_eq!((rows(&served), name(&served, 9)), (10, "[{nine\"}]".to_owned()));
    post(&served, "mode=upsert", "application/json", "{\"id\": 9, \"name\": \"one\"}").json();
    assert_eq!((rows(&served), name(&served, 9)), (10, "one".to_owned()));
    post(&served, "mode=replace", ARROW, encoded(&items())).json();
    assert_eq!(rows(&served), 5);
    let all = served.cache.sql("SELECT * FROM items ORDER BY id", &[]).unwrap().concat().unwrap();
    assert_eq!(all.columns(), items().columns());
    post(
        &served,
        "mode=append&delimiter=%3B&null=NA&header=on",
        "text/csv; charset=utf-8",
        COLUMNS.replace(',', ";") + "11;NA;;;;;;\n",
    )
    .json();
    assert!(
        served
            .cache
            .sql("SELECT 1 FROM items WHERE id = 11 AND name IS NULL", &[])
            .unwrap()
            .concat()
            .unwrap()
            .num_rows()
            == 1
    );
    // A whole answer goes back in as it came out.
    for (accept, media_type) in [("text/csv", "text/csv"), ("*/*", "application/json"), (ARROW, ARROW)] {
        let answer = served.sql("SELECT * FROM items ORDER BY id", accept);
        let before = served.cache.sql("SELECT * FROM items ORDER BY id", &[]).unwrap().concat().unwrap();
        post(&served, "mode=replace", media_type, answer.body).json();
        let after = served.cache.sql("SELECT * FROM items ORDER BY id", &[]).unwrap().concat().unwrap();
        assert_eq!(after, before, "{accept}");
    }
}

#[test]
fn what_does_not_fit_is_refused_as_a_whole() {
    let served = Served::open();
    let before = served.cache.version().unwrap();
    let lines = "application/x-ndjson";
    post(&served, "mode=append", "text/csv", format!("{COLUMNS}6,six,,,,,,\n1,one,,,,,,\n")).problem(
        409,
        "DuplicateKey",
        "mode=upsert",
    );
    let wrong = post(&served, "mode=append", "text/csv", format!("{COLUMNS}6,six,,,,,,\nseven,7,,,,,,\n"));
    wrong.problem(400, "SourceInvalid", "line 3");
    assert!(wrong.text().contains("the body") && !wrong.text().contains("/proc"), "{}", wrong.text());
    post(&served, "mode=append", "text/csv", COLUMNS.replace("name", "nme") + "6,six,,,,,,\n").problem(
        400,
        "SourceInvalid",
        "nme",
    );
    let lacking = post(&served, "mode=append", "text/csv", "id,name\n6,six\n").problem(
        400,
        "SourceInvalid",
        "`price` is missing",
    );
    assert_eq!(lacking["kind"], "request", "the client has to mend it");
    post(&served, "mode=append", lines, "{\"id\":null}\n").problem(400, "SourceInvalid", "has no nulls");
    post(&served, "mode=append", lines, "{\"id\":6\n").problem(400, "SourceInvalid", "line 1");
    post(&served, "mode=append", "application/json", "[{\"id\":6}").problem(
        400,
        "InvalidBody",
        "ends too early",
    );
    post(&served, "mode=append", "application/json", "[6]").problem(400, "InvalidBody", "list");
    post(&served, "mode=append", ARROW, "id,name\n").problem(400, "InvalidBody", "not a stream of Arrow");
    let stream = encoded(&items());
    post(&served, "mode=upsert", ARROW, stream[..stream.len() - 200].to_vec()).problem(
        400,
        "InvalidBody",
        "did not come",
    );
    post(&served, "mode=append", "application/parquet", "x").problem(415, "UnsupportedMediaType", "text/csv");
    post(&served, "", "text/csv", "id\n6\n").problem(400, "InvalidArgument", "mode=append");
    post(&served, "mode=insert", "text/csv", "id\n6\n").problem(400, "InvalidArgument", "`insert`");
    post(&served, "mode=append&mode=upsert", "text/csv", "x").problem(400, "UnknownArgument", "twice");
    post(&served, "mode=append&null=x", lines, "x").problem(400, "InvalidArgument", "for CSV");
    post(&served, "mode=append&quote=xx", "text/csv", "x").problem(400, "InvalidArgument", "quote");
    let none =
        served.send("POST", "/v1/tables/none/rows?mode=append", &[("content-type", "text/csv")], "id\n1\n");
    none.problem(404, "TableNotFound", "");
    assert_eq!(served.cache.version().unwrap(), before);
}

#[test]
fn damaged_streams_of_arrow_end_in_errors() {
    let served = Served::open();
    let whole = encoded(&items());
    let (mut refused, mut taken) = (0, 0);
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        let reply = post(&served, "mode=upsert", ARROW, damaged);
        match reply.status {
            200 => taken += 1,
            400 | 409 | 413 => refused += 1,
            other => panic!("{other} for a change of byte {at}: {}", reply.text()),
        }
    }
    assert!(refused > 20 && taken > 0, "{refused} refused, {taken} taken");
    post(&served, "mode=replace", ARROW, whole).json();
    assert_eq!(rows(&served), 5, "the door goes on");
}

#[test]
fn a_body_that_breaks_off_changes_nothing() {
    let served = Served::open();
    let before = served.cache.version().unwrap();
    let head = format!("POST {ROWS}?mode=append HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n");
    for framing in
        ["Content-Length: 1000\r\n\r\nid\n100\n", "Transfer-Encoding: chunked\r\n\r\n7\r\nid\n100\n\r\n"]
    {
        let mut stream = served.connect();
        stream.write_all(format!("{head}{framing}").as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = read_all(&mut stream);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(served.cache.version().unwrap(), before);
    assert_eq!(rows(&served), 5);
}

#[test]
fn long_bodies_are_refused_and_long_uploads_come_in() {
    let served = Served::limited(|options| options.request_bytes_max(1000).upload_bytes_max(3 << 20));
    let long = format!("SELECT '{}'", "x".repeat(1000));
    served.sql(&long, "*/*").problem(413, "TooLarge", "1000 bytes");
    let many: String = (100..200_100).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    assert!(many.len() < 3 << 20 && many.len() > 2 << 20);
    post(&served, "mode=append", "application/x-ndjson", many.clone()).json();
    assert_eq!(rows(&served), 200_005);
    // Without a length in its head, a body is cut where it goes beyond the limit.
    let mut stream = served.connect();
    let head = format!(
        "POST {ROWS}?mode=upsert HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..2 {
        let chunk = format!("{:x}\r\n{many}\r\n", many.len());
        let _ = stream.write_all(chunk.as_bytes());
    }
    assert!(read_all(&mut stream).starts_with("HTTP/1.1 413"));
    assert_eq!(rows(&served), 200_005);
}

#[test]
fn a_slow_body_is_cut_and_holds_nobody_up() {
    let served = Served::limited(|options| options.head_timeout(Duration::from_millis(300)).uploads_max(1));
    let mut slow = served.connect();
    let head = format!(
        "POST {ROWS}?mode=append HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 100000\r\n\r\nid\n"
    );
    slow.write_all(head.as_bytes()).unwrap();
    assert_eq!(served.get("/v1/tables/items/1").status, 200, "others are answered meanwhile");
    let answer = read_all(&mut slow);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    post(&served, "mode=append", "application/x-ndjson", "{\"id\":6}\n").json();
}

#[test]
fn rows_that_no_bytes_stand_for_are_refused() {
    let served = Served::open();
    let column: arrow::array::ArrayRef =
        std::sync::Arc::new(arrow::array::Int64Array::from(vec![Some(1), None]));
    let nullable = RecordBatch::try_from_iter_with_nullable([("a", column, true)]).unwrap();
    served.cache.define_table("loose", pillion::TableDefinition::new(nullable)).unwrap();
    let post = |rows: usize| {
        let nulls: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::NullArray::new(rows));
        let batch = RecordBatch::try_from_iter_with_nullable([("a", nulls, true)]).unwrap();
        served.send("POST", "/v1/tables/loose/rows?mode=append", &[("content-type", ARROW)], encoded(&batch))
    };
    // Some hundred bytes that would become 128 GiB.
    post(1 << 34).problem(400, "InvalidBody", "says that it has 17179869184 rows");
    post(100).json();
    assert_eq!(served.cache.table("loose").unwrap().info().unwrap().rows, 102);
}

#[test]
fn an_empty_body_empties_no_table() {
    let served = Served::open();
    for media_type in ["application/json", "application/x-ndjson", "text/csv", ARROW] {
        for body in ["", " \n\n"] {
            let reply = post(&served, "mode=replace", media_type, body);
            assert_eq!(reply.status, 400, "{media_type}: {}", reply.text());
            assert_eq!(rows(&served), 5);
        }
    }
    let reply = post(&served, "mode=replace", "application/x-ndjson", "");
    reply.problem(400, "EmptyBody", "would remove all rows");
    post(&served, "mode=append", "application/json", "").problem(400, "InvalidBody", "is not JSON");
    post(&served, "mode=append", "application/x-ndjson", "").json();
    assert_eq!(rows(&served), 5);
    // Whoever says that there are no rows is believed.
    post(&served, "mode=replace", "application/json", "[]").json();
    assert_eq!(rows(&served), 0);
}

#[test]
fn uploads_that_are_given_up_leave_their_places_behind() {
    let served = Served::limited(|options| options.uploads_max(1));
    let many: String = (100..50_100).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    let head = format!(
        "POST {ROWS}?mode=upsert HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        many.len()
    );
    // Gone as soon as everything is sent: its rows come whole, or not at all.
    let mut stream = served.connect();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(many.as_bytes()).unwrap();
    drop(stream);
    let one = "{\"id\":6}\n";
    soon("the place is free again", || {
        post(&served, "mode=upsert", "application/x-ndjson", one).status == 200
    });
    assert!([6, 50_006].contains(&rows(&served)), "{}", rows(&served));
}

#[test]
fn an_upload_that_takes_too_long_is_told_that_nobody_knows_how_it_ends() {
    let served = Served::limited(|options| options.upload_timeout(Duration::from_millis(500)));
    let mut stream = served.connect();
    let head = format!(
        "POST {ROWS}?mode=append HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100\r\n\r\n{{\"id\":6}}\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let answer = read_all(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("OutcomeUnknown"), "{answer}");
    assert_eq!(rows(&served), 5);
    post(&served, "mode=append", "application/x-ndjson", "{\"id\":6}\n").json();
}

#[test]
fn a_folder_that_is_gone_does_not_show() {
    let served = Served::limited(|options| options.upload_dir("/nowhere/secret-folder"));
    let reply = post(&served, "mode=append", "text/csv", "id\n6\n");
    reply.problem(500, "Io", "cannot be kept");
    assert!(!reply.text().contains("secret-folder"), "{}", reply.text());
}
