//! Encrypted connections: which certificates are accepted.

use std::path::Path;
use std::process::{Command, Stdio};

use pillion::ErrorCode;
use pillion_mysql::{MySql, MySqlOptions};

use crate::support::report::not_run;
use crate::support::rows::{all, lines, statement};
use crate::support::server::{SECRET_IN_URL, Server};

/// Whether the connection is encrypted: the cipher, or nothing.
const ENCRYPTED: &str = "SELECT variable_value <> '' AS e FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'";

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
        && signed("client", "guest", "extendedKeyUsage=clientAuth\n")
}

fn server() -> Option<Server> {
    let mut is_made = false;
    let server = Server::start_with(|dir| {
        is_made = certificates(dir);
        if !is_made {
            return Vec::new();
        }
        let file = |name: &str| dir.join(name).display().to_string();
        vec![
            format!("--ssl-cert={}", file("server.pem")),
            format!("--ssl-key={}", file("server.key")),
            format!("--ssl-ca={}", file("root.pem")),
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
    let try_at = |host: &str, parameters: &str, root: Option<&str>| {
        let url = server.url_at(server.port(), parameters).replace("127.0.0.1", host);
        let mut options = MySqlOptions::from_url(&url).unwrap();
        if let Some(root) = root {
            options = options.root_certificates(server.dir().join(root));
        }
        all(&options.build().unwrap(), &statement(ENCRYPTED)).map(|rows| lines(&rows).concat())
    };
    for (host, parameters, root, answer) in [
        ("localhost", "ssl-mode=disable", None, Ok("0")),
        ("localhost", "ssl-mode=require-unverified", None, Ok("1")),
        ("127.0.0.1", "ssl-mode=require-unverified", Some("stranger.pem"), Ok("1")),
        ("localhost", "ssl-mode=verify-full", Some("root.pem"), Ok("1")),
        ("localhost", "", Some("root.pem"), Ok("1")),
        ("localhost", "", Some("stranger.pem"), Err("UnknownIssuer")),
        ("127.0.0.1", "", Some("root.pem"), Err("not valid for name")),
        ("127.0.0.1", "ssl-name=localhost", Some("root.pem"), Ok("1")),
        ("127.0.0.1", "ssl-name=localhost", Some("stranger.pem"), Err("UnknownIssuer")),
        ("localhost", "ssl-name=other.example", Some("root.pem"), Err("not valid for name")),
        // The authorities of the system did not sign it.
        ("localhost", "", None, Err("")),
    ] {
        match (try_at(host, parameters, root), answer) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{host} {parameters}"),
            (Err(error), Err(why)) => {
                let codes = [ErrorCode::SourceUnavailable, ErrorCode::SourceRefused];
                assert!(codes.contains(&error.code()), "{error}");
                assert!(error.message().contains(why), "{host} {parameters}: {error:?}");
                assert!(!format!("{error:?}").contains(SECRET_IN_URL));
            }
            (found, _) => panic!("{host} {parameters} {root:?}: {found:?}"),
        }
    }
    let error = try_at("localhost", "", Some("nothing.pem")).unwrap_err();
    assert!(error.code() == ErrorCode::SourceRefused && error.message().contains("nothing.pem"), "{error}");
    server.wait_until_left_alone();
}

/// Another connection asks the server to stop, and it is encrypted too.
#[test]
fn an_encrypted_fetch_is_stopped_on_the_server() {
    let Some(server) = server() else { return };
    server.sql("ALTER USER reader REQUIRE SSL;");
    let url = server.url_at(server.port(), "ssl-name=localhost");
    let options = MySqlOptions::from_url(&url).unwrap().root_certificates(server.dir().join("root.pem"));
    let source = options.build().unwrap();
    let call = pillion::source::Call::within(std::time::Duration::from_millis(300));
    let endless = statement("SELECT count(*) AS n FROM seq_1_to_1000000 a, seq_1_to_1000000 b");
    let failed = pillion::source::Source::fetch(&source, &endless, &call);
    let failed = failed.and_then(|fetched| fetched.collect::<Result<Vec<_>, _>>());
    assert_eq!(failed.unwrap_err().code(), ErrorCode::Timeout);
    server.wait_until_left_alone();
    assert_eq!(
        all(&server.source(), &statement("SELECT 1 AS one")).unwrap_err().code(),
        ErrorCode::SourceRefused
    );
}

#[test]
fn a_client_shows_its_certificate() {
    let Some(server) = server() else { return };
    server.sql("CREATE USER guest REQUIRE SUBJECT '/CN=guest';");
    let url = format!("mysql://guest@localhost:{}", server.port());
    let file = |name: &str| server.dir().join(name);
    let options = MySqlOptions::from_url(&url).unwrap().root_certificates(file("root.pem"));
    let shown = options.clone().client_certificate(file("client.pem"), file("client.key")).build().unwrap();
    assert_eq!(lines(&all(&shown, &statement("SELECT 1 AS one")).unwrap()), ["1"]);
    let anonymous: MySql = options.clone().build().unwrap();
    let error = all(&anonymous, &statement("SELECT 1 AS one")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
    let lost = options.client_certificate(file("client.pem"), file("lost.key")).build().unwrap();
    let error = all(&lost, &statement("SELECT 1 AS one")).unwrap_err();
    assert!(error.code() == ErrorCode::SourceRefused && error.message().contains("lost.key"), "{error}");
}
