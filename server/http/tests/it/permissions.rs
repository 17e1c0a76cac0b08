//! Tokens and what they permit, cell by cell, on every address.

use std::io::{BufRead, BufReader, Write};

use pillion_access::{Permissions, Tables};
use pillion_http::{HttpOptions, ROUTES};
use serde_json::Value;

use crate::support::{Reply, Served, everything, listen, token};

const TABLE: &str = "items";
const OTHER: &str = "flights";
const CSV: (&str, &str) = ("content-type", "text/csv");
const JSON: (&str, &str) = ("content-type", "application/json");
const TEXT: (&str, &str) = ("content-type", "text/plain");

fn only(set: impl FnOnce(&mut Permissions)) -> Permissions {
    let mut permissions = Permissions::default();
    set(&mut permissions);
    permissions
}

fn served() -> Served {
    let of_table = || Tables::of([TABLE]);
    let tokens = [
        ("none", Permissions::default()),
        ("reader", only(|it| it.read = of_table())),
        ("writer", only(|it| it.write = of_table())),
        ("refresher", only(|it| it.refresh = of_table())),
        ("admin", only(|it| it.administer = true)),
        ("all", everything()),
    ];
    Served::with(HttpOptions::new(listen()), &tokens, None)
}

fn with(served: &Served, name: &str, method: &str, path: &str, header: (&str, &str), body: &str) -> Reply {
    let bearer = format!("Bearer {}", token(name));
    served.send(method, path, &[("authorization", &bearer), header], body.to_owned())
}

/// Method, address, header and body of a request, and who may make it.
type Asked =
    (&'static str, &'static str, (&'static str, &'static str), &'static str, &'static str, &'static str);

/// Requests of each address, with who may make them of the table and of the other one: r(eader), w(riter), (re)f(resher),
/// a(dmin), n(one). `all` always may.
const REQUESTS: &[Asked] = &[
    ("get", "/v1/openapi.json", TEXT, "", "rwfan", ""),
    ("get", "/v1/status", TEXT, "", "a", ""),
    ("get", "/v1/tables", TEXT, "", "rwfan", ""),
    ("get", "/v1/tables/{table}", TEXT, "", "r", ""),
    ("get", "/v1/tables/{table}/{key}", TEXT, "", "r", ""),
    ("put", "/v1/tables/{table}/{key}", JSON, "{}", "w", ""),
    ("delete", "/v1/tables/{table}/{key}", TEXT, "", "w", ""),
    ("post", "/v1/tables/{table}/rows?mode=upsert", CSV, "", "w", ""),
    ("post", "/v1/tables/{table}/refresh", TEXT, "", "f", ""),
    ("get", "/v1/tables/{table}/changes", TEXT, "", "r", ""),
    ("post", "/v1/sql", TEXT, "SELECT 1 FROM {table}", "r", ""),
];

/// The first line of an answer that goes on.
fn status_of_stream(served: &Served, name: &str, path: &str) -> String {
    let mut stream = served.connect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", token(name))
        .unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn every_address_asks_for_its_permission() {
    let served = served();
    let tested = |method: &str, path: &str| {
        // Each GET is asked for as HEAD as well.
        let method = if method == "head" { "get" } else { method };
        REQUESTS.iter().any(|request| request.0 == method && request.1.split('?').next() == Some(path))
    };
    for (path, methods) in ROUTES {
        assert!(methods.iter().all(|method| tested(method, path)), "{path} is not in the matrix");
    }
    let names =
        [("reader", 'r'), ("writer", 'w'), ("refresher", 'f'), ("admin", 'a'), ("none", 'n'), ("all", '*')];
    let mut cells = 0;
    for (method, path, header, body, who, who_of_other) in REQUESTS {
        for (table, who) in [(TABLE, who), (OTHER, who_of_other)] {
            if table == OTHER && !path.contains("{table}") && !body.contains("{table}") {
                continue;
            }
            let key = if table == TABLE { "1" } else { "2013-01-01T10:00:00,UA,1545" };
            let path = path.replace("{table}", table).replace("{key}", key);
            let body = body.replace("{table}", table);
            for (name, letter) in names {
                let may = letter == '*' || who.contains(letter);
                let head = (*method == "get").then(|| with(&served, name, "HEAD", &path, *header, ""));
                let of_head = head.map(|head| (head.status, head.body.len()));
                if may && path.ends_with("/changes") {
                    assert_eq!(of_head, Some((200, 0)));
                    // An answer without an end.
                    assert_eq!(status_of_stream(&served, name, &path), "HTTP/1.1 200 OK", "{name} {path}");
                    cells += 1;
                    continue;
                }
                let reply = with(&served, name, &method.to_uppercase(), &path, *header, &body);
                if let Some(of_head) = of_head {
                    assert_eq!(of_head, (reply.status, 0), "{name}: HEAD {path}");
                }
                let what = format!(
                    "{name}: {method} {path} {body} gives {} {}",
                    reply.status,
                    String::from_utf8_lossy(&reply.body)
                );
                if may {
                    assert!(!matches!(reply.status, 401 | 403 | 405 | 500..), "{what}");
                } else if path == "/v1/sql" && letter == 'r' {
                    // Who may read something may ask, and sees no sign of what it may not read.
                    reply.problem(404, "TableNotFound", "flights");
                } else {
                    reply.problem(403, "Forbidden", name);
                }
                cells += 1;
            }
            // The same without a token, and with a wrong one.
            let nobody = served.send(&method.to_uppercase(), &path, &[*header], body.clone());
            nobody.problem(401, "Unauthorized", "a token is needed");
            assert_eq!(nobody.header("www-authenticate"), "Bearer realm=\"pillion\"");
            let wrong = with(&served, "nobody", &method.to_uppercase(), &path, *header, &body);
            wrong.problem(401, "Unauthorized", "not valid");
            cells += 2;
        }
    }
    assert_eq!(cells, (11 * 2 - 3) * 8);
}

#[test]
fn statements_see_only_the_tables_of_their_token() {
    let served = served();
    let sql = |name: &str, statement: &str| with(&served, name, "POST", "/v1/sql", TEXT, statement);
    assert_eq!(sql("reader", "SELECT count(*) AS n FROM items").json()[0]["n"], 5);
    let shown =
        sql("reader", "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
            .json();
    assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
    assert_eq!(sql("all", "SELECT * FROM flights").json().as_array().unwrap().len(), 2);
    for statement in [
        "SELECT * FROM flights",
        "SELECT * FROM flight",
        "SELECT * FROM items WHERE id IN (SELECT flight FROM flights)",
        "DESCRIBE flights",
        "EXPLAIN SELECT * FROM flights",
        "SHOW COLUMNS FROM flights",
    ] {
        let reply = sql("reader", statement);
        assert!(matches!(reply.status, 400 | 404), "{statement}: {}", reply.status);
        assert!(
            !reply.text().contains("carrier") && !reply.text().contains("did you mean"),
            "{}",
            reply.text()
        );
    }
    let listed = with(&served, "reader", "GET", "/v1/tables", TEXT, "").json();
    assert_eq!(listed["tables"].as_array().unwrap().len(), 1);
    let listed = with(&served, "none", "GET", "/v1/tables", TEXT, "").json();
    assert_eq!(listed["tables"], Value::Array(Vec::new()));
    // Whether a table that may not be read is there does not show.
    let (there, not) = (
        with(&served, "reader", "GET", "/v1/tables/flights", TEXT, ""),
        with(&served, "reader", "GET", "/v1/tables/flighty", TEXT, ""),
    );
    assert_eq!(there.text().replace("flights", ""), not.text().replace("flighty", ""));
}

#[test]
fn what_looks_like_a_token_and_is_none_is_refused() {
    let served = served();
    let good = token("reader");
    let get = |value: &str| served.send("GET", "/v1/tables", &[("authorization", value)], "");
    assert_eq!(get(&format!("Bearer {good}")).status, 200);
    assert_eq!(get(&format!("bearer {good}")).status, 200);
    for value in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Basic {good}"),
        good.clone(),
        format!("Bearer {good}x"),
        format!("Bearer {}", &good[1..]),
        format!("Bearer {}", good.to_uppercase()),
        format!("Bearer {good} {good}"),
        format!("Bearer {}", "x".repeat(8000)),
    ] {
        let reply = get(&value);
        reply.problem(401, "Unauthorized", "not valid");
        assert!(!reply.text().contains(&good), "{}", reply.text());
    }
    let bearer = format!("Bearer {good}");
    let twice = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
    served.send("GET", "/v1/tables", &twice, "").problem(401, "Unauthorized", "");
    // A token in the address would be in logs: it counts nothing.
    let path = format!("/v1/tables?access_token={good}");
    served.get(&path).problem(401, "Unauthorized", "");
    let status = with(&served, "all", "GET", "/v1/status", TEXT, "");
    assert!(status.json()["http"]["denials"].as_u64().unwrap() >= 12, "{}", status.text());
    assert!(!status.text().contains("0123456789"), "no token shows: {}", status.text());
}

#[test]
fn tokens_change_without_a_restart() {
    let served = served();
    let get = |name: &str| with(&served, name, "GET", "/v1/tables", TEXT, "").status;
    assert_eq!((get("reader"), get("rotated")), (200, 401));
    let new = served.dir.path().join("new");
    std::fs::File::create(&new).unwrap().write_all(token("rotated").as_bytes()).unwrap();
    std::fs::rename(new, served.dir.path().join("reader")).unwrap();
    let begun = std::time::Instant::now();
    while get("rotated") != 200 {
        assert!(begun.elapsed() < crate::support::PATIENCE, "the new token is taken");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(get("reader"), 401);
}

#[test]
fn pages_of_others_cannot_use_a_browser_to_get_in() {
    let served =
        Served::with(HttpOptions::new(listen()).hosts(["pillion.internal"]), &[], Some(everything()));
    let asked = |host: &str, origin: &str| {
        let origin = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let answer = served.raw(
            format!("GET /v1/tables HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: close\r\n\r\n")
                .as_bytes(),
        );
        answer.get(9..12).unwrap_or_default().to_owned()
    };
    for host in ["localhost", "127.0.0.1:80", "[::1]", "pillion.internal:8080", "PILLION.internal."] {
        assert_eq!(asked(host, ""), "200", "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"] {
        assert!(["421", "400"].contains(&asked(host, "").as_str()), "{host}: {}", asked(host, ""));
    }
    assert_eq!(asked("localhost:8080", "http://localhost:8080"), "200", "a page of the door itself");
    for origin in
        ["http://evil.example", "null", "http://localhost:8081", "http://localhost:8080.evil.example"]
    {
        assert_eq!(asked("localhost:8080", origin), "403", "{origin}");
    }
    // Links and images of other pages: browsers send them without an origin.
    let fetched = |site: &str| {
        let answer = served.raw(
            format!(
                "GET /v1/tables HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: {site}\r\nConnection: close\r\n\r\n"
            )
            .as_bytes(),
        );
        answer.get(9..12).unwrap_or_default().to_owned()
    };
    assert_eq!(["same-origin", "none"].map(fetched), ["200", "200"]);
    assert_eq!(["cross-site", "same-site", ""].map(fetched), ["403", "403", "403"]);
    let twice = served.raw(
        b"GET /v1/tables HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    );
    assert!(!twice.starts_with("HTTP/1.1 200"), "{twice}");
    let absolute = served
        .raw(b"GET http://evil.example/v1/tables HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(absolute.starts_with("HTTP/1.1 421"), "{absolute}");
}
