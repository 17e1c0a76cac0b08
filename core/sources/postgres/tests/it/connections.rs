//! Reaching a server, and what is said when that fails.

use std::net::TcpListener;
use std::time::Duration;

use pillion::ErrorCode;
use pillion::source::{Call, Relation, Source};
use pillion_postgres::{Postgres, PostgresOptions, Secret};

use crate::support::rows::{all, lines, patient, statement};
use crate::support::server::{SECRET, SECRET_IN_URL, Server, free_port};

fn one(source: &Postgres) -> pillion::Result<String> {
    all(source, &statement("SELECT current_user::text AS u")).map(|batch| lines(&batch).concat())
}

#[test]
fn a_server_is_reached_by_address_name_socket_or_list() {
    let Some(server) = Server::start() else { return };
    let (port, dir) = (server.port(), server.dir().display().to_string());
    let nobody = free_port();
    for url in [
        format!("postgresql://postgres:{SECRET_IN_URL}@127.0.0.1:{port}/postgres"),
        format!(
            "postgres://postgres:{SECRET_IN_URL}@localhost:{port}/postgres?sslmode=disable&application_name=pillion"
        ),
        format!("postgresql:///postgres?host={dir}&port={port}&user=postgres&password={SECRET_IN_URL}"),
        format!(
            "postgresql://postgres:{SECRET_IN_URL}@{}:{port}?sslmode=verify-full",
            dir.replace('/', "%2F")
        ),
        format!("postgresql://postgres:{SECRET_IN_URL}@127.0.0.1:{nobody},127.0.0.1:{port}/postgres"),
        format!(
            "postgresql://postgres:{SECRET_IN_URL}@127.0.0.1:{port}/postgres?target_session_attrs=read-write"
        ),
    ] {
        assert_eq!(one(&Postgres::from_url(&url).unwrap()).unwrap(), "postgres", "{url}");
    }
    server.wait_until_left_alone();
}

#[test]
fn what_is_wrong_is_said_without_a_secret() {
    let Some(server) = Server::start() else { return };
    server.psql("CREATE ROLE reader LOGIN PASSWORD 'known'; CREATE TABLE private (id int); CREATE TABLE public.shared (id int, hidden int); GRANT SELECT (id) ON shared TO reader; CREATE SCHEMA closed; CREATE TABLE closed.t (id int);");
    let port = server.port();
    let nobody = free_port();
    for (url, code, why) in [
        (
            format!("postgres:wrong{SECRET_IN_URL}@127.0.0.1:{port}/postgres"),
            ErrorCode::SourceRefused,
            "password authentication failed",
        ),
        (
            format!("nobody:{SECRET_IN_URL}@127.0.0.1:{port}/postgres"),
            ErrorCode::SourceRefused,
            "password authentication failed",
        ),
        (
            format!("postgres@127.0.0.1:{port}/postgres?x").replace("?x", ""),
            ErrorCode::SourceRefused,
            "credentials",
        ),
        (
            format!("postgres:{SECRET_IN_URL}@127.0.0.1:{port}/nothing"),
            ErrorCode::SourceNotFound,
            "\"nothing\" does not exist",
        ),
        (
            format!("postgres:{SECRET_IN_URL}@127.0.0.1:{nobody}/postgres"),
            ErrorCode::SourceUnavailable,
            "cannot be reached",
        ),
        (
            format!("postgres:{SECRET_IN_URL}@no-such-host.invalid/postgres"),
            ErrorCode::SourceUnavailable,
            "no-such-host.invalid",
        ),
        (
            format!("postgres:{SECRET_IN_URL}@/postgres?host=/nowhere"),
            ErrorCode::SourceUnavailable,
            "/nowhere",
        ),
        (
            format!("postgres:{SECRET_IN_URL}@127.0.0.1:{port}/postgres?sslmode=require"),
            ErrorCode::SourceUnavailable,
            "encrypted",
        ),
        (
            format!("postgres:{SECRET_IN_URL}@127.0.0.1:{port}/postgres?target_session_attrs=read-only"),
            ErrorCode::SourceUnavailable,
            "127.0.0.1",
        ),
        // A host that refuses the user ends the search, because the next one would be another server's answer.
        (
            format!("postgres:{SECRET_IN_URL}@127.0.0.1:{port},127.0.0.1:{nobody}/nothing"),
            ErrorCode::SourceNotFound,
            "nothing",
        ),
    ] {
        let source = Postgres::from_url(&format!("postgresql://{url}")).unwrap();
        let told = [
            one(&source).unwrap_err(),
            source.relations(&patient()).unwrap_err(),
            source.describe(&Relation::table("t"), &patient()).unwrap_err(),
        ];
        for error in told {
            let shown = format!("{error:?} {error} {error:#} {source:?}");
            assert_eq!(error.code(), code, "{shown}");
            assert!(shown.contains(why), "{shown}");
            assert!(!shown.contains(SECRET) && !shown.contains(SECRET_IN_URL), "{shown}");
        }
    }

    let reader = Postgres::from_url(&format!("postgresql://reader:known@127.0.0.1:{port}/postgres")).unwrap();
    assert_eq!(reader.relations(&patient()).unwrap(), ["public.shared"]);
    for (relation, why) in [
        (Relation::table("private"), "may not read `private`"),
        (Relation::table("closed.t"), "permission denied for schema closed"),
    ] {
        let error = reader.describe(&relation, &patient()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    let shared = pillion::source::Fetch::of(Relation::table("shared"));
    assert_eq!(all(&reader, &shared).unwrap_err().code(), ErrorCode::SourceRefused);
    assert_eq!(all(&reader, &shared.columns(["id"])).unwrap().num_rows(), 0);
    assert_eq!(all(&reader, &statement("TABLE private")).unwrap_err().code(), ErrorCode::SourceRefused);
}

#[test]
fn a_changed_password_is_read_again() {
    let Some(server) = Server::start() else { return };
    server.psql("CREATE ROLE reader LOGIN PASSWORD 'first';");
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |text: &str| {
        std::io::Write::write_all(&mut std::fs::File::create(file.path()).unwrap(), text.as_bytes())
    };
    let url = format!("postgresql://reader@127.0.0.1:{}/postgres", server.port());
    let options = PostgresOptions::from_url(&url).unwrap();
    let from_file = options.clone().password(Secret::File(file.path().into())).build().unwrap();
    write("first\n").unwrap();
    assert_eq!(one(&from_file).unwrap(), "reader");
    server.psql("ALTER ROLE reader PASSWORD 'second';");
    assert_eq!(one(&from_file).unwrap_err().code(), ErrorCode::SourceRefused);
    write("second\n").unwrap();
    assert_eq!(one(&from_file).unwrap(), "reader");
    let told =
        options.password(Secret::Function(std::sync::Arc::new(|| Ok("second".into())))).build().unwrap();
    assert_eq!(one(&told).unwrap(), "reader");
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgresql://postgres:{SECRET_IN_URL}@127.0.0.1:{port}/postgres");
    let options = PostgresOptions::from_url(&url).unwrap();
    let impatient = options.clone().connect_timeout(Duration::from_millis(50)).build().unwrap();
    let error = one(&impatient).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable);
    assert!(error.message().contains("did not accept a session"), "{error}");

    let source = options.build().unwrap();
    let call = Call::within(Duration::from_millis(50));
    assert_eq!(source.relations(&call).unwrap_err().code(), ErrorCode::Timeout);
    let call = Call::new();
    let (other, of_call) = (source.clone(), call.clone());
    let waiting = std::thread::Builder::new()
        .spawn(move || other.describe(&Relation::table("t"), &of_call).unwrap_err().code())
        .unwrap();
    // Those of the two calls before, and that of the call that waits.
    let connections = [silent.accept().unwrap(), silent.accept().unwrap(), silent.accept().unwrap()];
    call.cancel();
    assert_eq!(waiting.join().unwrap(), ErrorCode::Cancelled);
    drop(connections);
    assert_eq!(source.relations(&call).unwrap_err().code(), ErrorCode::Cancelled);
}

/// The one who calls, and the one who drops the last handle, may be a thread of an async runtime.
#[test]
fn a_thread_of_a_runtime_may_call() {
    let Some(server) = Server::start() else { return };
    let source = server.source();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let user = runtime.block_on(async move { one(&source) });
    assert_eq!(user.unwrap(), "postgres");
}
