//! The HTTP door of a sidecar: opened by its configuration, closed by a signal.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::probes::{HEALTH, get_until};
use crate::sidecar::{Sidecar, config};
use crate::support::{Dir, items, write_parquet};

const ITEMS: &str = "[tables.items]\nfiles = \"items.parquet\"\nprimary_key = [\"id\"]\n";
const TOKEN: &str = "a-token-0123456789abcdef";

fn files() -> Dir {
    let dir = Dir::empty();
    write_parquet(&dir.path("items.parquet"), &items());
    dir.write("reader.token", TOKEN);
    dir
}

/// A sidecar whose door listens at a free port, and that port.
fn serving(dir: &Dir, more: &str) -> (Sidecar, u16) {
    let door = format!("[http]\nlisten = \"127.0.0.1:0\"\n{more}{ITEMS}");
    let sidecar = Sidecar::ready(dir, &config(&door));
    let log = sidecar.log();
    let (_, rest) = log.split_once("HTTP door open listen=127.0.0.1:").unwrap();
    let port = rest.split(' ').next().unwrap().parse().unwrap();
    (sidecar, port)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn ask(port: u16, path: &str, header: &str) -> String {
    let mut stream = connect(port);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits until something is so.
fn soon(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_sidecar_opens_its_door_and_closes_it() {
    let dir = files();
    let tokens = "[tokens.reader]\nfile = \"reader.token\"\nread = [\"items\"]\n";
    let (sidecar, port) = serving(&dir, tokens);
    let row = ask(port, "/v1/tables/items/1", &format!("Authorization: Bearer {TOKEN}\r\n"));
    assert!(row.starts_with("HTTP/1.1 200") && row.contains("\"name\":\"plain\""), "{row}");
    assert!(row.contains("pillion-way: embedded"), "{row}");
    assert!(ask(port, "/v1/tables/items/1", "").starts_with("HTTP/1.1 401"));
    let wrong = "Authorization: Bearer wrong-token-0123456789\r\n";
    assert!(ask(port, "/v1/tables/items/1", wrong).starts_with("HTTP/1.1 401"));
    let status = ask(port, "/v1/status", &format!("Authorization: Bearer {TOKEN}\r\n"));
    assert!(status.starts_with("HTTP/1.1 403") && status.contains("`reader` may not"), "{status}");
    // A connection that is idle does not keep the door open.
    let mut idle = connect(port);
    idle.write_all(b"GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    idle.read_exact(&mut [0; 12]).unwrap();
    sidecar.signal(Signal::TERM);
    let (ended, log) = sidecar.wait();
    assert_eq!(ended.code(), Some(0), "{log}");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(log.contains("refused door=\"http\""), "a refusal is logged: {log}");
    assert!(!log.contains(TOKEN) && !log.contains("wrong-token"), "and no token is: {log}");
}

#[test]
fn whoever_is_named_anonymous_needs_no_token() {
    let dir = files();
    let (sidecar, port) = serving(&dir, "anonymous = { read = [\"*\"] }\n");
    assert!(ask(port, "/v1/tables/items/1", "").starts_with("HTTP/1.1 200"));
    let refused = ask(port, "/v1/status", "");
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("`anonymous`"), "{refused}");
    sidecar.end();
}

#[test]
fn a_door_that_cannot_open_keeps_the_sidecar_from_starting() {
    let dir = files();
    let serve = |door: &str| {
        let path = dir.write("pillion.toml", config(&format!("{door}{ITEMS}")));
        let path = path.to_str().unwrap().to_owned();
        (dir.run(&["config", "check", "--config", &path]), dir.run(&["serve", "--config", &path]))
    };
    dir.write("short.token", "short");
    let (check, start) = serve("[http]\nlisten = \"127.0.0.1:0\"\n[tokens.it]\nfile = \"short.token\"\n");
    check.fails(2, &["the token `it`", "at least 16"]);
    start.fails(2, &["the token `it`", "at least 16"]);
    assert!(!start.errors.contains("short\""), "{}", start.errors);
    let (check, start) = serve(
        "[http]\nlisten = \"127.0.0.1:0\"\ncertificate = \"none.pem\"\nprivate_key = \"none.key\"\nanonymous = {}\n",
    );
    check.fails(2, &["none.pem"]);
    start.fails(2, &["none.pem"]);
    assert!(!dir.cache().exists(), "nothing was begun");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let door = format!("[http]\nlisten = \"{}\"\nanonymous = {{}}\n", taken.local_addr().unwrap());
    let (check, start) = serve(&door);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.text().contains("for anyone (read nothing, write nothing, refresh nothing)"), "{check:?}");
    assert_eq!(start.code, 4, "{start:?}");
    assert!(start.errors.contains("cannot be opened"), "{start:?}");
    assert!(!dir.cache().exists(), "found before tables are loaded");
    // Tokens that no door asks for are checked too.
    let (check, start) = serve("[tokens.it]\nfile = \"short.token\"\n");
    check.fails(2, &["the token `it`", "at least 16"]);
    start.fails(2, &["the token `it`", "at least 16"]);
}

#[test]
fn names_of_tables_that_nobody_defines_are_noted() {
    let dir = files();
    let text = "[http]\nlisten = \"127.0.0.1:0\"\nanonymous = { read = [\"itms\"] }\n[tokens.reader]\nfile = \"reader.token\"\nwrite = [\"other\"]\n";
    let path = dir.write("pillion.toml", config(&format!("{text}{ITEMS}")));
    let check = dir.run(&["config", "check", "--config", path.to_str().unwrap()]);
    assert_eq!(check.code, 0, "{check:?}");
    let said = format!("{}{}", check.text(), check.errors);
    for note in [
        "`read` of [http.anonymous] names the table `itms`, which this configuration does not define; did you mean `items`?",
        "`write` of [tokens.reader] names the table `other`, which this configuration does not define",
    ] {
        assert!(said.contains(note), "{note}: {said}");
    }
}

#[test]
fn requests_are_counted_as_calls_of_the_door() {
    let dir = files();
    let (sidecar, port) = serving(&dir, &format!("anonymous = {{ read = [\"*\"] }}\n{HEALTH}"));
    assert!(ask(port, "/v1/tables/items/1", "").starts_with("HTTP/1.1 200"));
    assert!(ask(port, "/v1/status", "").starts_with("HTTP/1.1 403"));
    let counted = |series: &str| format!("{series} 1\n");
    let wanted = [
        counted("pillion_call_duration_seconds_count{door=\"http\",operation=\"get\"}"),
        counted("pillion_call_failures_total{door=\"http\",operation=\"catalog\"}"),
        counted("pillion_errors_total{code=\"permission_denied\"}"),
        counted("pillion_lookup_keys_total{result=\"hit\"}"),
    ];
    get_until(&sidecar, "/metrics", |it| wanted.iter().all(|line| it.body.contains(line)));
    sidecar.end();
}

#[test]
fn a_reload_takes_in_tokens_and_says_what_needs_a_restart() {
    let dir = files();
    dir.write("other.token", "another-token-0123456789");
    let door = "[http]\nlisten = \"127.0.0.1:0\"\n";
    let token = |file: &str, read: &str| format!("[tokens.it]\nfile = \"{file}\"\nread = [\"{read}\"]\n");
    let (sidecar, port) = serving(&dir, &token("reader.token", "items"));
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let status = |header: &str| ask(port, "/v1/tables/items/1", header).get(9..12).unwrap().to_owned();
    assert_eq!((status(&bearer), status("")), ("200".to_owned(), "401".to_owned()));
    let reload = |text: &str| {
        dir.write("pillion.toml", config(&format!("{text}{ITEMS}")));
        sidecar.signal(Signal::HUP);
    };
    // The same token permits something else, and nobody needs one for this table.
    let anonymous = "anonymous = { read = [\"items\"] }\n";
    reload(&format!("{door}{anonymous}{}", token("reader.token", "nothing")));
    soon("the permissions are others", || status(&bearer) == "403" && status("") == "200");
    // A file that cannot be used changes nothing.
    reload(&format!("{door}{}", token("none.token", "items")));
    sidecar.says("everything stays as it was");
    assert_eq!((status(&bearer), status("")), ("403".to_owned(), "200".to_owned()));
    // What needs a restart is said, and the rest is taken in.
    reload(&format!("[http]\nlisten = \"127.0.0.1:1\"\nrequests_max = 5\n{}", token("other.token", "items")));
    sidecar.says("it holds after a restart key=\"http\"");
    soon("the token is another one", || {
        status(&bearer) == "401" && status("Authorization: Bearer another-token-0123456789\r\n") == "200"
    });
    assert_eq!(status(""), "401", "and nobody else is admitted");
    sidecar.end();
}
