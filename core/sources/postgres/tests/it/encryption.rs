//! Encrypted connections: which certificates are accepted.

use std::process::Command;

use pillion::ErrorCode;
use pillion_postgres::{Postgres, PostgresOptions};

use crate::support::certificates::encrypted_server;
use crate::support::rows::{all, lines, statement};

#[test]
fn certificates_are_verified_as_far_as_the_mode_says() {
    let Some(server) = encrypted_server(&[]) else { return };
    let encrypted = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let try_at = |host: &str, mode: &str, root: Option<&str>| {
        let url = server.url_at(server.port(), &format!("sslmode={mode}")).replace("127.0.0.1", host);
        let mut options = PostgresOptions::from_url(&url).unwrap();
        if let Some(root) = root {
            options = options.root_certificates(server.dir().join(root));
        }
        all(&options.build().unwrap(), &statement(encrypted)).map(|rows| lines(&rows).concat())
    };
    for (host, mode, root, answer) in [
        ("localhost", "disable", None, Ok("false")),
        ("localhost", "prefer", None, Ok("true")),
        ("localhost", "require", None, Ok("true")),
        ("localhost", "require", Some("root.pem"), Ok("true")),
        ("localhost", "require", Some("stranger.pem"), Err("UnknownIssuer")),
        ("localhost", "verify-ca", Some("root.pem"), Ok("true")),
        ("127.0.0.1", "verify-ca", Some("root.pem"), Ok("true")),
        ("127.0.0.1", "verify-ca", Some("stranger.pem"), Err("UnknownIssuer")),
        ("localhost", "verify-full", Some("root.pem"), Ok("true")),
        ("localhost", "verify-full", Some("stranger.pem"), Err("UnknownIssuer")),
        ("127.0.0.1", "verify-full", Some("root.pem"), Err("not valid for name")),
    ] {
        match (try_at(host, mode, root), answer) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{host} {mode}"),
            (Err(error), Err(why)) => {
                assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
                assert!(error.message().contains(why), "{host} {mode}: {error:?}");
            }
            (found, _) => panic!("{host} {mode} {root:?}: {found:?}"),
        }
    }
    let error = try_at("localhost", "verify-full", Some("nothing.pem")).unwrap_err();
    assert!(error.code() == ErrorCode::SourceRefused && error.message().contains("nothing.pem"), "{error}");
    let error = try_at("localhost", "verify-full", None).unwrap_err();
    assert_ne!(error.code(), ErrorCode::Internal, "{error}");
}

#[test]
fn a_client_shows_its_certificate() {
    let Some(server) = encrypted_server(&[]) else { return };
    let rules = server.dir().join("data/pg_hba.conf");
    let mut file = std::fs::File::create(&rules).unwrap();
    std::io::Write::write_all(&mut file, b"hostssl all all 127.0.0.1/32 cert\n").unwrap();
    // Without the password that the server's own settings asked for until now.
    let _ = Command::new("kill").args(["-HUP", &server.process_id().to_string()]).status();
    let url = format!("postgresql://postgres@127.0.0.1:{}/postgres?sslmode=require", server.port());
    let file = |name: &str| server.dir().join(name);
    let anonymous = Postgres::from_url(&url).unwrap();
    let shown = PostgresOptions::from_url(&url).unwrap();
    let shown = shown.client_certificate(file("client.pem"), file("client.key")).build().unwrap();
    // The server reads its rules a moment after it was told to.
    while all(&shown, &statement("SELECT 1 AS one")).is_err() {
        std::thread::yield_now();
    }
    assert!(all(&anonymous, &statement("SELECT 1 AS one")).is_err());
}
