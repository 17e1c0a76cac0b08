//! The driver for Flight SQL of ADBC, in Python.

use std::path::PathBuf;
use std::process::Command;

use pillion_access::{Permissions, Tables};
use pillion_flight::{FlightOptions, TlsFiles};

use crate::support::certificates::Certificates;
use crate::support::{Served, everything, listen, report, token};

/// A Python with the driver, or `None` after a report.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("PILLION_TEST_ADBC_FLIGHT").map(PathBuf::from);
    let python = named.unwrap_or_else(|| PathBuf::from("python3"));
    let imports = "import adbc_driver_flightsql, adbc_driver_manager, pyarrow";
    let has_them =
        Command::new(&python).args(["-c", imports]).output().is_ok_and(|done| done.status.success());
    if !has_them {
        report::not_run("there is no Python with adbc-driver-flightsql and pyarrow");
        return None;
    }
    Some(python)
}

fn run(python: PathBuf, arguments: &[&str]) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/adbc.py");
    let done = Command::new(python).arg(script).args(arguments).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}");
    assert!(said.contains("everything ran"), "{said}");
}

#[test]
fn a_session_of_adbc_does_everything() {
    let Some(python) = python() else { return };
    let reader = Permissions { read: Tables::of(["items"]), ..Permissions::default() };
    let served =
        Served::with(FlightOptions::new(listen()), &[("all", everything()), ("reader", reader)], None);
    served.define_many();
    let url = format!("grpc+tcp://{}", served.address());
    run(python, &["session", &url, &token("all"), &token("reader")]);
}

#[test]
fn a_session_of_adbc_is_encrypted() {
    let Some(python) = python() else { return };
    let Some(certificates) = Certificates::make() else { return };
    let files = TlsFiles {
        certificate: certificates.file("server.pem"),
        key: certificates.file("server.key"),
        client_authorities: Some(certificates.file("root.pem")),
    };
    let options = FlightOptions::new(listen()).tls(files);
    let served = Served::with(options, &[], Some(everything()));
    let url = format!("grpc+tls://localhost:{}", served.address().port());
    let file = |name: &str| certificates.file(name).to_str().unwrap().to_owned();
    run(python, &["encrypted", &url, &file("root.pem"), &file("client.pem"), &file("client.key")]);
}
