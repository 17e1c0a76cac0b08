//! Reaching a server, and what is said when that fails.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use pillion::ErrorCode;
use pillion::source::{Call, Fetch, Relation, Source};
use pillion_mysql::{MySql, MySqlOptions, Secret};

use crate::support::rows::{all, lines, patient, statement};
use crate::support::server::{SECRET, SECRET_IN_URL, Server, free_port};

fn one(source: &MySql) -> pillion::Result<String> {
    all(source, &statement("SELECT USER() AS u"))
        .map(|batch| lines(&batch).concat().split('@').next().unwrap().to_owned())
}

#[test]
fn a_server_is_reached_by_address_name_or_socket() {
    let Some(server) = Server::start() else { return };
    let (port, socket) = (server.port(), server.socket());
    for url in [
        format!("mysql://reader:{SECRET_IN_URL}@127.0.0.1:{port}/shop?ssl-mode=disable"),
        format!("mariadb://reader:{SECRET_IN_URL}@localhost:{port}?ssl-mode=disabled"),
        // Whatever is said of encryption: there is none on a socket.
        format!("mysql://reader:{SECRET_IN_URL}@/shop?socket={socket}"),
        format!(
            "mysql:///shop?socket={}&user=reader&password={SECRET_IN_URL}&ssl-mode=verify-full",
            socket.replace('/', "%2F")
        ),
    ] {
        assert_eq!(one(&MySql::from_url(&url).unwrap()).unwrap(), "reader", "{url}");
    }
    server.wait_until_left_alone();
}

#[test]
fn the_user_of_a_process_is_known_on_a_socket() {
    let Some(server) = Server::start() else { return };
    let output = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    server.sql(&format!("CREATE OR REPLACE USER `{user}`@localhost IDENTIFIED VIA unix_socket;"));
    let url = format!("mysql://{user}@/?socket={}", server.socket());
    assert_eq!(one(&MySql::from_url(&url).unwrap()).unwrap(), user);
}

#[test]
fn what_is_wrong_is_said_without_a_secret() {
    let Some(server) = Server::start() else { return };
    server.sql(
        "CREATE USER guest IDENTIFIED BY 'known'; CREATE TABLE private (id int); CREATE TABLE shared (id int, hidden int); \
         GRANT SELECT (id) ON shop.shared TO guest; CREATE DATABASE closed; CREATE TABLE closed.t (id int);",
    );
    let port = server.port();
    let nobody = free_port();
    for (url, code, why) in [
        (
            format!("reader:wrong{SECRET_IN_URL}@127.0.0.1:{port}/shop?ssl-mode=disable"),
            ErrorCode::SourceRefused,
            "Access denied for user 'reader'",
        ),
        (
            format!("nobody:{SECRET_IN_URL}@127.0.0.1:{port}/shop?ssl-mode=disable"),
            ErrorCode::SourceRefused,
            "Access denied for user 'nobody'",
        ),
        (
            format!("reader@127.0.0.1:{port}/shop?ssl-mode=disable"),
            ErrorCode::SourceRefused,
            "using password: NO",
        ),
        (
            format!("reader:{SECRET_IN_URL}@127.0.0.1:{port}/nothing?ssl-mode=disable"),
            ErrorCode::SourceNotFound,
            "Unknown database 'nothing'",
        ),
        (
            format!("guest:known@127.0.0.1:{port}/closed?ssl-mode=disable"),
            ErrorCode::SourceRefused,
            "to database 'closed'",
        ),
        (
            format!("reader:{SECRET_IN_URL}@127.0.0.1:{nobody}/shop"),
            ErrorCode::SourceUnavailable,
            "cannot be reached",
        ),
        (
            format!("reader:{SECRET_IN_URL}@no-such-host.invalid/shop"),
            ErrorCode::SourceUnavailable,
            "no-such-host.invalid:3306: the host is not known",
        ),
        (
            format!("reader:{SECRET_IN_URL}@/shop?socket=/nowhere/socket"),
            ErrorCode::SourceUnavailable,
            "/nowhere/socket cannot be reached",
        ),
        (
            format!("reader:{SECRET_IN_URL}@127.0.0.1:{port}/shop?ssl-mode=require-unverified"),
            ErrorCode::SourceUnavailable,
            "offers no encrypted connection",
        ),
    ] {
        let source = MySql::from_url(&format!("mysql://{url}")).unwrap();
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

    let guest = format!("mysql://guest:known@127.0.0.1:{port}/shop?ssl-mode=disable");
    let guest = MySql::from_url(&guest).unwrap();
    assert_eq!(guest.relations(&patient()).unwrap(), ["shop.shared"]);
    for (relation, why) in [
        (Relation::table("private"), "for table `shop`.`private`"),
        (Relation::table("closed.t"), "for table `closed`.`t`"),
    ] {
        let error = guest.describe(&relation, &patient()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    // `SELECT *` needs all columns, so a user who may read some of them names these.
    let error = all(&guest, &Fetch::of(Relation::table("shared"))).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
    assert_eq!(all(&guest, &statement("SELECT id FROM shared")).unwrap().num_rows(), 0);
}

#[test]
fn a_changed_password_is_read_again() {
    let Some(server) = Server::start() else { return };
    server.sql("CREATE USER guest IDENTIFIED BY 'first';");
    let file = tempfile::NamedTempFile::new().unwrap();
    let write =
        |text: &str| Write::write_all(&mut std::fs::File::create(file.path()).unwrap(), text.as_bytes());
    let url = format!("mysql://guest@127.0.0.1:{}?ssl-mode=disable", server.port());
    let options = MySqlOptions::from_url(&url).unwrap();
    let from_file = options.clone().password(Secret::File(file.path().into())).build().unwrap();
    write("first\n").unwrap();
    assert_eq!(one(&from_file).unwrap(), "guest");
    server.sql("SET PASSWORD FOR guest = PASSWORD('second');");
    assert_eq!(one(&from_file).unwrap_err().code(), ErrorCode::SourceRefused);
    write("second\n").unwrap();
    assert_eq!(one(&from_file).unwrap(), "guest");
    let told = options
        .clone()
        .password(Secret::Function(std::sync::Arc::new(|| Ok("second".into()))))
        .build()
        .unwrap();
    assert_eq!(one(&told).unwrap(), "guest");
    let unset = options.password(Secret::Environment("PILLION_TEST_NOT_SET".into())).build().unwrap();
    let error = one(&unset).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceRefused);
    assert!(error.message().contains("PILLION_TEST_NOT_SET"), "{error}");
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("mysql://reader:{SECRET_IN_URL}@127.0.0.1:{port}/shop?ssl-mode=disable");
    let options = MySqlOptions::from_url(&url).unwrap();
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

#[test]
fn a_server_of_another_protocol_is_no_panic() {
    let greetings: [(&[u8], ErrorCode, &str); 5] = [
        (
            b"\x17\x00\x00\x00\xff\x10\x04Too many connections",
            ErrorCode::SourceUnavailable,
            "Too many connections",
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorCode::SourceUnavailable, "cannot be reached"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ErrorCode::SourceUnavailable, "cannot be reached"),
        (b"\x01\x00\x00\x00\x0a", ErrorCode::SourceUnavailable, "cannot be reached"),
        (b"", ErrorCode::SourceUnavailable, "cannot be reached"),
    ];
    for (greeting, code, why) in greetings {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answering = std::thread::Builder::new()
            .spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(greeting).unwrap();
            })
            .unwrap();
        let url = format!("mysql://reader:{SECRET_IN_URL}@127.0.0.1:{port}/shop?ssl-mode=disable");
        let error = MySql::from_url(&url).unwrap().relations(&patient()).unwrap_err();
        answering.join().unwrap();
        assert_eq!(error.code(), code, "{error:?}");
        assert!(error.message().contains(why), "{error:?}");
        assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    }
}

/// The one who calls, and the one who drops the last handle, may be a thread of an async runtime.
#[test]
fn a_thread_of_a_runtime_may_call() {
    let Some(server) = Server::start() else { return };
    let source = server.source();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let user = runtime.block_on(async move { one(&source) });
    assert_eq!(user.unwrap(), "reader");
}
