//! Probes are answered from the start to the end, and say what is missing.

use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::probes::{HEALTH, address, get, get_until, send};
use crate::sidecar::{Sidecar, config, url};
use crate::support::{Dir, items, write_parquet};

const ITEMS: &str = "[tables.items]\nfiles = \"items.parquet\"\nprimary_key = [\"id\"]\n";

/// A query that runs until it is ended.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 4000000000) AS a(x) WHERE x % 7 = 8";

fn files() -> Dir {
    let dir = Dir::empty();
    write_parquet(&dir.path("items.parquet"), &items());
    dir
}

/// A client whose query does not end; killed when dropped.
struct Busy(Child);

impl Busy {
    fn new(dir: &Dir) -> Self {
        let mut command = dir.command(&["sql", "--url", &url(dir), ENDLESS]);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts clients, and waits until their queries run: a sidecar with nothing to do takes no processor time.
fn busy(sidecar: &Sidecar, dir: &Dir, clients: usize) -> Vec<Busy> {
    let busy = (0..clients).map(|_| Busy::new(dir)).collect();
    let connected = format!("\npillion_connections {clients}\n");
    get_until(sidecar, "/metrics", |metrics| metrics.body.contains(&connected));
    let before = sidecar.processor_ticks();
    while sidecar.processor_ticks() < before + 50 {
        std::thread::yield_now();
    }
    busy
}

#[test]
fn a_sidecar_with_all_its_tables_is_ready() {
    let dir = files();
    let sidecar = Sidecar::ready(&dir, &config(&format!("{HEALTH}{ITEMS}")));
    for (path, status) in
        [("/health/live", "live"), ("/health/startup", "started"), ("/health/ready", "ready")]
    {
        let response = get(&sidecar, path);
        assert_eq!(response.code, 200, "{response:?}");
        assert_eq!(response.json(), serde_json::json!({ "status": status, "reasons": [] }));
        assert_eq!(response.headers["cache-control"], "no-store");
    }
    let unknown = get(&sidecar, "/healthy");
    assert_eq!(unknown.code, 404);
    assert!(unknown.body.contains("/health/live"), "{unknown:?}");
    let post = send(&address(&sidecar), "POST /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!((post.code, post.headers["allow"].as_str()), (405, "GET, HEAD"));
    let head = send(&address(&sidecar), "HEAD /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!((head.code, head.body.as_str()), (200, ""));
    for probe in ["--ready", "--live"] {
        let path = dir.path("pillion.toml");
        assert_eq!(dir.run(&["status", probe, "--config", path.to_str().unwrap()]).answer(), "");
    }
    let path = dir.path("pillion.toml");
    sidecar.end();
    let probe = |what| dir.run(&["status", what, "--config", path.to_str().unwrap()]);
    probe("--live").fails(4, &["the last one closed the cache"]);
    probe("--ready").fails(4, &["pillion.sock"]);
}

#[test]
fn without_the_section_nothing_listens() {
    let dir = files();
    let sidecar = Sidecar::ready(&dir, &config(ITEMS));
    assert!(!sidecar.end().contains("probes and metrics"));
}

#[test]
fn an_address_that_is_taken_is_named() {
    let dir = files();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let path = dir.write(
        "pillion.toml",
        config(&format!("log = \"error\"\n[health]\nlisten = \"{address}\"\n{ITEMS}")),
    );
    let outcome = dir.run(&["serve", "--config", path.to_str().unwrap()]);
    outcome.fails(4, &[&address.to_string(), "`listen` of [health]"]);
}

#[test]
fn a_table_that_is_missing_is_named_with_the_reason() {
    let dir = files();
    let fed = "[sources.shop]\nurl = \"sqlite://missing.db\"\n[tables.orders]\nsource = \"shop\"\ninterval = \"1 s\"\n";
    let sidecar = Sidecar::ready(&dir, &config(&format!("{HEALTH}{ITEMS}{fed}")));
    let response = get_until(&sidecar, "/health/ready", |it| it.body.contains("the last refresh failed"));
    assert_eq!(response.code, 503, "{response:?}");
    let json = response.json();
    assert_eq!(json["status"], "not ready");
    assert_eq!(json["reasons"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(json["reasons"][0]["table"], "orders");
    let reason = json["reasons"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("it is not loaded yet; the last refresh failed: "), "{reason}");
    assert_eq!(get(&sidecar, "/health/startup").code, 200, "the others are served");
    assert_eq!(get(&sidecar, "/health/live").code, 200, "a restart would not help");
    let path = dir.path("pillion.toml");
    dir.run(&["status", "--ready", "--config", path.to_str().unwrap()])
        .fails(4, &["not ready: table `orders`: it is not loaded yet"]);
    sidecar.end();

    let health = "[health]\nlisten = \"127.0.0.1:0\"\nready_tables = [\"items\"]\n";
    let sidecar = Sidecar::ready(&dir, &config(&format!("{health}{ITEMS}{fed}")));
    assert_eq!(get(&sidecar, "/health/ready").code, 200, "the configuration does not wait for it");
    dir.run(&["status", "--ready", "--config", path.to_str().unwrap()]).answer();
    sidecar.end();
}

#[test]
fn rows_that_are_too_old_count_if_the_configuration_says_so() {
    let dir = files();
    let stale = format!("{ITEMS}max_staleness = \"1 ms\"\n");
    let sidecar = Sidecar::ready(&dir, &config(&format!("{HEALTH}{stale}")));
    assert_eq!(get(&sidecar, "/health/ready").code, 200);
    sidecar.end();
    let sidecar = Sidecar::ready(&dir, &config(&format!("{HEALTH}ready_fresh = true\n{stale}")));
    let json = get(&sidecar, "/health/ready").json();
    let reason = json["reasons"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("its rows are ") && reason.ends_with("and may be at most 1 ms old"), "{json}");
    sidecar.end();
}

/// The start waits for a file that nobody writes.
#[test]
fn a_start_that_takes_long_is_alive_and_not_ready() {
    let dir = files();
    assert!(Command::new("mkfifo").arg(dir.path("slow.csv")).status().unwrap().success());
    let slow = "[tables.slow]\nfiles = \"slow.csv\"\n";
    let sidecar = Sidecar::start(&dir, &config(&format!("{HEALTH}{ITEMS}{slow}")));
    sidecar.says("table loaded");
    assert_eq!(get(&sidecar, "/health/live").code, 200);
    for path in ["/health/startup", "/health/ready"] {
        let response = get(&sidecar, path);
        assert_eq!(response.code, 503);
        assert!(response.body.contains("loads tables"), "{response:?}");
    }
    assert!(get(&sidecar, "/metrics").body.contains("\npillion_ready 0\n"));
    let path = dir.path("pillion.toml");
    dir.run(&["status", "--live", "--config", path.to_str().unwrap()]).answer();
    sidecar.signal(Signal::TERM);
    let (status, log) = sidecar.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn probes_are_answered_while_all_threads_of_queries_are_busy() {
    let dir = files();
    let sidecar = Sidecar::ready(&dir, &config(&format!("query_threads = 1\n{HEALTH}{ITEMS}")));
    let busy = busy(&sidecar, &dir, 4);
    for _ in 0..20 {
        for path in ["/health/live", "/health/startup", "/health/ready"] {
            assert_eq!(get(&sidecar, path).code, 200);
        }
    }
    drop(busy);
    sidecar.end();
}

#[test]
fn while_it_drains_it_is_alive_and_not_ready() {
    let dir = files();
    let sidecar = Sidecar::ready(&dir, &config(&format!("{HEALTH}{ITEMS}")));
    let busy = busy(&sidecar, &dir, 1);
    sidecar.signal(Signal::TERM);
    let response = get_until(&sidecar, "/health/ready", |it| it.code == 503);
    assert!(response.body.contains("the sidecar ends"), "{response:?}");
    assert_eq!(get(&sidecar, "/health/live").code, 200);
    drop(busy);
    let (status, log) = sidecar.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}
