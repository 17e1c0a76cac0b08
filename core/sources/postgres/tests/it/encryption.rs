//! Encrypted connections: which certificates are accepted.

use std::path::Path;
use std::process::{Command, Stdio};

use pillion::ErrorCode;
use pillion_postgres::{Postgres, PostgresOptions};

use crate::support::report::not_run;
use crate::support::rows::{all, lines, statement};
use crate::support::server::Server;

/// Makes an authority, a certificate of the server for `localhost`, one of a client, and another authority.
fn certificates(dir: &Path) -> bool {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command
            .current_dir(dir)
            .args(arguments.split_whitespace())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let authority = |name: &str| {
        openssl(&format!(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"
        ))
    };
    let signed = |name: &str, subject: &str, names: &str| {
        let mut file = std::fs::File::create(dir.join("names")).unwrap();
        std::io::Write::write_all(&mut file, names.as_bytes()).unwrap();
        openssl(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={subject} -keyout {name}.key -out {name}.csr"
        )) && openssl(&format!(
            "x509 -req -in {name}.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 -extfile names -out {name}.pem"
        ))
    };
    authority("root")
        && authority("stranger")
        && signed("server", "localhost", "subjectAltName=DNS:localhost\n")
        && signed("client", "postgres", "extendedKeyUsage=clientAuth\n")
}

fn server() -> Option<Server> {
    let mut is_made = false;
    let server = Server::start_with(|dir| {
        is_made = certificates(dir);
        if !is_made {
            return Vec::new();
        }
        let _ = Command::new("chmod").arg("600").arg(dir.join("server.key")).status();
        let file = |name: &str| dir.join(name).display().to_string();
        vec![
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", file("server.pem")),
            format!("ssl_key_file={}", file("server.key")),
            format!("ssl_ca_file={}", file("root.pem")),
        ]
    })?;
    if !is_made {
        not_run("there is no openssl to make certificates");
        return None;
    }
    Some(server)
}

#[test]
fn certificates_are_verified_as_far_as_the_mode_says() {
    let Some(server) = server() else { return };
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
    let Some(server) = server() else { return };
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
