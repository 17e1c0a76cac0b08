//! systemd is told how far the sidecar is, and its sockets are used.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Parser;
use pillion_server::cli::Cli;
use rustix::process::Signal;

use crate::sidecar::{Sidecar, config, socket, url};
use crate::support::{Dir, items, write_parquet};

const ITEMS: &str = "[tables.items]\nfiles = \"items.parquet\"\nprimary_key = [\"id\"]\n";

fn files() -> Dir {
    let dir = Dir::empty();
    write_parquet(&dir.path("items.parquet"), &items());
    dir
}

/// Waits until the supervisor is told something, and returns all that it was told before and then.
#[track_caller]
fn told(supervisor: &UnixDatagram, wanted: &str) -> Vec<String> {
    let (mut told, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let len =
            supervisor.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted} in {told:?}: {error}"));
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let is_wanted = text.lines().any(|line| line == wanted);
        told.push(text);
        if is_wanted {
            return told;
        }
    }
}

#[test]
fn the_supervisor_is_told_how_far_the_sidecar_is() {
    let dir = files();
    let path = dir.path("notify.sock");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let file = dir.write("pillion.toml", config(ITEMS));
    let mut command = dir.command(&["serve", "--config", file.to_str().unwrap()]);
    let sidecar = Sidecar::spawn(command.env("NOTIFY_SOCKET", &path));
    let before = told(&supervisor, "READY=1");
    assert!(before.iter().any(|text| text.starts_with("EXTEND_TIMEOUT_USEC=")), "{before:?}");
    sidecar.says(" ready ");
    told(&supervisor, "WATCHDOG=1");
    sidecar.signal(Signal::HUP);
    let reloading = told(&supervisor, "RELOADING=1");
    assert!(reloading.last().unwrap().contains("\nMONOTONIC_USEC="), "{reloading:?}");
    told(&supervisor, "READY=1");
    sidecar.signal(Signal::TERM);
    told(&supervisor, "STOPPING=1");
    let (status, log) = sidecar.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

/// Starts a sidecar with a socket that is bound already, as descriptor 3.
fn with_socket(dir: &Dir, listener: &UnixListener) -> Sidecar {
    let path = dir.write("pillion.toml", config(ITEMS));
    let script = "exec 3<&0 </dev/null && LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve --config \"$1\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_pillion"), path.to_str().unwrap()]);
    let passed = OwnedFd::from(listener.try_clone().unwrap());
    Sidecar::spawn_with(shell.current_dir(dir.path("")), Stdio::from(passed))
}

#[test]
fn a_socket_of_the_supervisor_is_used_and_stays() {
    let dir = files();
    std::fs::create_dir(dir.path("run")).unwrap();
    let listener = UnixListener::bind(socket(&dir)).unwrap();
    let count = ["sql", "--url", &url(&dir), "--format", "csv", "SELECT count(*) AS n FROM items"];
    for _ in 0..2 {
        // It connects before there is a sidecar, and waits.
        let mut client = dir.command(&count);
        let client = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let sidecar = with_socket(&dir, &listener);
        sidecar.says(" ready ");
        let output = client.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "n\n5\n", "{output:?}");
        assert_eq!(dir.answer(&count), "n\n5\n");
        sidecar.end();
        assert!(socket(&dir).exists(), "the supervisor keeps it");
    }
}

#[test]
fn the_units_of_systemd_run_this_command() {
    let unit = |name: &str| {
        let path = format!("{}/../docs/operate/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<Vec<_>>()
    };
    let service = unit("pillion.service");
    let of = |key: &str| service.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str());
    let command: Vec<&str> = of("ExecStart").unwrap().split_whitespace().collect();
    Cli::try_parse_from(&command).unwrap();
    let check: Vec<&str> = of("ExecStartPre").unwrap().split_whitespace().collect();
    Cli::try_parse_from(&check).unwrap();
    assert_eq!(of("Type"), Some("notify"));
    assert!(of("ExecReload").unwrap().contains("HUP"));
    let seconds = |key| of(key).unwrap().trim_end_matches('s').parse::<u64>().unwrap();
    assert!(seconds("TimeoutStopSec") > 20, "longer than the default of `stop_timeout`");
    assert!(seconds("WatchdogSec") > 20);
    assert!(
        unit("pillion.socket").iter().any(|(key, value)| key == "ListenStream" && value.starts_with("/run/"))
    );
}
