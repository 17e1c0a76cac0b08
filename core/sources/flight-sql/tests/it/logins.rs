//! Tokens, passwords and headers.

use pillion::ErrorCode;
use pillion::source::Source;
use pillion_flight_sql::{FlightSql, Secret};

use crate::support::peer::{Login, Manners, Peer};
use crate::support::roapi::Server;
use crate::support::{all, call, numbers, options, table};

const TOKEN: &str = "t0ken-of-the-test";
const PASSWORD: &str = "s3cret";

#[test]
fn a_real_server_asks_for_a_token_or_a_password() {
    let settings = format!(
        "flight_sql_config: {{auth_token: {TOKEN}, auth_basic: {{username: reader, password: {PASSWORD}}}}}\n"
    );
    let Some(server) = Server::start_with(&[("numbers", &[numbers(0, 3)])], &settings) else { return };
    let wanted = table("numbers");
    let url = server.url();
    let by_token = options(&url).token(TOKEN).build().unwrap();
    assert_eq!(all(&by_token, &wanted).unwrap(), numbers(0, 3));
    let by_password = options(&url).user("reader", PASSWORD).build().unwrap();
    assert_eq!(all(&by_password, &wanted).unwrap(), numbers(0, 3));
    let in_url = FlightSql::from_url(&url.replace("://", &format!("://reader:{PASSWORD}@"))).unwrap();
    assert_eq!(all(&in_url, &wanted).unwrap(), numbers(0, 3));
    for source in [
        FlightSql::from_url(&url).unwrap(),
        options(&url).token("wrong-t0ken").build().unwrap(),
        options(&url).user("reader", "wrong-s3cret").build().unwrap(),
        options(&url).token(Secret::Environment("PILLION_NOT_SET".into())).build().unwrap(),
        options(&url).token(Secret::File("/no/such/file".into())).build().unwrap(),
    ] {
        let error = all(&source, &wanted).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
        let shown = format!("{error:?} {error:#} {source:?}");
        assert!(!shown.contains("wrong-"), "{shown}");
    }
    // A token that is replaced takes effect without a new source.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old").unwrap();
    let from_file = options(&url).token(Secret::File(file.path().into())).build().unwrap();
    assert_eq!(all(&from_file, &wanted).unwrap_err().code(), ErrorCode::SourceRefused);
    std::fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
    assert_eq!(all(&from_file, &wanted).unwrap(), numbers(0, 3));
}

fn with_token(login: Login, refusal: &'static str) -> Peer {
    let parts = vec![vec![numbers(0, 3)]];
    Peer::start(Manners { parts, token: Some(TOKEN), login, refusal, ..Manners::default() })
}

#[test]
fn a_login_gets_a_token_for_all_calls() {
    for login in [Login::Header, Login::Answer] {
        let peer = with_token(login, "no");
        let source = options(&peer.url()).user("reader", PASSWORD).build().unwrap();
        assert_eq!(all(&source, &table("rows")).unwrap(), numbers(0, 3));
        let log = peer.log();
        assert_eq!(log[0], "Handshake");
        assert!(log[1..].iter().all(|line| line.contains(TOKEN)), "{log:#?}");
        let wrong = options(&peer.url()).user("reader", "other").build().unwrap();
        let error = all(&wrong, &table("rows")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
    }
}

#[test]
fn a_server_without_handshake_sees_the_password_with_every_call() {
    let peer = Peer::of(numbers(0, 3));
    let source = options(&peer.url()).user("reader", PASSWORD).header("database", "shop").build().unwrap();
    all(&source, &table("rows")).unwrap();
    let log = peer.log();
    assert!(
        log[1..]
            .iter()
            .all(|line| line.contains("=Basic cmVhZGVyOnMzY3JldA== database=shop with a deadline")),
        "{log:#?}"
    );
}

#[test]
fn a_server_that_repeats_secrets_is_not_quoted() {
    let refusal =
        "the token Bearer wr0ng-token is not t0ken-of-the-test, nor s3cret, nor cmVhZGVyOnMzY3JldA==";
    let peer = with_token(Login::Unimplemented, refusal);
    for source in [
        options(&peer.url()).token("wr0ng-token").header("database", "s3cret").build().unwrap(),
        options(&peer.url()).user("reader", PASSWORD).build().unwrap(),
    ] {
        let error = source.relations(&call()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceRefused);
        let shown = format!("{error:?} {error:#} {source:?}");
        assert!(shown.contains("the token Bearer") && !shown.contains("s3cret"), "{shown}");
        let own = if shown.contains("wr0ng-token") { "cmVhZGVyOnMzY3JldA==" } else { "wr0ng-token" };
        assert!(!shown.contains(own), "{shown}");
    }
}
