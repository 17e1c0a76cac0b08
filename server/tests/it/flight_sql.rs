//! The Flight SQL door of a sidecar: opened by its configuration, closed by a signal.

use std::net::TcpStream;

use pillion::source::{Call, Fetch, Relation, Secret, Source};
use pillion_flight_sql::FlightSqlOptions;
use rustix::process::Signal;

use crate::probes::{HEALTH, get_until};
use crate::sidecar::{Sidecar, config};
use crate::support::{Dir, items, write_parquet};

const ITEMS: &str = "[tables.items]\nfiles = \"items.parquet\"\nprimary_key = [\"id\"]\n";
const TOKENS: &str = "[tokens.reader]\nfile = \"reader.token\"\nread = [\"items\"]\n";
const TOKEN: &str = "a-token-0123456789abcdef";

fn files() -> Dir {
    let dir = Dir::empty();
    write_parquet(&dir.path("items.parquet"), &items());
    dir.write("reader.token", TOKEN);
    dir
}

/// A sidecar whose door listens at a free port, and that port.
fn serving(dir: &Dir, more: &str) -> (Sidecar, u16) {
    let door = format!("[flight_sql]\nlisten = \"127.0.0.1:0\"\n{more}{ITEMS}");
    let sidecar = Sidecar::ready(dir, &config(&door));
    let log = sidecar.log();
    let (_, rest) = log.split_once("Flight SQL door open listen=127.0.0.1:").unwrap();
    let port = rest.split(' ').next().unwrap().parse().unwrap();
    (sidecar, port)
}

/// How many rows a client gets, or its error.
fn rows(port: u16, token: Option<&str>) -> Result<usize, String> {
    let mut options = FlightSqlOptions::from_url(&format!("grpc://127.0.0.1:{port}")).unwrap();
    if let Some(token) = token {
        options = options.token(Secret::Text(token.to_owned()));
    }
    let source = options.build().unwrap();
    let call = Call::new();
    let fetched = source.fetch(&Fetch::of(Relation::table("items")), &call);
    let mut rows = 0;
    for batch in fetched.map_err(|error| format!("{error:#}"))? {
        rows += batch.map_err(|error| format!("{error:#}"))?.num_rows();
    }
    Ok(rows)
}

#[test]
fn a_sidecar_opens_its_door_and_closes_it() {
    let dir = files();
    let (sidecar, port) = serving(&dir, TOKENS);
    assert_eq!(rows(port, Some(TOKEN)).unwrap(), items().num_rows());
    assert!(rows(port, None).unwrap_err().contains("token"));
    assert!(rows(port, Some("wrong-token-0123456789")).is_err());
    sidecar.signal(Signal::TERM);
    let (ended, log) = sidecar.wait();
    assert_eq!(ended.code(), Some(0), "{log}");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(log.contains("refused door=\"flight_sql\""), "a refusal is logged: {log}");
    assert!(!log.contains(TOKEN) && !log.contains("wrong-token"), "and no token is: {log}");
}

#[test]
fn whoever_is_anonymous_at_one_door_is_not_at_the_other() {
    let dir = files();
    let more = format!("anonymous = {{ read = [\"items\"] }}\n{HEALTH}{TOKENS}");
    let (sidecar, port) = serving(&dir, &more);
    assert_eq!(rows(port, None).unwrap(), items().num_rows());
    let wanted = "pillion_call_duration_seconds_count{door=\"flight_sql\",operation=\"sql\"}";
    get_until(&sidecar, "/metrics", |it| {
        it.body.lines().any(|line| line.starts_with(wanted) && !line.ends_with(" 0"))
    });
    // A reload takes it away, and says what needs a restart.
    dir.write(
        "pillion.toml",
        config(&format!("[flight_sql]\nlisten = \"127.0.0.1:1\"\n{HEALTH}{TOKENS}{ITEMS}")),
    );
    sidecar.signal(Signal::HUP);
    sidecar.says("it holds after a restart key=\"flight_sql\"");
    sidecar.says("the configuration was taken in");
    assert!(rows(port, None).is_err());
    assert_eq!(rows(port, Some(TOKEN)).unwrap(), items().num_rows());
    sidecar.end();
}

#[test]
fn a_door_that_cannot_open_keeps_the_sidecar_from_starting() {
    let dir = files();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let door =
        format!("[flight_sql]\nlisten = \"{}\"\nanonymous = {{}}\n{ITEMS}", taken.local_addr().unwrap());
    let path = dir.write("pillion.toml", config(&door));
    let path = path.to_str().unwrap().to_owned();
    let check = dir.run(&["config", "check", "--config", &path]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.text().contains("flight_sql") && check.text().contains("for anyone"), "{check:?}");
    let start = dir.run(&["serve", "--config", &path]);
    assert_eq!(start.code, 4, "{start:?}");
    assert!(
        start.errors.contains("the Flight SQL door at") && start.errors.contains("cannot be opened"),
        "{start:?}"
    );
}
