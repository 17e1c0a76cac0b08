//! Logging in, with and without encryption.

use std::io::Write;

use pillion::ErrorCode;

use super::support::certificates::encrypted_server;
use super::support::server::{SECRET, SECRET_IN_URL, free_port};
use super::*;

async fn open(url: &str) -> pillion::Result<Connection> {
    Connection::open(Arc::new(PostgresOptions::from_url(url).unwrap())).await
}

#[test]
fn passwords_are_sent_as_the_server_asks_for_them() {
    let rules = "host all scram 127.0.0.1/32 scram-sha-256\nhost all digest 127.0.0.1/32 md5\n\
        host all clear 127.0.0.1/32 password\nhost all anyone 127.0.0.1/32 trust\nhost all postgres 127.0.0.1/32 scram-sha-256\n\
        local all all scram-sha-256\n";
    let made = |dir: &std::path::Path| {
        std::fs::File::create(dir.join("rules")).unwrap().write_all(rules.as_bytes()).unwrap();
        let mut settings: Vec<String> = SETTINGS.iter().map(ToString::to_string).collect();
        settings.push(format!("hba_file={}", dir.join("rules").display()));
        settings
    };
    let Some(server) = Server::start_with(made) else { return };
    server.psql(
        "CREATE ROLE scram LOGIN REPLICATION PASSWORD 'open sesame'; CREATE ROLE clear LOGIN REPLICATION PASSWORD 'open sesame'; \
         CREATE ROLE anyone LOGIN REPLICATION; SET password_encryption = 'md5'; \
         CREATE ROLE digest LOGIN REPLICATION PASSWORD 'open sesame';",
    );
    let port = server.port();
    run(async {
        for user in ["scram", "digest", "clear"] {
            let url = |password: &str| format!("postgresql://{user}{password}@127.0.0.1:{port}/postgres");
            let mut connection = open(&url(":open%20sesame")).await.unwrap();
            assert_eq!(connection.query("SELECT current_user").await.unwrap(), [[Some(user.to_owned())]]);
            for password in ["", ":wrong"] {
                let error = open(&url(password)).await.err().unwrap();
                assert_eq!(error.code(), ErrorCode::SourceRefused, "{user}{password}: {error}");
                assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
            }
        }
        open(&format!("postgresql://anyone@127.0.0.1:{port}/postgres")).await.unwrap();
        let dir = server.dir().display();
        open(&format!(
            "postgresql:///postgres?host={dir}&port={port}&user=postgres&password={SECRET_IN_URL}"
        ))
        .await
        .unwrap();
        let error = open(&format!("postgresql://anyone@127.0.0.1:{port}/nothing")).await.err().unwrap();
        assert_eq!(error.code(), ErrorCode::SourceNotFound, "{error}");
    });
}

#[test]
fn certificates_are_verified_and_logins_bound_to_them() {
    let Some(server) = encrypted_server(&SETTINGS) else { return };
    run(async {
        for (host, mode, root, expected) in [
            ("localhost", "disable", None, Ok("f")),
            ("localhost", "prefer", None, Ok("t")),
            ("localhost", "require", None, Ok("t")),
            ("127.0.0.1", "verify-ca", Some("root.pem"), Ok("t")),
            ("localhost", "verify-ca", Some("stranger.pem"), Err("UnknownIssuer")),
            ("localhost", "verify-full", Some("root.pem"), Ok("t")),
            ("127.0.0.1", "verify-full", Some("root.pem"), Err("not valid for name")),
        ] {
            let url = server.url_at(server.port(), &format!("sslmode={mode}")).replace("127.0.0.1", host);
            let mut options = PostgresOptions::from_url(&url).unwrap();
            if let Some(root) = root {
                options = options.root_certificates(server.dir().join(root));
            }
            match (Connection::open(Arc::new(options)).await, expected) {
                (Ok(mut connection), Ok(is_encrypted)) => {
                    let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
                    let found = connection.query(query).await.unwrap();
                    assert_eq!(found, [[Some(is_encrypted.to_owned())]], "{host} {mode}");
                }
                (Err(error), Err(why)) => {
                    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
                    assert!(error.message().contains(why), "{host} {mode}: {error}");
                }
                (found, _) => panic!("{host} {mode}: {:?}", found.err()),
            }
        }
    });
}

#[test]
fn a_server_without_encryption_is_refused_where_it_is_required() {
    let Some(server) = server() else { return };
    run(async {
        let error = open(&server.url_at(server.port(), "sslmode=require")).await.err().unwrap();
        assert!(error.message().contains("the server does not offer it"), "{error}");
        open(&server.url_at(server.port(), "sslmode=prefer")).await.unwrap();
        let nobody = free_port();
        let url = server
            .url_at(server.port(), "sslmode=disable")
            .replace("127.0.0.1:", &format!("127.0.0.1:{nobody},127.0.0.1:"));
        open(&url).await.unwrap();
        let error = open(&server.url_at(nobody, "sslmode=disable")).await.err().unwrap();
        assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
        assert!(!format!("{error:?}").contains(SECRET));
    });
}
