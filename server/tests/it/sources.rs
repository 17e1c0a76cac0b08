//! Tables that a sidecar keeps fresh from a source: a folder of files, as a user configures it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};

use crate::sidecar::{Sidecar, config, socket, url};
use crate::support::{Dir, items, write_parquet};

/// A folder of CSV files as the source `landing`.
const LANDING: &str = "[sources.landing]\nurl = \"landing\"\n";

fn orders(interval: &str) -> String {
    format!(
        "{LANDING}[tables.orders]\nsource = \"landing\"\nrelation = \"orders-*.csv\"\nprimary_key = [\"id\"]\n\
         options = {{ delimiter = \";\" }}\ninterval = \"{interval}\"\n"
    )
}

/// A directory with two files of orders.
fn landing() -> Dir {
    let dir = Dir::empty();
    fs::create_dir(dir.path("landing")).unwrap();
    dir.write("landing/orders-1.csv", "id;name\n1;one\n2;two\n");
    dir.write("landing/orders-2.csv", "id;name\n3;three\n");
    dir
}

fn names(dir: &Dir) -> String {
    dir.answer(&["sql", "--url", &url(dir), "--format", "csv", "SELECT name FROM orders ORDER BY id"])
}

#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < patience, "waited for {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_sidecar_keeps_a_table_fresh() {
    let dir = landing();
    let sidecar = Sidecar::ready(&dir, &config(&orders("50 ms")));
    eventually("the table", || dir.run(&["sql", "--url", &url(&dir), "SELECT * FROM orders"]).code == 0);
    assert_eq!(names(&dir), "name\none\ntwo\nthree\n");
    dir.write("landing/orders-3.csv", "id;name\n4;four\n");
    eventually("the new file", || names(&dir).ends_with("four\n"));
    // What is wrong is logged, and the rows stay.
    dir.write("landing/orders-4.csv", "id;name\n4;twice\n");
    sidecar.says("refresh failed");
    assert_eq!(names(&dir), "name\none\ntwo\nthree\nfour\n");
    eventually("the cause in the status", || {
        let status = dir.answer(&["status", "--url", &url(&dir)]);
        status.contains("landing") && status.contains("two rows")
    });
    fs::remove_file(dir.path("landing/orders-4.csv")).unwrap();
    fs::remove_file(dir.path("landing/orders-1.csv")).unwrap();
    eventually("the rest", || names(&dir) == "name\nthree\nfour\n");
    sidecar.end();
}

#[test]
fn a_sidecar_follows_changes_of_files() {
    let dir = landing();
    let sidecar = Sidecar::ready(&dir, &config(&format!("{}on_change = true\n", orders("1 h"))));
    eventually("the table", || dir.run(&["sql", "--url", &url(&dir), "SELECT * FROM orders"]).code == 0);
    dir.write("landing/orders-3.csv", "id;name\n4;four\n");
    eventually("the new file", || names(&dir) == "name\none\ntwo\nthree\nfour\n");
    sidecar.end();
}

#[test]
fn a_sidecar_refreshes_by_call() {
    let dir = landing();
    let sidecar = Sidecar::ready(&dir, &config(&orders("on_call")));
    let socket = format!("unix:{}", socket(&dir).display());
    dir.answer(&["refresh", "--url", &socket]);
    dir.write("landing/orders-3.csv", "id;name\n4;four\n");
    assert_eq!(names(&dir), "name\none\ntwo\nthree\n");
    dir.answer(&["refresh", "--url", &socket, "orders"]);
    assert_eq!(names(&dir), "name\none\ntwo\nthree\nfour\n");
    dir.answer(&["refresh", "--url", &socket, "orders", "--pause"]);
    dir.answer(&["refresh", "--url", &socket, "orders", "--resume"]);
    let unknown = dir.run(&["refresh", "--url", &socket, "ordres"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    dir.write("more.csv", "id,name\n5,five\n");
    let written = dir.run(&["load", "--url", &socket, "orders", "more.csv", "--append"]);
    assert!(written.errors.contains("is fed by the source"), "{written:?}");
    sidecar.end();
}

#[test]
fn a_source_that_is_gone_delays_no_start() {
    let dir = landing();
    Sidecar::ready(&dir, &config(&orders("on_call"))).end();
    dir.answer(&["warm", "--config", "pillion.toml"]);
    fs::rename(dir.path("landing"), dir.path("gone")).unwrap();
    dir.write("items.csv", "x\n1\n");
    let more = "[tables.items]\nfiles = \"items.csv\"\n[tables.later]\nsource = \"landing\"\nrelation = \"later.csv\"\n";
    let sidecar = Sidecar::ready(&dir, &config(&format!("{}{more}", orders("1 min"))));
    assert_eq!(names(&dir), "name\none\ntwo\nthree\n", "what is on disk is served");
    sidecar.says("refresh failed");
    // A table that appears later is loaded.
    dir.write("gone/later.csv", "x\n7\n");
    fs::rename(dir.path("gone"), dir.path("landing")).unwrap();
    eventually("the later table", || {
        dir.run(&["sql", "--url", &url(&dir), "--format", "csv", "SELECT x FROM later"]).bytes == b"x\n7\n"
    });
    sidecar.end();
}

#[test]
fn tables_are_loaded_once_before_a_start() {
    let dir = landing();
    dir.write("pillion.toml", config(&orders("1 min")));
    dir.answer(&["warm", "--config", "pillion.toml"]);
    let answer = dir.answer(&["sql", "--format", "csv", "SELECT count(*) AS n FROM orders"]);
    assert_eq!(answer, "n\n3\n");
    fs::remove_dir_all(dir.path("landing")).unwrap();
    let failed = dir.run(&["warm", "--config", "pillion.toml"]);
    assert_eq!(failed.code, 0, "there are rows to serve: {failed:?}");
    assert!(failed.errors.contains("table `orders`"), "{failed:?}");
    let answer = dir.answer(&["sql", "--format", "csv", "SELECT count(*) AS n FROM orders"]);
    assert_eq!(answer, "n\n3\n", "the rows stay");
    let other = Dir::empty();
    other.write("pillion.toml", config(&orders("1 min")));
    assert_ne!(other.run(&["warm", "--config", "pillion.toml"]).code, 0, "there is nothing to serve");
}

#[test]
fn sources_are_looked_at_before_a_start() {
    let dir = landing();
    let more = "[tables.missing]\nsource = \"landing\"\nrelation = \"nothing.parquet\"\n";
    dir.write("pillion.toml", config(&format!("{}{more}", orders("1 min"))));
    let outcome = dir.run(&["sources", "check", "--config", "pillion.toml"]);
    let said = String::from_utf8(outcome.bytes.clone()).unwrap();
    assert!(said.contains("source         landing: "), "{outcome:?}");
    assert!(said.contains("table          orders: "), "{outcome:?}");
    assert!(said.contains("id Int64, name Utf8"), "{outcome:?}");
    assert!(
        outcome.errors.contains("table `missing`") && outcome.errors.contains("nothing.parquet"),
        "{outcome:?}"
    );
    assert_eq!(outcome.code, 3, "{outcome:?}");
    assert!(!dir.cache().exists(), "nothing is made");
    for (keys, words) in [
        ("primary_key = [\"nr\"]", "no column `nr`"),
        ("sort_by = [\"when\"]", "no column `when`"),
        ("columns = [\"id\", \"nmae\"]", "no column `nmae`"),
        ("append_by = \"id\"", "cannot send only the rows after a position"),
        ("retain_column = \"name\"\nretain_age = \"1 d\"", "retention needs timestamps or dates"),
        ("condition = \"id > 1\"", "takes no condition"),
    ] {
        let table = format!(
            "{LANDING}[tables.orders]\nsource = \"landing\"\nrelation = \"orders-*.csv\"\noptions = {{ delimiter = \";\" }}\n{keys}\n"
        );
        dir.write("pillion.toml", config(&table));
        let outcome = dir.run(&["sources", "check", "--config", "pillion.toml"]);
        assert!(
            outcome.errors.contains("table `orders`") && outcome.errors.contains(words),
            "{keys}: {outcome:?}"
        );
        assert_ne!(outcome.code, 0);
    }
    let chosen = format!(
        "{LANDING}[tables.orders]\nsource = \"landing\"\nrelation = \"orders-*.csv\"\noptions = {{ delimiter = \";\" }}\ncolumns = [\"name\"]\n"
    );
    dir.write("pillion.toml", config(&chosen));
    let outcome = dir.run(&["sources", "check", "--config", "pillion.toml"]);
    let said = String::from_utf8(outcome.bytes.clone()).unwrap();
    assert!(outcome.code == 0 && said.contains("columns name Utf8"), "{outcome:?}");
    let unknown = dir.run(&["sources", "check", "--config", "pillion.toml", "other"]);
    assert_eq!(unknown.code, 2);
}

/// A log of one commit, as a writer makes it.
#[test]
fn a_table_of_delta_lake_is_kept_fresh() {
    let dir = Dir::empty();
    fs::create_dir_all(dir.path("lake/items/_delta_log")).unwrap();
    let file = dir.path("lake/items/part-0.parquet");
    write_parquet(&file, &items());
    let schema = r#"{\"type\":\"struct\",\"fields\":[FIELDS]}"#;
    let fields = [("id", "long"), ("name", "string")].map(|(name, kind)| {
        format!(r#"{{\"name\":\"{name}\",\"type\":\"{kind}\",\"nullable\":true,\"metadata\":{{}}}}"#)
    });
    let commit = format!(
        r#"{{"protocol":{{"minReaderVersion":1,"minWriterVersion":2}}}}
{{"metaData":{{"id":"a","format":{{"provider":"parquet","options":{{}}}},"schemaString":"{}","partitionColumns":[],"configuration":{{}}}}}}
{{"add":{{"path":"part-0.parquet","partitionValues":{{}},"size":{},"modificationTime":1,"dataChange":true}}}}
"#,
        schema.replace("FIELDS", &fields.join(",")),
        file.metadata().unwrap().len()
    );
    dir.write("lake/items/_delta_log/00000000000000000000.json", &commit);
    let tables = "[sources.lake]\nurl = \"delta+file://lake\"\n\
                  [tables.items]\nsource = \"lake\"\nrelation = \"items\"\nprimary_key = [\"id\"]\ninterval = \"100 ms\"\n\
                  [tables.gone]\nsource = \"lake\"\nrelation = \"itms\"\n";
    dir.write("pillion.toml", config(tables));
    let outcome = dir.run(&["sources", "check", "--config", "pillion.toml"]);
    let said = String::from_utf8(outcome.bytes.clone()).unwrap();
    assert!(said.contains("items: ") && said.contains("id Int64, name Utf8"), "{outcome:?}");
    assert!(outcome.errors.contains("did you mean `items`?"), "{outcome:?}");
    let tables = tables.split("[tables.gone]").next().unwrap();
    let sidecar = Sidecar::ready(&dir, &config(tables));
    let query = "SELECT count(*) AS n FROM items";
    let counts =
        |answer: &[u8]| dir.run(&["sql", "--url", &url(&dir), "--format", "csv", query]).bytes == answer;
    eventually("the rows of the first version", || counts(b"n\n5\n"));
    dir.write(
        "lake/items/_delta_log/00000000000000000001.json",
        "{\"remove\":{\"path\":\"part-0.parquet\",\"dataChange\":true,\"deletionTimestamp\":1}}\n",
    );
    eventually("the rows of the second version", || counts(b"n\n0\n"));
    sidecar.end();
}

/// Nobody listens on port 1.
#[test]
fn servers_that_are_away_are_named_without_their_passwords() {
    let dir = landing();
    let section = |name: &str, url: &str| {
        format!("[sources.{name}]\nurl = \"{url}\"\nsecrets = {{ password = \"hidden\" }}\n")
    };
    let postgres = section("shop", "postgresql://reader@127.0.0.1:1/shop");
    let mysql = section("store", "mysql://reader@127.0.0.1:1/store?ssl-mode=disable");
    let mariadb = section("depot", "mariadb://reader@127.0.0.1:1/depot?ssl-mode=disable");
    dir.write("pillion.toml", config(&format!("{postgres}{mysql}{mariadb}")));
    let outcome = dir.run(&["sources", "check", "--config", "pillion.toml"]);
    for (name, place) in [("shop", "PostgreSQL"), ("store", "MySQL"), ("depot", "MySQL")] {
        let said = format!("source `{name}`: {place} at 127.0.0.1:1 cannot be reached");
        assert!(outcome.errors.contains(&said), "{outcome:?}");
    }
    assert!(!outcome.errors.contains("hidden"), "{outcome:?}");
    assert_ne!(outcome.code, 0, "{outcome:?}");
    dir.write("pillion.toml", config(&section("store", "mysql://reader@127.0.0.1:1/store?ssl-mode=require")));
    let outcome = dir.run(&["sources", "check", "--config", "pillion.toml"]);
    assert!(outcome.errors.contains("verifies nothing") && !outcome.errors.contains("hidden"), "{outcome:?}");
    assert_eq!(outcome.code, 2, "{outcome:?}");
}

#[test]
fn a_flight_sql_server_is_reached_as_the_configuration_says() {
    let dir = Dir::empty();
    let check = |more: &str| {
        dir.write(
            "pillion.toml",
            config(&format!("[sources.warehouse]\nurl = \"grpc://127.0.0.1:1\"\n{more}")),
        );
        dir.run(&["sources", "check", "--config", "pillion.toml"])
    };
    let outcome = check(
        "options = { locations = \"own\", \"header.database\" = \"shop\" }\nsecrets = { token = \"hidden\" }\n",
    );
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.errors.contains("Flight SQL at 127.0.0.1:1 cannot be reached"), "{outcome:?}");
    assert!(!outcome.errors.contains("hidden"), "{outcome:?}");
    for (more, why) in [
        ("options = { location = \"own\" }\n", "did you mean `locations`?"),
        ("secrets = { tokens = \"hidden\" }\n", "did you mean `token`?"),
        ("secrets = { password = \"hidden\" }\n", "no `user`"),
    ] {
        let outcome = check(more);
        assert_eq!(outcome.code, 2, "{outcome:?}");
        assert!(outcome.errors.contains("source `warehouse`"), "{outcome:?}");
        assert!(outcome.errors.contains(why) && !outcome.errors.contains("hidden"), "{outcome:?}");
    }
}

/// A server of one file, `/a.csv`, that knows GET and HEAD and nothing else, such as `python3 -m http.server`. Ends with the process.
fn plain_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(client.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let (status, body) = match request.split(' ').collect::<Vec<_>>()[..] {
                ["GET" | "HEAD", "/a.csv", _] => ("200 OK", "id,name\n1,one\n"),
                ["GET" | "HEAD", ..] => ("404 Not Found", "<html>nothing</html>"),
                _ => ("501 Unsupported method", "<!DOCTYPE HTML><html>unsupported</html>"),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\
                 Last-Modified: Tue, 01 Jan 2013 10:00:00 GMT\r\n\r\n",
                body.len()
            );
            let body = if request.starts_with("HEAD") { "" } else { body };
            // A client that went away needs no answer.
            let _ = client.write_all(format!("{head}{body}").as_bytes());
        }
    };
    std::thread::Builder::new().name("plain".into()).spawn(serve).unwrap();
    address
}

#[test]
fn a_server_that_lists_nothing_is_asked_for_its_tables() {
    let dir = Dir::empty();
    let web = format!(
        "[sources.web]\nurl = \"http://{}\"\n[tables.a]\nsource = \"web\"\nrelation = \"a.csv\"\n",
        plain_server()
    );
    dir.write("pillion.toml", config(&web));
    let outcome = dir.run(&["sources", "check", "--config", "pillion.toml"]);
    let said = String::from_utf8(outcome.bytes.clone()).unwrap();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(said.contains("note           web: the server does not list the files"), "{outcome:?}");
    assert!(said.contains("501") && !said.contains("html"), "{outcome:?}");
    assert!(said.contains("table          a: ") && said.contains("id Int64, name Utf8"), "{outcome:?}");
}

const SECRET: &str = "Hidden/4711@x";
/// As URLs and the header of HTTP write it, the latter with the user `reader`.
const SECRETS: [&str; 4] = [SECRET, "Hidden%2F4711%40x", "Hidden%2f4711%40x", "cmVhZGVyOkhpZGRlbi80NzExQHg"];

/// A server that refuses every request and repeats all of it. Ends with the process.
fn repeating_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(client.try_clone().unwrap()).lines().map_while(Result::ok);
            let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let body = request.join("\n");
            let head = format!(
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // A client that went away needs no answer.
            let _ = client.write_all(format!("{head}{body}").as_bytes());
        }
    };
    std::thread::Builder::new().name("repeating".into()).spawn(serve).unwrap();
    address
}

/// The contents of all files below a folder but for two that have the secret in them, each with its path.
fn written(folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(written(&path));
        } else if kind.is_file() && !path.ends_with("pillion.toml") && !path.ends_with("password") {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found
}

/// Searches everything that a sidecar says and writes while its sources refuse it or are away.
#[test]
fn secrets_are_written_nowhere() {
    let dir = Dir::empty();
    dir.write("password", format!("{SECRET}\n"));
    let web = repeating_server();
    let by_file = "secret_files = { password = \"password\" }";
    let by_text = format!("secrets = {{ password = \"{SECRET}\" }}");
    let sources = [
        ("shop", "postgresql://reader@127.0.0.1:1/shop".to_owned(), by_file.to_owned()),
        ("store", "mysql://reader@127.0.0.1:1/store?ssl-mode=disable".to_owned(), by_text.clone()),
        ("web", format!("http://reader@{web}"), by_text),
        (
            "bucket",
            "s3://bucket".to_owned(),
            format!(
                "options = {{ endpoint = \"http://{web}\", region = \"here\", allow_http = \"true\" }}\n\
                 secrets = {{ access_key_id = \"{SECRET}\", secret_access_key = \"{SECRET}\" }}"
            ),
        ),
        (
            "warehouse",
            format!("grpc://{web}"),
            format!("options = {{ user = \"reader\" }}\nsecrets = {{ password = \"{SECRET}\" }}"),
        ),
    ];
    let mut more = format!("log = \"debug\"\n{}", crate::probes::HEALTH);
    for (name, url, keys) in &sources {
        more += &format!("[sources.{name}]\nurl = \"{url}\"\n{keys}\n");
        more +=
            &format!("[tables.of_{name}]\nsource = \"{name}\"\nrelation = \"a.csv\"\ninterval = \"50 ms\"\n");
    }
    let sidecar = Sidecar::ready(&dir, &config(&more));
    let at = url(&dir);
    let status = || dir.answer(&["status", "--url", &at, "--format", "json"]);
    eventually("a failure of every source", || {
        let status = status();
        sources.iter().all(|(name, ..)| status.contains(&format!("of_{name}")))
            && sidecar.log().matches("refresh failed").count() >= sources.len()
    });
    let mut said = vec![
        ("status".to_owned(), status().into_bytes()),
        ("status as a table".to_owned(), dir.answer(&["status", "--url", &at]).into_bytes()),
        ("metrics".to_owned(), crate::probes::get(&sidecar, "/metrics").body.into_bytes()),
        ("readiness".to_owned(), crate::probes::get(&sidecar, "/health/ready").body.into_bytes()),
    ];
    for (name, ..) in &sources {
        let refused = dir.run(&["refresh", "--url", &at, &format!("of_{name}")]);
        assert_ne!(refused.code, 0, "{refused:?}");
        assert!(refused.errors.len() > 20, "{refused:?}");
        said.push((format!("refresh of {name}"), refused.errors.into_bytes()));
    }
    said.push(("log".to_owned(), sidecar.end().into_bytes()));
    for arguments in
        [&["sources", "check", "--config", "pillion.toml"][..], &["warm", "--config", "pillion.toml"]]
    {
        let outcome = dir.run(arguments);
        assert_ne!(outcome.code, 0, "{outcome:?}");
        said.push((arguments.join(" "), [outcome.bytes, outcome.errors.into_bytes()].concat()));
    }
    let files = written(&dir.path(""));
    assert!(files.len() > 3, "the files of the cache are searched: {}", files.len());
    for (name, bytes) in said.into_iter().chain(files) {
        for secret in SECRETS {
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "{name} has `{secret}`: {}", String::from_utf8_lossy(&bytes));
        }
    }
}
